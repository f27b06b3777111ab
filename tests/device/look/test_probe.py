"""The probes on the simulated machine: real child processes, a pretended driver."""

from __future__ import annotations

import json
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launcher.config.values import from_plain, to_plain
from launcher.device.causes.diagnose import diagnose
from launcher.device.diagnosis import Diagnosis, Severity
from launcher.device.facts import DeviceFacts
from launcher.device.look import probe
from launcher.device.look.child_journal import kernel_state
from launcher.device.look.children import Child
from launcher.device.look.probe import STAGES, Deadlines, look_at_devices, torch_ahead
from tests.fakegpu import FakeGpu, Gpu, Machine, mig_uuid, uuid

# The simulation ends where cuDNN begins.
SIMULATED = STAGES[: STAGES.index("sync") + 1]


@pytest.fixture
def look(fakegpu: FakeGpu, plain_environ: dict[str, str], tmp_path: Path):
    """Facts of a simulated machine. Without `alive` its GPUs end where the CUDA runtime begins."""

    def look_at(
        machine: Machine,
        *,
        full: bool = False,
        alive: bool = False,
        driver_s: float = 20.0,
        stage_s: float = 1.5,
        **environ: str,
    ) -> DeviceFacts:
        return look_at_devices(
            fakegpu.environ({**plain_environ, **environ}, machine, alive=alive),
            full=full,
            root=machine.write_files(tmp_path / "root"),
            stages=SIMULATED,
            backend="gloo",
            deadlines=Deadlines(driver_s=driver_s, stage_s=stage_s),
        )

    return look_at


MACHINE = Machine(gpus=(Gpu(),))


@pytest.fixture
def environ_of_gpu(fakegpu: FakeGpu, plain_environ: dict[str, str]) -> Callable[[], dict[str, str]]:
    return lambda: fakegpu.environ(plain_environ, MACHINE, alive=True)


def codes(diagnosis: Diagnosis) -> list[str]:
    """Without the remark on the installed detectron2, which differs between developers."""
    return [finding.code for finding in diagnosis.findings if not finding.code.startswith("detectron2.")]


# The probe stops before torch on all of these, so each takes a tenth of a second.
@pytest.mark.parametrize(
    ("machine", "code", "dangerous"),
    [
        (Machine(gpus=(Gpu(),), init="segv"), "driver.crashes", True),
        (Machine(gpus=(Gpu(),), init="abort"), "driver.crashes", True),
        (Machine(gpus=(Gpu(),), init="exit"), "driver.crashes", True),
        (Machine(gpus=(Gpu(),), init=34), "driver.stub", False),
        (Machine(gpus=(Gpu(),), init=802), "driver.fabric", False),
        (Machine(gpus=(Gpu(),), init=803, nvml=18), "driver.mismatch", False),
        (Machine(gpus=(Gpu(),), init=804), "driver.compat", False),
        (Machine(gpus=(Gpu(),), init=3), "driver.not_initialized", False),
        (Machine(gpus=(Gpu(),), init=999), "driver.uvm", False),
        (Machine(gpus=(Gpu(),), init=101), "unexplained", False),
        (Machine(gpus=(Gpu(nvml=15),), init=999), "gpu.sick", False),
        (Machine(gpus=(Gpu(),), driver=11040), "driver.too_old", False),
        (Machine(), "gpu.none", False),
    ],
)
def test_a_driver_that_fails_is_explained(look, machine: Machine, code: str, dangerous: bool):
    facts = look(machine)

    diagnosis = diagnose(facts)

    assert codes(diagnosis) == [code]
    assert diagnosis.driver_is_dangerous is dangerous
    assert facts.torch is None


@pytest.mark.parametrize("machine", [Machine(gpus=(Gpu(),), init="hang"), Machine(gpus=(Gpu(),), nvml="hang")])
def test_a_driver_that_hangs_costs_one_deadline(look, machine: Machine):
    facts = look(machine, driver_s=0.8, full=False)

    assert codes(diagnose(facts)) == ["driver.hangs"]
    assert diagnose(facts).driver_is_dangerous


def test_torch_does_not_touch_a_driver_that_hangs_or_kills(look):
    """Although it is started before the driver has answered."""
    facts = look(Machine(gpus=(Gpu(),), init="hang", nvml="segv"), driver_s=3, full=True)

    assert facts.driver.end.how == "hung"
    assert (facts.torch.end.how, facts.torch.is_available, facts.torch.smoke_tests) == ("answered", None, ())
    assert facts.torch.architectures


def test_a_run_that_wants_no_gpu_does_not_wait_for_torch(fakegpu: FakeGpu, plain_environ: dict[str, str]):
    environ = fakegpu.environ(plain_environ, Machine(gpus=(Gpu(),)))

    facts = look_at_devices(environ, full=False, try_gpus=False)

    assert len(facts.driver.gpus) == 1
    assert facts.torch is None


@pytest.fixture
def torch_children(monkeypatch: pytest.MonkeyPatch) -> list[Child]:
    """Those that were started."""
    started: list[Child] = []

    class Noted(Child):
        def __init__(self, script: Path, **rest: Any) -> None:
            super().__init__(script, **rest)
            if script.name == "child_torch.py":
                started.append(self)

    monkeypatch.setattr(probe, "Child", Noted)
    return started


def has_ended(child: Child) -> bool:
    return child._process.poll() is not None


def test_torch_that_is_imported_ahead_tries_the_gpus(look, torch_children: list[Child], environ_of_gpu, tmp_path: Path):
    with torch_ahead(environ_of_gpu(), MACHINE.write_files(tmp_path / "ahead")):
        facts = look(MACHINE, alive=True, full=True)

    assert [test.passed for test in facts.torch.smoke_tests] == [SIMULATED]
    assert len(torch_children) == 1
    assert has_ended(torch_children[0])


def test_torch_that_was_imported_in_another_environment_does_not(
    look, torch_children: list[Child], environ_of_gpu, tmp_path: Path
):
    with torch_ahead(environ_of_gpu(), MACHINE.write_files(tmp_path / "ahead")):
        facts = look(MACHINE, alive=True, full=True, LD_PRELOAD_OTHER="1")
        assert has_ended(torch_children[0])

    assert [test.passed for test in facts.torch.smoke_tests] == [SIMULATED]
    assert len(torch_children) == 2


def test_a_look_that_needs_no_torch_ends_what_imported_it_ahead(
    torch_children: list[Child], environ_of_gpu, tmp_path: Path
):
    environ = environ_of_gpu()
    with torch_ahead(environ, MACHINE.write_files(tmp_path / "ahead")):
        assert not has_ended(torch_children[0])
        look_at_devices(environ, full=False, try_gpus=False)
        assert has_ended(torch_children[0])


def test_where_there_is_no_gpu_torch_is_not_imported_ahead(torch_children: list[Child], tmp_path: Path):
    with torch_ahead(os.environ, Machine().write_files(tmp_path / "root")):
        assert not torch_children


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_no_probe_outlives_its_launcher(
    number: signal.Signals, fakegpu: FakeGpu, plain_environ: dict[str, str], tmp_path: Path
):
    environ = fakegpu.environ(plain_environ, Machine(gpus=(Gpu(),), init="hang", nvml="hang"))
    code = (
        "import os, signal; from launcher.device.look.probe import look_at_devices; "
        # A test run in the background ignores it, and its children with it.
        "signal.signal(signal.SIGINT, signal.default_int_handler); look_at_devices(os.environ, full=False)"
    )
    launcher = subprocess.Popen(
        [sys.executable, "-c", code], env={**environ, "TMPDIR": str(tmp_path)}, stderr=subprocess.DEVNULL
    )
    wait_for(lambda: sum('"stage": "cuInit"' in text or '"nvmlInit"' in text for text in journals(tmp_path)) == 2)
    probes = [int(pid) for pid in Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()]

    launcher.send_signal(number)
    launcher.wait(60)

    assert len(probes) == 2
    wait_for(lambda: all(kernel_state(pid)[:1] in ("", "Z") for pid in probes))
    assert list(tmp_path.iterdir()) == [] or number == signal.SIGTERM


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_a_doctor_that_is_told_to_end_leaves_nothing_behind(
    fakegpu: FakeGpu, plain_environ: dict[str, str], tmp_path: Path
):
    environ = fakegpu.environ(plain_environ, Machine(gpus=(Gpu(),), init="hang", nvml="hang"))
    doctor = subprocess.Popen([sys.executable, "-m", "launcher", "doctor"], env={**environ, "TMPDIR": str(tmp_path)})
    wait_for(lambda: sum('"stage": "cuInit"' in text or '"nvmlInit"' in text for text in journals(tmp_path)) == 2)
    probes = [int(pid) for pid in Path(f"/proc/{doctor.pid}/task/{doctor.pid}/children").read_text().split()]

    doctor.terminate()

    assert doctor.wait(60) == 128 + signal.SIGTERM
    assert len(probes) == 3  # torch's too
    assert [kernel_state(pid) for pid in probes] == [""] * 3
    assert list(tmp_path.iterdir()) == []


def journals(folder: Path) -> list[str]:
    return [path.read_text() for path in folder.glob("*/journal")]


def wait_for(happened: Callable[[], bool], at_most_s: float = 60) -> None:
    deadline = time.monotonic() + at_most_s
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_slow_driver_is_waited_for(look):
    facts = look(Machine(gpus=(Gpu(),), init="slow:300", driver=11040))

    assert facts.driver.init_code == 0
    assert facts.driver.end.seconds > 0.3


@pytest.mark.parametrize(
    ("visible", "code"),
    [("", "visible.empty"), ("-1", "visible.empty"), ("7", "visible.wrong"), ("0,0", "visible.wrong")],
)
def test_gpus_that_are_hidden_by_the_environment_are_explained(look, visible: str, code: str):
    assert codes(diagnose(look(Machine(gpus=(Gpu(), Gpu())), CUDA_VISIBLE_DEVICES=visible))) == [code]


def test_driver_and_nvml_tell_what_they_know_of_each_gpu(look):
    facts = look(
        Machine(
            gpus=(
                Gpu(),
                Gpu(
                    name="Tesla K40c", cc="3.5", mem=11441, used=441, mode=3, ecc=2, repair=1, recovery=1, pids="1:300"
                ),
            ),
            driver=11040,
        )
    )

    assert [(gpu.uuid, gpu.name, gpu.capability, gpu.memory_mib) for gpu in facts.driver.gpus] == [
        (uuid(0), "NVIDIA GeForce RTX 3090", (8, 6), 24576),
        (uuid(1), "Tesla K40c", (3, 5), 11441),
    ]
    sick = facts.nvml.gpus[1]
    assert (sick.uuid, sick.pci, sick.capability) == (uuid(1), "00000000:02:00.0", (3, 5))
    assert (sick.memory_mib, sick.free_mib, sick.compute_mode) == (11441, 11000, 3)
    assert (sick.ecc_errors, sick.repair_pending, sick.repair_failed, sick.recovery_action) == (2, True, False, 1)
    assert [(process.pid, process.memory_mib) for process in sick.processes] == [(1, 300)]
    assert facts.nvml.driver == "595.45.04"


def test_what_is_worth_knowing_about_a_gpu_comes_from_nvml(look):
    facts = look(
        Machine(
            gpus=(
                Gpu(display=1, throttle=0x20, lanes=4, persistent=0, pids=f"{os.getpid()}:300"),
                Gpu(throttle=0x4, lanes=8),
            ),
            init="slow:2100",
        ),
        alive=True,
        stage_s=20,
        GLOO_SOCKET_IFNAME="lo",
    )

    diagnosis = diagnose(facts)

    assert len(diagnosis.usable_gpus) == 2
    assert {finding.severity for finding in diagnosis.findings if finding.code.startswith(("gpu.", "driver."))} == {
        Severity.info
    }
    causes = {finding.code: finding.cause for finding in diagnosis.findings}
    # Of the second, lower clocks that save power and half of the lanes are no news.
    assert causes["gpu.watchdog"].startswith("a screen runs on GPU 0:")
    assert causes["gpu.throttled"].startswith("GPU 0 runs")
    assert causes["gpu.slow_link"].startswith("GPU 0 is")
    assert "driver.slow_start" in causes
    assert f"(pid {os.getpid()}, of {pwd.getpwuid(os.getuid()).pw_name}, 300 MiB)" in causes["gpu.shared"]


def test_the_real_torch_sorts_good_gpus_from_bad_ones(look):
    """Many GPUs at once, because importing torch is what takes the time."""
    facts = look(
        Machine(
            gpus=(
                Gpu(),
                Gpu(name="NVIDIA A100", cc="8.0", used=200),
                Gpu(name="Tesla K40c", cc="3.5", launch=209),
                Gpu(launch="drop"),
                Gpu(sync="hang"),
                Gpu(ctx=214),
                Gpu(ctx="segv"),
                Gpu(used=24400, pids="1:24000"),
                Gpu(name="NVIDIA A100 MIG 1g.5gb", cc="8.0", mem=4864, mig=1),
            )
        ),
        alive=True,
        GLOO_SOCKET_IFNAME="lo",
    )

    diagnosis = diagnose(facts)

    assert [gpu.index for gpu in diagnosis.usable_gpus] == [1, 0, None]
    assert diagnosis.usable_gpus[2].uuid == mig_uuid(8)
    assert {gpu.index: gpu.code for gpu in diagnosis.excluded_gpus} == {
        2: "arch.not_in_wheel",
        3: "gpu.sick",
        4: "gpu.hangs",
        5: "gpu.sick",
        6: "gpu.crashes",
        7: "gpu.out_of_memory",
        8: "gpu.mig",
    }
    # Beside good ones.
    assert Severity.error not in {finding.severity for finding in diagnosis.findings}
    assert facts.torch.is_available
    assert (facts.torch.all_reduce.uuid, facts.torch.all_reduce.failed) == (f"{uuid(0)},{uuid(1)}", "")
    assert from_plain(DeviceFacts, json.loads(json.dumps(to_plain(facts)))) == facts


def test_this_machine_is_looked_at_without_an_exception():
    facts = look_at_devices(os.environ, full=False)

    assert facts.platform.num_cpus >= 1
    assert diagnose(facts).verdict


def test_deciding_about_devices_imports_no_torch():
    code = (
        "import sys; import launcher.device.facts, launcher.device.causes.diagnose, launcher.device.policy.plan, "
        "launcher.device.diagnosis, launcher.device.look.probe; "
        "print([name for name in ('torch', 'detectron2', 'rich') if name in sys.modules])"
    )

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
