"""Facts to diagnose in tests: a healthy machine, one without a GPU, and a way to change one thing at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from launcher.device.facts import (
    ChildEnd,
    DeviceFacts,
    DriverFacts,
    DriverGpu,
    LibraryFile,
    NvmlFacts,
    NvmlGpu,
    PackageFacts,
    PciGpu,
    Platform,
    SmokeTest,
    SystemFacts,
    TorchFacts,
)
from launcher.device.job import read_job

STAGES = ("context", "allocate", "copy", "fill", "matmul", "sync", "convolution", "nms", "operators")
UUIDS = ("GPU-11111111-aaaa-4000-8000-000000000000", "GPU-22222222-bbbb-4000-8000-000000000000")

ANSWERED = ChildEnd(how="answered", number=0, stage="end", seconds=0.05, kernel_state="", stderr="")
HUNG = ChildEnd(how="hung", number=0, stage="cuInit", seconds=45.0, kernel_state="D nvidia_ioctl", stderr="")
KILLED = ChildEnd(how="signal", number=11, stage="cuInit", seconds=0.1, kernel_state="", stderr="")


def driver_gpu(index: int = 0, capability: tuple[int, int] = (8, 6)) -> DriverGpu:
    return DriverGpu(uuid=UUIDS[index], name="NVIDIA GeForce RTX 3090", capability=capability, memory_mib=24576)


def nvml_gpu(index: int = 0, **differences: Any) -> NvmlGpu:
    usual: dict[str, Any] = {
        "index": index,
        "uuid": UUIDS[index],
        "name": "NVIDIA GeForce RTX 3090",
        "pci": f"00000000:{index + 1:02x}:00.0",
        "capability": (8, 6),
        "memory_mib": 24576,
        "free_mib": 24000,
        "compute_mode": 0,
    }
    return NvmlGpu(**{**usual, **differences})


def smoke(index: int = 0, *, failed: str = "", end: ChildEnd = ANSWERED, **failure: Any) -> SmokeTest:
    passed = STAGES[: STAGES.index(failed)] if failed else STAGES
    return SmokeTest(uuid=UUIDS[index], passed=passed, end=end, failed=failed, **failure)


NO_CHILD_ERROR = "libcuda.so.1: cannot open shared object file: No such file or directory"

NO_GPU = DeviceFacts(
    platform=Platform(
        system="linux", machine="x86_64", kernel="6.1.0-18-amd64", python="3.12.4", num_cpus=8, shm_mib=16000
    ),
    environment={},
    job=read_job({}),
    system=SystemFacts(
        pci_gpus=(),
        driver_loaded="",
        driver_installed=False,
        uvm_loaded=False,
        device_nodes=(),
        cuda_libraries=(),
        container=(),
        wsl=False,
        tegra=False,
    ),
    packages=PackageFacts(
        torch="2.9.1+cu130",
        torch_cuda="13.0",
        torch_hip="",
        torchvision="0.24.1+cu130",
        detectron2="0.7.2",
        detectron2_folder="/venv/lib/python3.12/site-packages/detectron2",
        detectron2_compiled=("_C.cpython-312-x86_64-linux-gnu.so",),
        detectron2_fits=True,
    ),
    driver=DriverFacts(end=ANSWERED, load_error=NO_CHILD_ERROR),
    nvml=NvmlFacts(end=ANSWERED, load_error=NO_CHILD_ERROR.replace("libcuda", "libnvidia-ml")),
    torch=None,
)

HEALTHY = replace(
    NO_GPU,
    system=replace(
        NO_GPU.system,
        pci_gpus=(PciGpu(address="0000:01:00.0", vendor="nvidia", device="0x2204", kernel_driver="nvidia"),),
        driver_loaded="580.65.06",
        uvm_loaded=True,
        device_nodes=("/dev/nvidia-uvm", "/dev/nvidia0", "/dev/nvidiactl"),
        cuda_libraries=(LibraryFile(path="/usr/lib/x86_64-linux-gnu/libcuda.so.580.65.06", size=90_000_000),),
    ),
    driver=DriverFacts(
        end=ANSWERED,
        library="/usr/lib/x86_64-linux-gnu/libcuda.so.580.65.06",
        init_code=0,
        cuda_version=13000,
        gpus=(driver_gpu(),),
    ),
    nvml=NvmlFacts(end=ANSWERED, init_code=0, driver="580.65.06", gpus=(nvml_gpu(),)),
    torch=TorchFacts(
        end=ANSWERED,
        version="2.9.1+cu130",
        architectures=("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"),
        is_available=True,
        nms_on_cuda=True,
        ops_cuda="CUDA 13.0",
        smoke_tests=(smoke(),),
    ),
)

TWO_GPUS = replace(
    HEALTHY,
    driver=replace(HEALTHY.driver, gpus=(driver_gpu(0), driver_gpu(1))),  # type: ignore[type-var]
    nvml=replace(HEALTHY.nvml, gpus=(nvml_gpu(0), nvml_gpu(1, free_mib=24400))),  # type: ignore[type-var]
    torch=replace(HEALTHY.torch, smoke_tests=(smoke(0), smoke(1))),  # type: ignore[type-var]
)


def changed(facts: DeviceFacts, **changes: Mapping[str, Any] | Any) -> DeviceFacts:
    """Facts with some fields of some parts replaced: `changed(HEALTHY, driver={"init_code": 999})`.

    The job is read again when the environment changes, as the probe does.
    """
    if "environment" in changes:
        changes["job"] = read_job(changes["environment"])
    parts = {
        name: replace(getattr(facts, name), **change) if isinstance(change, dict) and name != "environment" else change
        for name, change in changes.items()
    }
    return replace(facts, **parts)


def init_fails(code: int, facts: DeviceFacts = HEALTHY) -> DeviceFacts:
    """cuInit returns this code; NVML is fine."""
    return changed(facts, driver={"init_code": code, "gpus": ()}, torch=None)


def driver_ends(end: ChildEnd) -> DeviceFacts:
    return changed(HEALTHY, driver={"end": end, "init_code": None, "gpus": ()}, torch=None)
