"""What speaks against a cause keeps it from being reported: the same facts, and one more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from launcher.device.causes import (
    detectron2,
    driver,
    driver_refuses,
    evidence,
    machine,
    several,
    torch,
    torchvision,
    visible,
)
from launcher.device.causes.catalogue import BY_CODE, CAUSES
from launcher.device.causes.diagnose import diagnose
from launcher.device.facts import DeviceFacts, DeviceNode, LibraryFile, PciGpu
from tests.device.causes.test_diagnose import IN_CONTAINER, MACHINES, SLURM, smoke_says
from tests.device.recorded import (
    HEALTHY,
    HUNG,
    KILLED,
    changed,
    driver_ends,
    driver_gpu,
    init_fails,
    nvml_gpu,
    smoke,
)

Change = Callable[[DeviceFacts], DeviceFacts]


def with_(**changes: object) -> Change:
    return lambda facts: changed(facts, **changes)


def with_driver(**changes: object) -> Change:
    """What the driver's child said, on facts of a machine that has none as well."""
    return lambda facts: replace(facts, driver=replace(facts.driver or HEALTHY.driver, **changes))  # type: ignore[type-var,arg-type]


def with_nvml(**changes: object) -> Change:
    return lambda facts: replace(facts, nvml=replace(facts.nvml or HEALTHY.nvml, **changes))  # type: ignore[type-var,arg-type]


def with_torch(**changes: object) -> Change:
    return lambda facts: replace(facts, torch=replace(facts.torch or HEALTHY.torch, **changes))  # type: ignore[type-var,arg-type]


def both(*changes: Change) -> Change:
    def change(facts: DeviceFacts) -> DeviceFacts:
        for one in changes:
            facts = one(facts)
        return facts

    return change


WORKS = with_driver(init_code=0, gpus=(driver_gpu(),))
NVML_WORKS = with_nvml(init_code=0, gpus=(nvml_gpu(),))
AMD = PciGpu(address="0000:03:00.0", vendor="amd", device="0x744c", kernel_driver="amdgpu")
# How each predicate comes to hold.
AGAINST: dict[Callable[[DeviceFacts], bool], Change] = {
    evidence.driver_works: WORKS,
    evidence.driver_is_loaded: NVML_WORKS,
    evidence.driver_is_dangerous: with_driver(end=HUNG, init_code=None),
    evidence.driver_shows_gpus: with_driver(gpus=(driver_gpu(),)),
    evidence.nvml_answers: with_nvml(init_code=0),
    evidence.nvml_lists_gpus: NVML_WORKS,
    evidence.gpu_in_machine: with_(system={"device_nodes": ("/dev/nvidiactl",)}),
    evidence.in_wsl: with_(system={"wsl": True}),
    evidence.on_jetson: with_(system={"tegra": True}),
    evidence.in_container: with_(system=IN_CONTAINER),
    evidence.visible_devices_hide_all: both(
        with_driver(init_code=100), with_(environment={"CUDA_VISIBLE_DEVICES": "-1"})
    ),
    evidence.computes: both(WORKS, with_torch(smoke_tests=(smoke(),))),
    evidence.torch_has_cuda: with_torch(architectures=("sm_86",)),
    evidence.ops_load: with_torch(ops_cuda="13.0", ops_error=""),
    machine.is_a_mac: with_(platform={"system": "darwin"}),
    machine.has_amd_gpu: with_(system={"pci_gpus": (AMD,)}),
    machine.job_without_gpu: with_(environment=SLURM),
    machine.driver_speaks_of_gpu: with_driver(init_code=803),
    driver.gpu_is_reached: with_driver(init_code=46),
    driver.driver_is_installed: with_(system={"cuda_libraries": (LibraryFile(path="/usr/lib/libcuda.so.1", size=9),)}),
    driver_refuses.waits_for_attestation: with_(system={"confidential_vm": True}),
    driver_refuses.gpu_is_lost: with_nvml(gpus=(nvml_gpu(code=15),)),
    visible.driver_has_another_reason: with_driver(init_code=999),
    several.in_a_job: with_(environment={**SLURM, "SLURM_JOB_GPUS": "0"}),
    several.closed_to_us: with_driver(nodes=(DeviceNode(path="/dev/nvidia1", error="EACCES"),)),
    several.ordered_by_bus: with_(environment={"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}),
    torch.torch_imports: with_torch(version="2.9.1"),
    torchvision.nms_is_there: with_torch(nms_on_cuda=True),
    detectron2.ops_pass: with_torch(smoke_tests=(smoke(),)),
}
PAIRS = [(cause.code, against) for cause in CAUSES for against in cause.unless]


@pytest.mark.parametrize(
    ("code", "against"), PAIRS, ids=lambda value: value if isinstance(value, str) else value.__name__
)
def test_evidence_against_a_cause_keeps_it_from_being_reported(code: str, against: Callable[[DeviceFacts], bool]):
    speaks_for = MACHINES[code]
    with_both = AGAINST[against](speaks_for)

    assert (against(speaks_for), against(with_both)) == (False, True)
    assert code in [finding.code for finding in diagnose(speaks_for).findings]
    assert code not in [finding.code for finding in diagnose(with_both).findings]
    # Not because the evidence for it has gone.
    assert BY_CODE[code].find(with_both) is not None  # type: ignore[misc]


OTHER_LIBRARY = {"library": "/usr/lib/x86_64-linux-gnu/libcuda.so.575.1.2"}
NO_MODULE = {"driver_loaded": "", "uvm_loaded": False}
UVM_OPENS = (DeviceNode(path="/dev/nvidia-uvm", error=""),)
# What speaks against them is about the same thing as what speaks for them: a library, a file, a test of a GPU.
INSIDE = [
    ("container.no_gpu", MACHINES["container.no_gpu"], NVML_WORKS),
    ("driver.hangs", driver_ends(HUNG), with_driver(end=replace(HUNG, stage="start"))),
    ("driver.crashes", driver_ends(KILLED), with_driver(end=replace(KILLED, stage="start"))),
    ("driver.crashes", driver_ends(KILLED), with_driver(end=replace(KILLED, number=9))),
    (
        "driver.not_loaded",
        MACHINES["driver.not_loaded"],
        with_driver(nodes=(DeviceNode(path="/dev/nvidiactl", error=""),)),
    ),
    ("driver.mismatch", changed(init_fails(999), driver=OTHER_LIBRARY), with_driver(init_code=802)),
    (
        "driver.permission",
        changed(
            init_fails(802), driver={"nodes": (DeviceNode(path="/dev/nvidia1", error="EACCES"),)}, nvml={"gpus": ()}
        ),
        NVML_WORKS,
    ),
    ("driver.uvm", changed(init_fails(304), system={"uvm_loaded": False}), with_driver(nodes=UVM_OPENS)),
    ("gpu.busy", MACHINES["gpu.busy"], with_torch(smoke_tests=(smoke(),))),
    ("arch.not_in_wheel", MACHINES["arch.not_in_wheel"], with_torch(smoke_tests=(smoke(),))),
    (
        "gpu.sick",
        changed(smoke_says(failed="context", code=304), nvml={"gpus": (nvml_gpu(code=999),)}),
        with_torch(smoke_tests=(smoke(),)),
    ),
    (
        "gpu.sick",
        smoke_says(failed="sync", code=702, error="the launch timed out"),
        with_nvml(gpus=(nvml_gpu(display=True),)),
    ),
    ("detectron2.ops_arch", MACHINES["detectron2.ops_arch"], with_torch(smoke_tests=(smoke(),))),
    (
        "detectron2.ops_cpu_only",
        changed(smoke_says(failed="operators", code=98), packages={"detectron2_ops_gpu_code": ()}),
        with_torch(smoke_tests=(smoke(),)),
    ),
]


@pytest.mark.parametrize(("code", "speaks_for", "change"), INSIDE)
def test_a_sign_that_something_contradicts_does_not_count(code: str, speaks_for: DeviceFacts, change: Change):
    assert code in [finding.code for finding in diagnose(speaks_for).findings]
    assert code not in [finding.code for finding in diagnose(change(speaks_for)).findings]


HIDDEN_MODULE = [
    ("driver.fabric", init_fails(802)),
    ("driver.uvm", init_fails(999)),
    ("visible.empty", MACHINES["visible.empty"]),
    ("visible.wrong", MACHINES["visible.wrong"]),
    ("visible.wrong", changed(init_fails(100), environment={"CUDA_VISIBLE_DEVICES": "GPU-dead"})),
    (
        "driver.no_library",
        changed(HEALTHY, driver={"load_error": "cannot open", "init_code": None, "gpus": ()}, torch=None),
    ),
    ("driver.not_initialized", init_fails(304)),
]


@pytest.mark.parametrize("in_container", [False, True])
@pytest.mark.parametrize(("code", "facts"), HIDDEN_MODULE)
def test_a_driver_that_answers_is_loaded_whatever_a_sandbox_hides(code: str, facts: DeviceFacts, in_container: bool):
    """gVisor, LXC and masked containers show neither /sys/module/nvidia nor /proc/driver/nvidia."""
    hidden = changed(facts, system={**NO_MODULE, **(IN_CONTAINER if in_container else {})})

    assert [finding.code for finding in diagnose(hidden).findings] == [code]
