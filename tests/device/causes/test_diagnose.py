"""Every cause on recorded facts: codes, not texts."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.device.causes.catalogue import CAUSES
from launcher.device.causes.diagnose import diagnose
from launcher.device.diagnosis import Severity
from launcher.device.facts import (
    DeviceFacts,
    DeviceNode,
    DriverFacts,
    GpuProcess,
    LibraryFile,
    NvmlFacts,
    NvmlGpu,
    PciGpu,
    SmokeTest,
)
from tests.device.recorded import (
    ANSWERED,
    HEALTHY,
    HUNG,
    KILLED,
    NO_GPU,
    TWO_GPUS,
    UUIDS,
    changed,
    driver_ends,
    driver_gpu,
    init_fails,
    nvml_gpu,
    smoke,
)

WITHOUT_OPS = replace(smoke(), passed=smoke().passed[:-1])
PYTHON = GpuProcess(pid=42, memory_mib=9000, command="python")
NVIDIA_CARD = HEALTHY.system.pci_gpus[0]
NO_DRIVER = changed(NO_GPU, system={"pci_gpus": (replace(NVIDIA_CARD, kernel_driver=""),)})
IN_CONTAINER = {"container": ("/.dockerenv",)}
NO_NODES = changed(
    NO_GPU,
    system={"pci_gpus": (NVIDIA_CARD,), "driver_loaded": "580.65.06", **IN_CONTAINER},
    environment={"NVIDIA_VISIBLE_DEVICES": "all"},
)
SLURM = {"SLURM_JOB_ID": "7"}


def smoke_says(**result: object) -> DeviceFacts:
    return changed(HEALTHY, torch={"smoke_tests": (smoke(**result),)})  # type: ignore[arg-type]


def torch_says(**result: object) -> DeviceFacts:
    return changed(HEALTHY, torch=result)


def nvml_says(**result: object) -> DeviceFacts:
    return changed(HEALTHY, nvml={"gpus": (nvml_gpu(**result),)})  # type: ignore[arg-type]


BUSY = smoke_says(failed="context", code=46)
NO_OPS = {"detectron2_compiled": (), "detectron2_fits": False}
JETSON = changed(
    HEALTHY,
    system={"tegra": True, "model": "NVIDIA Jetson AGX Orin", "device_nodes": (), "pci_gpus": ()},
    driver={"gpus": (driver_gpu(capability=(8, 7)),)},
    nvml={"gpus": ()},
    torch={"architectures": ("sm_87",)},
)
ALL_REDUCE_HANGS = SmokeTest(
    uuid=",".join(UUIDS), passed=(), failed="all_reduce", end=replace(HUNG, stage="all_reduce")
)
ALL_REDUCE_FAILS = replace(ALL_REDUCE_HANGS, end=ANSWERED, error="NCCL error: unhandled system error")

# By the code of the cause: how many GPUs it leaves to train on, and facts that show it and nothing else.
ROWS = {
    "gpu.none": (0, NO_GPU),
    "gpu.amd": (
        0,
        changed(
            NO_GPU,
            system={
                "pci_gpus": (PciGpu(address="0000:03:00.0", vendor="amd", device="0x744c", kernel_driver="amdgpu"),)
            },
        ),
    ),
    "gpu.given_to_vm": (0, changed(NO_DRIVER, system={"pci_gpus": (replace(NVIDIA_CARD, kernel_driver="vfio-pci"),)})),
    "driver.absent": (0, NO_DRIVER),
    "driver.nouveau": (0, changed(NO_DRIVER, system={"pci_gpus": (replace(NVIDIA_CARD, kernel_driver="nouveau"),)})),
    "driver.not_loaded": (
        0,
        changed(
            init_fails(100),
            system={"driver_loaded": "", "driver_installed": True, "device_nodes": ()},
            nvml={"init_code": 9, "gpus": ()},
        ),
    ),
    "driver.no_library": (0, changed(HEALTHY, driver=NO_GPU.driver, nvml=NO_GPU.nvml, torch=None)),
    "driver.stub": (0, changed(init_fails(34), driver={"library": "/usr/local/cuda/lib64/stubs/libcuda.so"})),
    "driver.empty_library": (
        0,
        changed(
            HEALTHY,
            system={"cuda_libraries": (LibraryFile(path="/usr/lib64/libcuda.so.1", size=0),)},
            driver={"load_error": "libcuda.so.1: file too short", "init_code": None, "gpus": (), "library": ""},
            torch=None,
        ),
    ),
    "driver.compat": (0, init_fails(804)),
    "driver.mismatch": (0, changed(init_fails(803), nvml={"init_code": 18, "gpus": ()})),
    "driver.permission": (
        0,
        changed(
            init_fails(100),
            driver={"nodes": (DeviceNode(path="/dev/nvidiactl", error="EACCES"),)},
            nvml={"init_code": 4, "gpus": ()},
        ),
    ),
    "driver.covered": (
        0,
        changed(init_fails(100), driver={"nodes": (DeviceNode(path="/dev/nvidia0", error="covered"),)}),
    ),
    "driver.fabric": (0, init_fails(802)),
    "driver.mps_daemon": (0, init_fails(805)),
    "driver.not_licensed": (0, init_fails(801)),
    "driver.not_initialized": (0, init_fails(3)),
    "driver.uvm": (0, changed(init_fails(999), system={"uvm_loaded": False})),
    "driver.too_old": (0, changed(HEALTHY, driver={"cuda_version": 12080}, torch=None)),
    "driver.ptx_too_new": (0, smoke_says(failed="fill", code=222, error="the provided PTX was compiled ...")),
    "driver.hangs": (0, driver_ends(HUNG)),
    "driver.crashes": (0, driver_ends(KILLED)),
    "driver.wsl": (
        0,
        changed(
            init_fails(100),
            system={"wsl": True, "device_nodes": (), "driver_loaded": "", "pci_gpus": ()},
            nvml={"gpus": ()},
        ),
    ),
    "container.no_gpu": (0, NO_NODES),
    "container.lost_gpu": (
        0,
        changed(
            init_fails(999),
            system=IN_CONTAINER,
            driver={"nodes": (DeviceNode(path="/dev/nvidiactl", error="EPERM"),)},
            nvml={"init_code": 999, "gpus": ()},
        ),
    ),
    "scheduler.none_given": (0, changed(init_fails(100), environment=SLURM, nvml={"gpus": ()})),
    "visible.empty": (0, changed(init_fails(100), environment={"CUDA_VISIBLE_DEVICES": ""})),
    "visible.wrong": (0, changed(init_fails(100), environment={"CUDA_VISIBLE_DEVICES": "7"})),
    "torch.missing": (0, changed(HEALTHY, packages={"torch": "", "torch_cuda": ""}, torch=None)),
    "torch.broken": (
        0,
        torch_says(import_error="ImportError: cannot import name 'x'", smoke_tests=(), nms_on_cuda=None),
    ),
    "torch.cxx_runtime": (
        0,
        torch_says(
            import_error="ImportError: libstdc++.so.6: version `GLIBCXX_3.4.30' not found (required by libtorch.so)",
            smoke_tests=(),
        ),
    ),
    "torch.missing_library": (
        0,
        torch_says(
            import_error="ImportError: libcudnn.so.9: cannot open shared object file: No such file or directory",
            smoke_tests=(),
        ),
    ),
    "torch.mixed_libraries": (
        0,
        torch_says(
            import_error="ImportError: libcusparse.so.12: undefined symbol: __nvJitLinkComplete_12_4", smoke_tests=()
        ),
    ),
    "torch.not_for_jetson": (0, changed(JETSON, packages={"torch": "2.9.1+cpu", "torch_cuda": ""}, torch=None)),
    "torch.cudnn": (
        0,
        smoke_says(
            failed="convolution",
            error="RuntimeError: cuDNN version incompatibility: PyTorch was compiled against (9, 26)",
        ),
    ),
    "torch.slow": (1, torch_says(end=replace(HUNG, stage="import torch"), smoke_tests=(), is_available=None)),
    "torch.cpu_only": (0, changed(HEALTHY, packages={"torch": "2.9.1+cpu", "torch_cuda": ""}, torch=None)),
    "torch.wrong_vendor": (
        0,
        changed(HEALTHY, packages={"torch": "2.9.1+rocm6.4", "torch_cuda": "", "torch_hip": "6.4"}, torch=None),
    ),
    "torch.libraries": (0, smoke_says(failed="matmul", error="CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling")),
    "torchvision.other_torch": (
        1,
        torch_says(torchvision_error="RuntimeError: operator torchvision::nms does not exist", nms_on_cuda=None),
    ),
    "torchvision.nms_fails": (0, smoke_says(failed="nms", code=209, error="CUDA error: no kernel image is available")),
    "torchvision.broken": (1, changed(HEALTHY, packages={"torchvision": ""}, torch={"nms_on_cuda": None})),
    "torchvision.cpu_only": (0, changed(torch_says(nms_on_cuda=False), packages={"torchvision": "0.24.1+cpu"})),
    "detectron2.missing": (
        1,
        changed(
            HEALTHY,
            packages={"detectron2": "", "detectron2_folder": "", "detectron2_compiled": (), "detectron2_fits": False},
        ),
    ),
    "detectron2.broken": (1, torch_says(detectron2_error="ModuleNotFoundError: No module named 'pkg_resources'")),
    "detectron2.shadowed": (
        1,
        changed(
            HEALTHY,
            packages={
                **NO_OPS,
                "detectron2_checkout": True,
                "detectron2_elsewhere": ("/venv/site-packages/detectron2",),
            },
        ),
    ),
    "detectron2.ops_other_torch": (1, torch_says(ops_error="ImportError: _C.so: undefined symbol: _ZN3c10")),
    "detectron2.ops_other_cuda": (
        1,
        torch_says(
            ops_error="ImportError: libcudart.so.11.0: cannot open shared object file: No such file or directory",
            smoke_tests=(WITHOUT_OPS,),
        ),
    ),
    "detectron2.ops_other_python": (
        1,
        changed(
            HEALTHY,
            packages={"detectron2_fits": False},
            torch={"ops_cuda": "", "ops_error": "ImportError: cannot import name '_C' from 'detectron2'"},
        ),
    ),
    "detectron2.ops_cxx_runtime": (
        1,
        torch_says(
            ops_error="ImportError: /lib/libstdc++.so.6: version `GLIBCXX_3.4.32' not found (required by _C.so)"
        ),
    ),
    "detectron2.ops_broken": (1, torch_says(ops_error="ImportError: dynamic module does not define PyInit__C")),
    "detectron2.ops_arch": (
        1,
        changed(smoke_says(failed="operators", code=98), packages={"detectron2_ops_gpu_code": ("sm_70", "sm_90")}),
    ),
    "detectron2.ops_fail": (1, smoke_says(failed="operators", code=98, error="CUDA error: invalid device function")),
    "detectron2.ops_cpu_only": (1, torch_says(ops_cuda="not available")),
    "detectron2.no_ops": (1, changed(HEALTHY, packages=NO_OPS)),
    "arch.not_in_wheel": (
        0,
        changed(smoke_says(failed="fill", code=209), driver={"gpus": (driver_gpu(capability=(6, 1)),)}),
    ),
    "gpu.busy": (0, changed(BUSY, nvml={"gpus": (nvml_gpu(compute_mode=3, processes=(PYTHON,)),)})),
    "gpu.out_of_memory": (0, nvml_says(free_mib=200, processes=(PYTHON,))),
    "gpu.sick": (0, nvml_says(code=15, uuid="")),
    "gpu.hangs": (0, smoke_says(failed="sync", end=replace(HUNG, stage="sync"))),
    "gpu.crashes": (0, smoke_says(failed="context", end=replace(KILLED, stage="context"))),
    "gpu.mig": (0, changed(init_fails(100), nvml={"gpus": (nvml_gpu(mig=True),)})),
    "gpu.shared": (1, nvml_says(processes=(PYTHON,))),
    "mps.unsupported": (0, changed(NO_GPU, platform={"system": "darwin"}, driver=None, nvml=None)),
    "gpu.vanished": (
        1,
        changed(HEALTHY, system={"pci_gpus": (NVIDIA_CARD, replace(NVIDIA_CARD, address="0000:41:00.0"))}),
    ),
    "gpu.mixed": (2, changed(TWO_GPUS, nvml={"gpus": (nvml_gpu(0), nvml_gpu(1, name="NVIDIA A100-SXM4-40GB"))})),
    "gpu.watchdog": (1, nvml_says(display=True)),
    "gpu.throttled": (1, nvml_says(throttle_reasons=0x41)),
    "gpu.slow_link": (1, nvml_says(link_width=1, link_width_max=16)),
    "driver.slow_start": (
        1,
        changed(HEALTHY, driver={"end": replace(ANSWERED, seconds=4.2)}, nvml={"gpus": (nvml_gpu(persistent=False),)}),
    ),
    "driver.no_nodes": (0, changed(init_fails(100), system={"device_nodes": ()}, nvml={"init_code": 999, "gpus": ()})),
    "driver.confidential": (0, changed(init_fails(802), system={"confidential_vm": True})),
    "nvml.failed": (1, changed(HEALTHY, nvml={"init_code": 999, "gpus": ()})),
    "nccl.hangs": (2, changed(TWO_GPUS, torch={"all_reduce": ALL_REDUCE_HANGS})),
    "nccl.failed": (2, changed(TWO_GPUS, torch={"all_reduce": ALL_REDUCE_FAILS})),
    "libraries.mixed": (1, changed(HEALTHY, system={"cuda_folders": ("/usr/local/cuda/lib64: libcublas, libcudart",)})),
    "limits.open_files": (1, changed(HEALTHY, platform={"open_files": 256})),
    "limits.locked_memory": (2, changed(TWO_GPUS, platform={"locked_memory_mib": 8}, system={"infiniband": True})),
    "disk.full": (1, changed(HEALTHY, platform={"disk_free_mib": 900})),
    "memory.small": (1, changed(HEALTHY, platform={"memory_mib": 512})),
    "shm.small": (1, changed(HEALTHY, platform={"shm_mib": 64})),
    "unexplained": (0, init_fails(7)),
}
MACHINES = {code: facts for code, (_, facts) in ROWS.items()}


def codes(facts: DeviceFacts) -> list[str]:
    return [finding.code for finding in diagnose(facts).findings]


@pytest.mark.parametrize("code", MACHINES)
def test_a_cause_is_found_and_hides_its_consequences(code: str):
    assert codes(MACHINES[code]) == [code]


def test_a_healthy_machine_raises_no_alarm_and_offers_its_gpu():
    diagnosis = diagnose(HEALTHY)

    assert diagnosis.findings == ()
    assert [gpu.uuid for gpu in diagnosis.usable_gpus] == [UUIDS[0]]
    assert not diagnosis.driver_is_dangerous


@pytest.mark.parametrize("code", ROWS)
def test_a_cause_leaves_the_gpus_that_it_does_not_concern(code: str):
    usable, facts = ROWS[code]

    assert len(diagnose(facts).usable_gpus) == usable


@pytest.mark.parametrize(
    ("failed", "code", "error", "expected"),
    [
        ("context", 46, "", "gpu.busy"),
        ("allocate", 2, "CUDA out of memory", "gpu.out_of_memory"),
        ("context", 214, "", "gpu.sick"),
        ("copy", 719, "", "gpu.sick"),
        ("fill", 209, "", "arch.not_in_wheel"),
        ("sync", 700, "", "gpu.sick"),
        ("context", 304, "OS call failed", "unexplained"),
    ],
)
def test_what_fails_in_the_smoke_test_is_named(failed: str, code: int | None, error: str, expected: str):
    assert codes(smoke_says(failed=failed, code=code, error=error)) == [expected]


@pytest.mark.parametrize(
    "health",
    [
        {"recovery_action": 1},
        {"repair_failed": True},
        {"repair_pending": True, "ecc_errors": 2},
    ],
)
def test_a_gpu_whose_memory_is_damaged_is_excluded(health: dict[str, object]):
    assert codes(nvml_says(**health)) == ["gpu.sick"]


@pytest.mark.parametrize("health", [{"recovery_action": 3}, {"ecc_errors": 2}, {"repair_pending": True}])
def test_a_gpu_that_has_coped_with_its_errors_is_used(health: dict[str, object]):
    assert codes(nvml_says(**health)) == []


def test_one_bad_gpu_of_two_is_named_and_only_warned_about():
    facts = changed(TWO_GPUS, torch={"smoke_tests": (smoke(0, failed="context", code=214), smoke(1))})

    diagnosis = diagnose(facts)

    assert [gpu.index for gpu in diagnosis.usable_gpus] == [1]
    assert [(gpu.index, gpu.code) for gpu in diagnosis.excluded_gpus] == [(0, "gpu.sick")]
    assert [finding.severity for finding in diagnosis.findings] == [Severity.warning]


def test_gpus_are_offered_by_free_memory():
    assert [gpu.index for gpu in diagnose(TWO_GPUS).usable_gpus] == [1, 0]


def test_a_gpu_that_the_driver_does_not_show_is_named_but_not_offered():
    facts = changed(
        TWO_GPUS,
        environment={"CUDA_VISIBLE_DEVICES": "0"},
        driver={"gpus": (driver_gpu(0),)},
        torch={"smoke_tests": (smoke(0),)},
    )

    diagnosis = diagnose(facts)

    assert diagnosis.findings == ()
    assert [gpu.index for gpu in diagnosis.usable_gpus] == [0]
    assert [(gpu.index, gpu.code) for gpu in diagnosis.excluded_gpus] == [(1, "visible.hidden")]


def test_half_a_wrong_list_warns_and_leaves_the_valid_gpu():
    facts = changed(
        TWO_GPUS,
        environment={"CUDA_VISIBLE_DEVICES": "0,7"},
        driver={"gpus": (driver_gpu(0),)},
        torch={"smoke_tests": (smoke(0),)},
    )

    assert codes(facts) == ["visible.wrong"]
    assert len(diagnose(facts).usable_gpus) == 1


@pytest.mark.parametrize("end", [HUNG, KILLED])
@pytest.mark.parametrize("part", ["driver", "nvml"])
def test_a_driver_that_hangs_or_kills_is_dangerous(part: str, end: object):
    assert diagnose(changed(HEALTHY, **{part: {"end": end}})).driver_is_dangerous


def test_a_driver_that_only_refuses_is_not_dangerous():
    assert not diagnose(init_fails(999)).driver_is_dangerous


@pytest.mark.parametrize(
    ("environ", "promised"),
    [
        ({}, False),
        (SLURM, False),
        ({**SLURM, "SLURM_JOB_GPUS": "2"}, True),
        ({"NVIDIA_VISIBLE_DEVICES": "all"}, False),
        ({"NVIDIA_VISIBLE_DEVICES": UUIDS[0]}, True),
    ],
)
def test_what_scheduler_or_container_allocated_is_passed_on(environ: dict[str, str], promised: bool):
    assert diagnose(changed(NO_GPU, environment=environ)).gpus_allocated is promised


def test_an_allocated_gpu_that_the_machine_does_not_have_is_no_missing_request():
    assert codes(changed(NO_GPU, environment={**SLURM, "SLURM_JOB_GPUS": "0"})) == ["gpu.none"]


def test_a_cpu_only_torch_is_no_news_on_a_machine_without_gpu():
    assert codes(changed(NO_GPU, packages={"torch": "2.9.1+cpu", "torch_cuda": ""})) == ["gpu.none"]


CONSEQUENCES = {
    "torch.missing": changed(
        HEALTHY, packages={"torch": "", "torch_cuda": "", "torchvision": ""}, torch={"version": "", "import_error": "x"}
    ),
    "torch.broken": torch_says(import_error="x", torchvision_error="y", detectron2_error="z", ops_error="o"),
    "torchvision.broken": torch_says(torchvision_error="y", nms_on_cuda=False, detectron2_error="z", ops_error="o"),
    "detectron2.broken": torch_says(detectron2_error="z", ops_error="o"),
    "detectron2.missing": changed(
        MACHINES["detectron2.missing"], torch={"detectron2_error": "ModuleNotFoundError: No module named 'detectron2'"}
    ),
    "mps.unsupported": changed(MACHINES["mps.unsupported"], packages={"torch": "2.9.1", "torch_cuda": ""}),
    "driver.hangs": changed(
        driver_ends(HUNG),
        environment={**SLURM, "CUDA_VISIBLE_DEVICES": ""},
        system=IN_CONTAINER,
        nvml={"gpus": (nvml_gpu(code=15),)},
    ),
    "driver.crashes": changed(
        driver_ends(KILLED),
        environment={**SLURM, "CUDA_VISIBLE_DEVICES": ""},
        system={**IN_CONTAINER, "device_nodes": ()},
    ),
    "scheduler.none_given": changed(
        NO_NODES,
        environment={**SLURM, "CUDA_VISIBLE_DEVICES": "NoDevFiles"},
        packages={"torch": "2.9.1+cpu", "torch_cuda": ""},
    ),
    "gpu.amd": changed(MACHINES["gpu.amd"], packages={"torch": "2.9.1+cpu", "torch_cuda": ""}),
    "gpu.none": changed(
        NO_GPU,
        driver={"load_error": "", "init_code": 34},
        system=IN_CONTAINER,
        environment={"CUDA_VISIBLE_DEVICES": ""},
    ),
    "container.no_gpu": changed(
        NO_NODES, environment={"CUDA_VISIBLE_DEVICES": "0"}, driver={"load_error": "libcuda.so.1: file too short"}
    ),
    "container.lost_gpu": changed(
        MACHINES["container.lost_gpu"], system={"device_nodes": ()}, environment={"CUDA_VISIBLE_DEVICES": ""}
    ),
    "driver.mismatch": changed(
        MACHINES["driver.mismatch"], driver={"nodes": (DeviceNode(path="/dev/nvidia0", error="EACCES"),)}
    ),
    "driver.fabric": changed(
        init_fails(802), nvml={"gpus": (nvml_gpu(free_mib=10, mig=True),)}, environment={"CUDA_VISIBLE_DEVICES": ""}
    ),
    "driver.too_old": changed(
        HEALTHY,
        driver={"cuda_version": 12080, "gpus": (driver_gpu(capability=(3, 5)),)},
        nvml={"gpus": (nvml_gpu(code=16),)},
        environment={"CUDA_VISIBLE_DEVICES": "0,7"},
        torch=None,
    ),
    "visible.empty": changed(MACHINES["visible.empty"], nvml={"gpus": (nvml_gpu(mig=True),)}),
    "visible.wrong": changed(MACHINES["visible.wrong"], nvml={"gpus": (nvml_gpu(mig=True),)}),
}


COVERED = {"nodes": (DeviceNode(path="/dev/nvidiactl", error="covered"), DeviceNode(path="/dev/nvidia-uvm", error=""))}
OTHER_LIBRARY = "/usr/lib/x86_64-linux-gnu/libcuda.so.575.1.2"
AMD_CHIP = PciGpu(address="0000:0b:00.0", vendor="amd", device="0x164e", kernel_driver="amdgpu")
NOT_IN_NVML = {"load_error": "libnvidia-ml.so.1: cannot open", "init_code": None, "gpus": ()}

UNUSUAL_BUT_WELL = {
    "a GPU that no scheduler gave": changed(HEALTHY, environment=SLURM),
    "a list that names what is there": changed(HEALTHY, environment={"CUDA_VISIBLE_DEVICES": "0"}),
    "a container with the GPU": changed(
        HEALTHY, system=IN_CONTAINER, environment={"NVIDIA_DRIVER_CAPABILITIES": "compute"}
    ),
    "WSL": changed(HEALTHY, system={"wsl": True, "device_nodes": ("/dev/dxg",), "driver_loaded": "", "pci_gpus": ()}),
    "a Jetson": changed(
        HEALTHY, system={"tegra": True, "device_nodes": (), "driver_loaded": "", "pci_gpus": ()}, nvml=NOT_IN_NVML
    ),
    "a newer compatibility library": changed(HEALTHY, driver={"library": OTHER_LIBRARY}),
    "an AMD chip beside it": changed(HEALTHY, system={"pci_gpus": (NVIDIA_CARD, AMD_CHIP)}),
    "a device node that may not be opened": changed(
        HEALTHY, driver={"nodes": (DeviceNode(path="/dev/nvidia1", error="EPERM"),)}, system=IN_CONTAINER
    ),
    "a second GPU given to a virtual machine": changed(
        HEALTHY, system={"pci_gpus": (NVIDIA_CARD, replace(NVIDIA_CARD, kernel_driver="vfio-pci"))}
    ),
    "lanes as many boards have": nvml_says(link_width=8, link_width_max=16),
    "clocks lowered because nothing is to do": nvml_says(throttle_reasons=0x1),
    "a driver that sleeps but wakes quickly": nvml_says(persistent=False),
    "a Jetson with JetPack's torch": JETSON,
    "sources of detectron2 with compiled operators": changed(
        HEALTHY, packages={"detectron2_checkout": True, "detectron2_elsewhere": ("/venv/detectron2",)}
    ),
    "operators with code for the GPU": changed(HEALTHY, packages={"detectron2_ops_gpu_code": ("sm_80", "compute_80")}),
    "a container that shows the bus of its host": changed(
        HEALTHY, system={**IN_CONTAINER, "pci_gpus": (NVIDIA_CARD,) * 8}
    ),
    "a job that has one GPU of many": changed(
        HEALTHY, system={"pci_gpus": (NVIDIA_CARD,) * 8}, environment={**SLURM, "SLURM_JOB_GPUS": "3"}
    ),
    "a GPU that may not be opened": changed(
        HEALTHY,
        system={"pci_gpus": (NVIDIA_CARD,) * 2},
        driver={"nodes": (DeviceNode(path="/dev/nvidia1", error="EACCES"),)},
    ),
    "limits as they usually are": changed(
        HEALTHY, platform={"open_files": 1024, "locked_memory_mib": 8, "memory_mib": 4000, "disk_free_mib": 9000}
    ),
    "a second GPU under nouveau": changed(
        HEALTHY, system={"pci_gpus": (NVIDIA_CARD, replace(NVIDIA_CARD, kernel_driver="nouveau"))}
    ),
}

VARIATIONS = [
    ("driver.mismatch", changed(init_fails(999), driver={"library": OTHER_LIBRARY})),
    ("driver.uvm", changed(init_fails(999), system={"device_nodes": ("/dev/nvidiactl", "/dev/nvidia0")})),
    ("driver.uvm", changed(init_fails(304), system={"uvm_loaded": False})),
    ("unexplained", changed(init_fails(999), system={"tegra": True})),
    ("driver.not_initialized", init_fails(304)),
    ("gpu.busy", init_fails(46)),
    ("gpu.sick", init_fails(214)),
    ("visible.wrong", changed(init_fails(100), environment={"CUDA_VISIBLE_DEVICES": "MIG-5"})),
    (
        "driver.wsl",
        changed(MACHINES["driver.wsl"], driver={"load_error": "libcuda.so.1: cannot open", "init_code": None}),
    ),
    ("driver.wsl", changed(init_fails(999), system={"wsl": True})),
    ("gpu.none", changed(NO_GPU, system={"wsl": True})),
    ("gpu.none", changed(NO_GPU, system={"wsl": True, "device_nodes": ("/dev/dxg",)})),
    ("gpu.none", changed(NO_GPU, system={"wsl": True, "device_nodes": ("/dev/dxg",), **IN_CONTAINER})),
    ("driver.not_loaded", changed(NO_DRIVER, system={"driver_installed": True})),
    ("driver.permission", changed(init_fails(304), nvml={"init_code": 4, "gpus": ()})),
    # As seen on an H200 with /dev/null mounted over each of its files.
    ("driver.covered", changed(init_fails(100), driver=COVERED, nvml={"init_code": 17, "gpus": ()})),
    ("driver.covered", changed(init_fails(100), driver=COVERED, nvml={"gpus": ()})),
    ("driver.covered", changed(init_fails(999), driver=COVERED)),
    (
        "container.no_gpu",
        changed(
            HEALTHY,
            system=IN_CONTAINER,
            driver=NO_GPU.driver,
            torch=None,
            environment={"NVIDIA_DRIVER_CAPABILITIES": "utility,graphics"},
        ),
    ),
    (
        "driver.no_library",
        changed(
            HEALTHY,
            system=IN_CONTAINER,
            driver=NO_GPU.driver,
            torch=None,
            environment={"NVIDIA_DRIVER_CAPABILITIES": "utility,compute"},
        ),
    ),
    (
        "visible.wrong",
        changed(MACHINES["visible.wrong"], system={**IN_CONTAINER, "device_nodes": ()}),
    ),
    ("torch.broken", torch_says(end=replace(KILLED, stage="import torch"), smoke_tests=(), is_available=None)),
    ("torchvision.broken", torch_says(end=replace(KILLED, stage="import torchvision"))),
    ("detectron2.broken", torch_says(end=replace(KILLED, stage="import detectron2"))),
    ("detectron2.ops_broken", torch_says(end=replace(KILLED, stage="import detectron2._C"))),
    ("detectron2.ops_fail", smoke_says(failed="operators", end=replace(KILLED, stage="operators"))),
    ("gpu.hangs", smoke_says(failed="operators", end=replace(HUNG, stage="operators"))),
    ("gpu.sick", smoke_says(failed="operators", code=214, error="uncorrectable ECC error")),
    *(
        ("gpu.sick", smoke_says(failed="sync", code=code))
        for code in (214, 220, 226, 700, 702, 710, 714, 715, 716, 717, 718, 719)
    ),
    *(("unexplained", smoke_says(failed="context", code=code)) for code in (100, 101, 304, 802, 999)),
    ("gpu.busy", changed(nvml_says(compute_mode=2), torch={"smoke_tests": ()})),
    ("detectron2.ops_other_cuda", torch_says(ops_cuda="CUDA 11.8", smoke_tests=(WITHOUT_OPS,))),
    (
        "detectron2.ops_cpu_only",
        changed(torch_says(smoke_tests=(WITHOUT_OPS,)), packages={"detectron2_ops_gpu_code": ()}),
    ),
    ("torchvision.cpu_only", changed(HEALTHY, packages={"torchvision": "0.24.1+cpu"}, torch=None)),
    ("torchvision.cpu_only", torch_says(nms_on_cuda=False)),
    ("torchvision.nms_fails", smoke_says(failed="nms", wrong_values=True)),
    ("gpu.sick", smoke_says(failed="fill", wrong_values=True)),
    (
        "torchvision.other_torch",
        torch_says(
            torchvision_error="RuntimeError: Detected that PyTorch and torchvision "
            "were compiled with different CUDA major versions."
        ),
    ),
    ("torch.cxx_runtime", torch_says(torchvision_error="ImportError: version `CXXABI_1.3.15' not found (required")),
    ("torch.not_for_jetson", changed(JETSON, driver={"cuda_version": 12060}, torch=None)),
    (
        "torch.not_for_jetson",
        changed(JETSON, torch={"architectures": ("sm_80", "sm_90"), "smoke_tests": (smoke(failed="fill", code=209),)}),
    ),
    (
        "gpu.watchdog",
        changed(
            smoke_says(failed="sync", code=702, error="the launch timed out"), nvml={"gpus": (nvml_gpu(display=True),)}
        ),
    ),
    ("driver.fabric", changed(init_fails(802), system={"nvswitch": True, "confidential_vm": True})),
    (
        "nccl.failed",
        changed(TWO_GPUS, torch={"all_reduce": replace(ALL_REDUCE_FAILS, end=KILLED, failed="", error="")}),
    ),
    ("libraries.mixed", changed(HEALTHY, packages={"cudnn_packages": ("nvidia_cudnn_cu12-9", "nvidia_cudnn_cu13-9")})),
    ("shm.small", changed(HEALTHY, platform={"shm_free_mib": 20})),
    ("gpu.busy", changed(BUSY, nvml={"gpus": (nvml_gpu(compute_mode=2),)})),
    ("nvml.failed", changed(HEALTHY, nvml={"init_code": 18, "gpus": ()})),
    ("driver.mismatch", changed(HEALTHY, nvml={"init_code": 18, "gpus": ()}, torch=None)),
    (
        "driver.mismatch",
        changed(
            HEALTHY, nvml={"init_code": 18, "gpus": ()}, torch={"smoke_tests": (smoke(failed="context", code=803),)}
        ),
    ),
    ("gpu.sick", nvml_says(code=16)),
    ("gpu.none", changed(NO_GPU, driver={"load_error": "", "init_code": 100}, nvml={"load_error": "", "init_code": 9})),
    ("unexplained", torch_says(is_available=False, smoke_tests=())),
]


@pytest.mark.parametrize("name", UNUSUAL_BUT_WELL)
def test_what_is_unusual_but_works_raises_no_alarm(name: str):
    diagnosis = diagnose(UNUSUAL_BUT_WELL[name])

    assert diagnosis.findings == ()
    assert len(diagnosis.usable_gpus) == 1


@pytest.mark.parametrize(("code", "facts"), VARIATIONS)
def test_a_cause_is_found_in_its_other_shapes(code: str, facts: DeviceFacts):
    assert codes(facts) == [code]


def test_the_raw_answers_are_the_evidence_of_what_is_unexplained():
    (finding,) = diagnose(init_fails(7)).findings

    assert "cuInit: error 7" in finding.evidence
    assert "NVML: works" in finding.evidence


def test_a_library_that_finds_no_room_in_the_address_space_is_no_broken_installation():
    facts = torch_says(
        import_error="ImportError: libtorch_cuda.so: failed to map segment from shared object",
        smoke_tests=(),
        nms_on_cuda=None,
    )

    (finding,) = diagnose(facts).findings

    assert finding.code == "torch.broken"
    assert finding.fix.startswith("raise the limit of address space (`ulimit -v unlimited`)")


@pytest.mark.parametrize("code", CONSEQUENCES)
def test_what_follows_from_a_cause_is_not_reported_as_well(code: str):
    assert codes(CONSEQUENCES[code]) == [code]


@pytest.mark.parametrize(
    ("capability", "speaks", "fix"),
    [
        ((3, 5), 11040, "no driver for compute capability 3.5 is new enough: another GPU, or device=cpu"),
        (
            (6, 1),
            11040,
            "update the NVIDIA driver (version 525 or newer) and install torch and torchvision built for CUDA 12.6",
        ),
        ((6, 1), 12080, "install torch and torchvision built for CUDA 12.6"),
        ((8, 6), 12080, "update the NVIDIA driver (version 580 or newer for this torch), or install"),
    ],
)
def test_an_old_driver_is_only_to_be_updated_where_that_helps_the_gpu(
    capability: tuple[int, int], speaks: int, fix: str
):
    gpus = (driver_gpu(capability=capability),)
    facts = changed(HEALTHY, driver={"cuda_version": speaks, "gpus": gpus}, torch=None)

    (finding,) = diagnose(facts).findings

    assert finding.code == "driver.too_old"
    assert finding.fix.startswith(fix)


def test_fixes_name_files_that_are_there():
    for facts in MACHINES.values():
        for finding in diagnose(facts).findings:
            for path in re.findall(r"[\w/.]+/[\w/]+\.md", finding.fix):
                assert (Path(__file__).parents[3] / path).is_file()


def test_two_unrelated_causes_are_both_reported():
    facts = changed(NO_DRIVER, packages={"torch": "2.9.1+cpu", "torch_cuda": ""})

    assert codes(facts) == ["driver.absent", "torch.cpu_only"]


@pytest.mark.parametrize("code", [cause.code for cause in CAUSES if cause.fatal])
def test_the_verdict_says_where_not_even_the_cpu_can_train(code: str):
    assert "cannot train" in diagnose(MACHINES[code]).verdict


def test_the_verdict_names_the_cause_rather_than_a_louder_side_remark():
    diagnosis = diagnose(changed(NO_GPU, platform={"shm_mib": 64}))

    assert diagnosis.findings[0].code == "shm.small"
    assert diagnosis.verdict.endswith("no NVIDIA GPU in this machine")


def test_every_finding_has_a_cause_evidence_and_a_way_out():
    for facts in MACHINES.values():
        for finding in diagnose(facts).findings:
            assert all((finding.cause, finding.evidence, finding.fix))
            assert not finding.cause.endswith(".")


INSTANCE = UUIDS[1].replace("GPU-", "MIG-")


def test_a_mig_instance_is_addressed_as_one():
    facts = changed(
        HEALTHY,
        nvml={"gpus": (nvml_gpu(0, mig=True),)},
        driver={"gpus": (driver_gpu(1),)},
        torch={"smoke_tests": (replace(smoke(1), uuid=INSTANCE),)},
    )
    sick = changed(facts, torch={"smoke_tests": (replace(smoke(1, failed="context", code=214), uuid=INSTANCE),)})

    assert [(gpu.index, gpu.uuid) for gpu in diagnose(facts).usable_gpus] == [(None, INSTANCE)]
    assert diagnose(facts).verdict == "detectron2 can train on 1 GPU: MIG-22222222 NVIDIA GeForce RTX 3090"
    assert [(gpu.uuid, gpu.code) for gpu in diagnose(sick).excluded_gpus[1:]] == [(INSTANCE, "gpu.sick")]


def test_facts_without_any_driver_answer_are_diagnosed():
    facts = replace(
        NO_GPU,
        driver=DriverFacts(end=NO_GPU.driver.end),
        nvml=NvmlFacts(end=NO_GPU.driver.end),  # type: ignore[union-attr]
    )

    assert codes(facts) == ["gpu.none"]


@pytest.mark.parametrize("part", ["system", "driver", "nvml", "torch", "packages", "environment", "platform", "job"])
def test_any_mixture_of_machines_gets_a_verdict_with_a_reason(part: str):
    for one in MACHINES.values():
        for other in list(MACHINES.values())[::4]:
            diagnosis = diagnose(replace(one, **{part: getattr(other, part)}))

            assert diagnosis.verdict
            assert diagnosis.usable_gpus or diagnosis.findings
            uuids = [gpu.uuid for gpu in (*diagnosis.usable_gpus, *diagnosis.excluded_gpus) if gpu.uuid]
            assert len(uuids) == len(set(uuids))


def test_a_lost_gpu_that_the_driver_still_shows_counts_once():
    diagnosis = diagnose(changed(TWO_GPUS, nvml={"gpus": (nvml_gpu(0), NvmlGpu(index=1, code=15))}))

    assert [gpu.index for gpu in diagnosis.usable_gpus] == [0]
    assert [(gpu.index, gpu.code) for gpu in diagnosis.excluded_gpus] == [(1, "gpu.sick")]


def test_who_holds_a_gpu_is_named_with_process_user_and_memory():
    holder = GpuProcess(pid=42, memory_mib=9000, command="python", user="ada")

    (finding,) = diagnose(nvml_says(free_mib=400, processes=(holder,))).findings

    assert finding.cause.endswith("held by python (pid 42, of ada, 9000 MiB)")


@pytest.mark.parametrize(
    ("free_mib", "usable", "severity"), [(200, 0, Severity.error), (400, 1, Severity.error), (1024, 1, None)]
)
def test_a_nearly_full_gpu_is_reported_but_may_be_used_by_who_asks_for_less(
    free_mib: int, usable: int, severity: Severity | None
):
    diagnosis = diagnose(nvml_says(free_mib=free_mib))

    assert len(diagnosis.usable_gpus) == usable
    expected = [("gpu.out_of_memory", severity)] if severity else []
    assert [(finding.code, finding.severity) for finding in diagnosis.findings] == expected


def test_a_nearly_full_gpu_beside_an_empty_one_is_worth_a_warning():
    diagnosis = diagnose(
        changed(TWO_GPUS, nvml={"gpus": (nvml_gpu(0, free_mib=400, processes=(PYTHON,)), nvml_gpu(1))})
    )

    assert [(f.code, f.severity) for f in diagnosis.findings] == [("gpu.out_of_memory", Severity.warning)]
    assert len(diagnosis.usable_gpus) == 2


def test_what_a_jetsons_nvml_says_of_its_gpu_does_not_count():
    diagnosis = diagnose(changed(JETSON, nvml={"gpus": (nvml_gpu(1, memory_mib=None, free_mib=None),)}))

    assert [(gpu.index, gpu.uuid) for gpu in diagnosis.usable_gpus] == [(0, UUIDS[0])]
    assert diagnosis.excluded_gpus == ()


def test_a_jetsons_library_with_versions_of_its_own_is_no_mismatch():
    facts = changed(
        JETSON,
        system={"driver_loaded": "540.4.0"},
        driver={"init_code": 999, "gpus": (), "library": "/usr/lib/aarch64-linux-gnu/nvidia/libcuda.so.1.1"},
    )

    assert codes(facts) == ["unexplained"]
