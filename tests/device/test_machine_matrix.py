"""Every way of failing that the simulated machine can act out, through the real probes and torch, to its code.

What stands for what is in docs/causes.md. Only the look at the torch child differs from a doctor's: one process has
imported torch for all machines and forks for each.
"""

from __future__ import annotations

import ctypes.util
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import pytest

from launcher.device.causes.diagnose import diagnose
from launcher.device.diagnosis import Diagnosis, Severity
from launcher.device.facts import DeviceFacts
from launcher.device.look.probe import STAGES, Deadlines, look_at_devices, torch_question
from tests.device.torch_machines import AskTorch, TorchScenario
from tests.fakegpu import FakeGpu, Gpu, Machine, mig_uuid, uuid

# The simulation ends where cuDNN begins.
NVML_INSTEAD = {"PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
SIMULATED = STAGES[: STAGES.index("sync") + 1]
A100 = Gpu(name="NVIDIA A100-SXM4-40GB", cc="8.0", mem=40960)
ONE, TWO = (Gpu(),), (Gpu(), A100)


@dataclass(frozen=True, kw_only=True)
class Row:
    machine: Machine
    codes: tuple[str, ...] = ()
    """Of all findings that are more than a note, and of notes as far as they are named here."""
    excluded: Mapping[int, str] = field(default_factory=dict)
    usable: int = 0
    environ: Mapping[str, str] = field(default_factory=dict)


def unreachable(code: str, gpus: tuple[Gpu, ...] = ONE, *, environ: Mapping[str, str] = {}, **machine: object) -> Row:
    """The driver serves nobody; NVML may know the GPUs and then all are excluded for the same cause."""
    return Row(machine=Machine(gpus=gpus, **machine), codes=(code,), environ=environ)  # type: ignore[arg-type]


def sick(code: str, **gpu: object) -> Row:
    """The second of two GPUs has a fault."""
    return Row(machine=Machine(gpus=(A100, Gpu(**gpu))), codes=(code,), excluded={1: code}, usable=1)  # type: ignore[arg-type]


def visible(value: str, code: str, usable: int = 0) -> Row:
    """Two healthy GPUs and CUDA_VISIBLE_DEVICES."""
    codes = (code,) if code else ()
    return Row(machine=Machine(gpus=TWO), codes=codes, usable=usable, environ={"CUDA_VISIBLE_DEVICES": value})


# With the real CUDA runtime, which reaches as far as the driver.
DRIVERS = {
    "no driver, no GPU": unreachable("gpu.none", (), libcuda="absent", libnvml="absent"),
    "no driver for the GPU": unreachable("driver.absent", libcuda="absent", libnvml="absent", module_loaded=False),
    "no libcuda": unreachable("driver.no_library", libcuda="absent"),
    "empty libcuda": unreachable("driver.empty_library", libcuda="empty"),
    "libcuda without symbols": unreachable("driver.no_library", libcuda="no symbols"),
    "driver without a GPU": unreachable("gpu.none", ()),
    "cuInit 2": unreachable("unexplained", init=2),
    "cuInit 3": unreachable("driver.not_initialized", init=3),
    "cuInit 34": unreachable("driver.stub", init=34),
    "cuInit 46": unreachable("gpu.busy", init=46),
    "cuInit 100": unreachable("unexplained", init=100),
    "cuInit 101": unreachable("unexplained", init=101),
    "cuInit 214": unreachable("gpu.sick", init=214),
    "cuInit 304": unreachable("driver.not_initialized", init=304),
    "cuInit 801": unreachable("driver.not_licensed", init=801),
    "cuInit 802": unreachable("driver.fabric", init=802),
    "cuInit 803": unreachable("driver.mismatch", init=803),
    "cuInit 804": unreachable("driver.compat", init=804),
    "cuInit 805": unreachable("driver.mps_daemon", init=805),
    "cuInit 806": unreachable("driver.mps_daemon", init=806),
    "cuInit 807": unreachable("driver.mps_daemon", init=807),
    "cuInit 808": unreachable("driver.mps_daemon", init=808),
    "cuInit 999": unreachable("driver.uvm", init=999),
    "cuInit hangs": unreachable("driver.hangs", init="hang"),
    "cuInit segfaults": unreachable("driver.crashes", init="segv"),
    "cuInit aborts": unreachable("driver.crashes", init="abort"),
    "cuInit exits": unreachable("driver.crashes", init="exit"),
    "driver for CUDA 12": unreachable("driver.too_old", driver=12080),
    "driver for CUDA 11": unreachable("driver.too_old", driver=11040),
    "cuInit 100, NVML asked instead": unreachable("unexplained", init=100, environ=NVML_INSTEAD),
    "cuInit 999, NVML asked instead": unreachable("driver.uvm", init=999, environ=NVML_INSTEAD),
    "NVML 18": unreachable("driver.mismatch", init=803, nvml=18),
    "NVML 9": unreachable("driver.not_loaded", init=999, nvml=9, module_loaded=False),
    "NVML 4": unreachable("driver.permission", init=999, nvml=4),
    "NVML 999": unreachable("unexplained", init=999, nvml=999),
    "NVML hangs": unreachable("driver.hangs", nvml="hang"),
    "NVML segfaults": unreachable("driver.crashes", nvml="segv"),
    "GPU lost, driver too": unreachable("gpu.sick", (Gpu(nvml=15),), init=999),
    "runtime refuses": Row(machine=Machine(gpus=ONE), codes=("unexplained",), excluded={0: "unexplained"}),
}  # fmt: skip

# A sandbox or container that shows neither modules nor /proc/driver, where NVML answers all the same: that is evidence
# against a driver that is not loaded.
HIDDEN_MODULE = {
    "cuInit 802, module hidden": unreachable("driver.fabric", init=802, module_shown=False),
    "cuInit 999, module hidden": unreachable("driver.uvm", init=999, module_shown=False),
    "cuInit 304, module hidden": unreachable("driver.not_initialized", init=304, module_shown=False),
    "no libcuda, module hidden": unreachable("driver.no_library", libcuda="absent", module_shown=False),
    "visible: none, module hidden": unreachable(
        "visible.empty", module_shown=False, environ={"CUDA_VISIBLE_DEVICES": ""}
    ),
    "visible: not there, module hidden": unreachable(
        "visible.wrong", module_shown=False, environ={"CUDA_VISIBLE_DEVICES": "7"}
    ),
    "visible: no such UUID, module hidden": unreachable(
        "visible.wrong", module_shown=False, environ={"CUDA_VISIBLE_DEVICES": "GPU-dead"}
    ),
}  # fmt: skip
DRIVERS |= HIDDEN_MODULE

# With a runtime that is acted out, so that GPUs live.
GPUS = {
    "healthy": Row(machine=Machine(gpus=ONE), usable=1),
    "two GPUs": Row(machine=Machine(gpus=TWO), usable=2),
    "newer minor driver": Row(machine=Machine(gpus=ONE, driver=13090), usable=1),
    "older minor driver": Row(machine=Machine(gpus=ONE, driver=13000), usable=1),
    "slow driver": Row(machine=Machine(gpus=ONE, init="slow:1500"), usable=1),
    "no NVML": Row(machine=Machine(gpus=ONE, libnvml="absent"), codes=("nvml.failed",), usable=1),
    "empty NVML": Row(machine=Machine(gpus=ONE, libnvml="empty"), codes=("nvml.failed",), usable=1),
    "NVML 4, CUDA works": Row(machine=Machine(gpus=ONE, nvml=4), codes=("nvml.failed",), usable=1),
    "NVML 9, CUDA works": Row(machine=Machine(gpus=ONE, nvml=9), codes=("nvml.failed",), usable=1),
    "NVML 18, CUDA works": Row(machine=Machine(gpus=ONE, nvml=18), codes=("nvml.failed",), usable=1),
    "NVML 18, context 803": Row(machine=Machine(gpus=(Gpu(ctx=803),), nvml=18), codes=("driver.mismatch",)),
    "NVML 999, CUDA works": Row(machine=Machine(gpus=ONE, nvml=999), codes=("nvml.failed",), usable=1),
    "visible: none": visible("", "visible.empty"),
    "visible: -1": visible("-1", "visible.empty"),
    "visible: NoDevFiles": visible("NoDevFiles", "visible.empty"),
    "visible: first": visible("0", "", 1),
    "visible: second": visible("1", "", 1),
    "visible: both, turned": visible("1,0", "", 2),
    "visible: twice": visible("0,0", "visible.wrong"),
    "visible: not there": visible("7", "visible.wrong"),
    "visible: one not there": visible("0,7", "visible.wrong", 1),
    "visible: a word": visible("abc", "visible.wrong"),
    "visible: UUID": visible(uuid(1), "", 1),
    "visible: start of a UUID": visible("GPU-fa4e0001", "", 1),
    "visible: start of two UUIDs": visible("GPU-fa4e", "visible.wrong"),
    "visible: no such UUID": visible("GPU-dead", "visible.wrong"),
    "visible: no such MIG instance": visible("MIG-x", "visible.wrong"),
    "visible: broken off": visible("0,-1,1", "visible.wrong", 1),
    "compute capability 3.5": sick("arch.not_in_wheel", name="Tesla K40c", cc="3.5", launch=209),
    "compute capability 6.1": sick("arch.not_in_wheel", name="NVIDIA GeForce GTX 1080", cc="6.1", launch=209),
    "compute capability 12.1": Row(machine=Machine(gpus=(Gpu(name="NVIDIA GB10", cc="12.1"),)), usable=1),
    "compute capability 13.0": sick("arch.not_in_wheel", name="NVIDIA Future", cc="13.0", launch=209),
    "compute capability 13.0, kernels run": Row(
        machine=Machine(gpus=(Gpu(name="NVIDIA Future", cc="13.0"),)), usable=1
    ),
    "context 2": sick("gpu.out_of_memory", ctx=2),
    "context 46": sick("gpu.busy", ctx=46),
    "context 101": sick("unexplained", ctx=101),
    "context 214": sick("gpu.sick", ctx=214),
    "context 304": sick("unexplained", ctx=304),
    "context 801": sick("unexplained", ctx=801),
    "context 802": sick("unexplained", ctx=802),
    "context 999": sick("unexplained", ctx=999),
    "context 719": sick("gpu.sick", ctx=719),
    "context hangs": sick("gpu.hangs", ctx="hang"),
    "context segfaults": sick("gpu.crashes", ctx="segv"),
    "context aborts": sick("gpu.crashes", ctx="abort"),
    "context exits": sick("gpu.crashes", ctx="exit"),
    "context slow": Row(machine=Machine(gpus=(Gpu(ctx="slow:500"),)), usable=1),
    "allocate 2": sick("gpu.out_of_memory", alloc=2),
    "allocate 214": sick("gpu.sick", alloc=214),
    "allocate 999": sick("unexplained", alloc=999),
    "copy 214": sick("gpu.sick", copy=214),
    "copy 700": sick("gpu.sick", copy=700),
    "copy 719": sick("gpu.sick", copy=719),
    "launch 98": sick("arch.not_in_wheel", launch=98),
    "launch 209": sick("arch.not_in_wheel", launch=209),
    "launch 222": sick("driver.ptx_too_new", launch=222),
    "launch 214": sick("gpu.sick", launch=214),
    "launch 700": sick("gpu.sick", launch=700),
    "launch 701": sick("unexplained", launch=701),
    "launch 719": sick("gpu.sick", launch=719),
    "launch dropped": sick("gpu.sick", launch="drop"),
    "launch aborts": sick("gpu.crashes", launch="abort"),
    "synchronise 702": sick("gpu.sick", sync=702),
    "synchronise 700": sick("gpu.sick", sync=700),
    "synchronise 710": sick("gpu.sick", sync=710),
    "synchronise 719": sick("gpu.sick", sync=719),
    "synchronise hangs": sick("gpu.hangs", sync="hang"),
    "cuBLAS does not start": sick("torch.libraries", matmul=1),
    "products are wrong": sick("gpu.sick", matmul="wrong"),
    "products hang": sick("gpu.hangs", matmul="hang"),
    "memory taken": sick("gpu.out_of_memory", used=24400, pids="1:24100"),
    "memory nearly taken": Row(
        machine=Machine(gpus=(A100, Gpu(used=24100, pids="1:23800"))), codes=("gpu.out_of_memory",), usable=2
    ),
    "exclusive and held": sick("gpu.busy", mode=3, pids="1:300", ctx=46),
    "exclusive, shared through MPS": Row(machine=Machine(gpus=(Gpu(mode=3, pids="1:300"),)), usable=1),
    "prohibited": sick("gpu.busy", mode=2, ctx=46),
    "repair of memory pending": sick("gpu.sick", ecc=2, repair=1),
    "repair of memory failed": sick("gpu.sick", ecc=2, repair=2),
    "reset advised": sick("gpu.sick", recovery=1),
    "first of two is sick": Row(
        machine=Machine(gpus=(Gpu(ctx=214), A100)), codes=("gpu.sick",), excluded={0: "gpu.sick"}, usable=1
    ),
    "GPU lost, gone from the driver": Row(
        machine=Machine(gpus=(A100, Gpu(nvml=15))), codes=("gpu.sick",), excluded={1: "gpu.sick"}, usable=1,
        environ={"CUDA_VISIBLE_DEVICES": "0"},
    ),
    "GPU lost, still shown": Row(
        machine=Machine(gpus=(A100, Gpu(nvml=15, ctx=999))), codes=("gpu.sick",), excluded={1: "gpu.sick"}, usable=1
    ),
    "MIG instance, named": Row(
        machine=Machine(gpus=(Gpu(name="NVIDIA A100 MIG 1g.5gb", cc="8.0", mem=4864, mig=1),)),
        excluded={0: "gpu.mig"}, usable=1, environ={"CUDA_VISIBLE_DEVICES": mig_uuid(0)},
    ),
    "every GPU hangs": Row(
        machine=Machine(gpus=(Gpu(ctx="hang"), Gpu(sync="hang"))),
        codes=("gpu.hangs",), excluded={0: "gpu.hangs", 1: "gpu.hangs"},
    ),
}  # fmt: skip
ROWS = {**DRIVERS, **GPUS}


@pytest.fixture(scope="module")
def diagnoses(
    fakegpu: FakeGpu, plain_environ: dict[str, str], ask_torch: AskTorch, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Diagnosis]:
    folder = tmp_path_factory.mktemp("machines")

    def look(name: str) -> DeviceFacts:
        row = ROWS[name]
        return look_at_devices(
            fakegpu.environ({**plain_environ, **row.environ}, row.machine, alive=name in GPUS),
            full=False,
            try_gpus=False,
            root=row.machine.write_files(folder / name),
            deadlines=Deadlines(driver_s=1.5 if "hang" in (row.machine.init, row.machine.nvml) else 20),
        )

    def ask(names: Mapping[str, Row]) -> dict[str, Diagnosis]:
        with ThreadPoolExecutor(3) as pool:
            facts = dict(zip(names, pool.map(look, names), strict=True))
        scenarios = {name: scenario(ROWS[name], facts[name]) for name in names}
        answers = ask_torch(scenarios, alive=names is GPUS)
        return {name: diagnose(replace(facts[name], torch=answers[name])) for name in names}

    with ThreadPoolExecutor(2) as pool:
        drivers, gpus = pool.map(ask, [DRIVERS, GPUS])
    return {**drivers, **gpus}


def scenario(row: Row, facts: DeviceFacts) -> TorchScenario:
    told = torch_question(
        facts.driver,
        facts.nvml,
        facts.packages,
        stages=SIMULATED,
        backend="",
        deadlines=Deadlines(stage_s=1.5 if "hang" in row.machine.spec() else 20),
    )
    return TorchScenario(machine=row.machine, told=told, environ=row.environ)


def codes(diagnosis: Diagnosis, notes: tuple[str, ...]) -> set[str]:
    """Without what the simulation does not act out: the rest of the machine that the test runs on, and detectron2."""
    return {
        finding.code
        for finding in diagnosis.findings
        if finding.code.partition(".")[0] in ("driver", "gpu", "arch", "visible", "nvml", "torch", "unexplained")
        and (finding.severity is not Severity.info or finding.code in notes)
    }


@pytest.mark.parametrize("name", ROWS)
def test_a_way_of_failing_has_its_code(diagnoses: dict[str, Diagnosis], name: str):
    row, diagnosis = ROWS[name], diagnoses[name]
    if row.machine.libcuda == "absent" and ctypes.util.find_library("cuda"):
        pytest.skip("this machine has a real driver, which cannot be taken away")

    excluded = {gpu.index: gpu.code for gpu in diagnosis.excluded_gpus}

    assert codes(diagnosis, row.codes) == set(row.codes)
    assert len(diagnosis.usable_gpus) == row.usable
    assert excluded.items() >= row.excluded.items()
    # Nobody is left out in silence.
    assert len(excluded) + row.usable >= len(row.machine.gpus) or row.machine.libnvml or row.machine.nvml


def test_only_a_driver_that_hangs_or_kills_is_kept_from_runs_on_the_cpu(diagnoses: dict[str, Diagnosis]):
    dangerous = {name for name, diagnosis in diagnoses.items() if diagnosis.driver_is_dangerous}

    assert dangerous == {name for name, row in DRIVERS.items() if row.codes[0] in ("driver.hangs", "driver.crashes")}
