"""The texts that people see lead to the causes, and the codes that the launcher prints before any text."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from launcher.device.causes.catalogue import BY_CODE
from launcher.device.causes.diagnose import diagnose
from launcher.device.causes.error_text import find_causes, nearest_codes
from launcher.device.cuda_codes import CUDA_ERRORS, Blame, CudaError
from launcher.show.doctor import show_doctor
from launcher.show.run import failure_text
from tests.device.causes.test_diagnose import MACHINES
from tests.values import a_plan, failed_with

# Before a start these have causes of their own.
UNLIKE_IN_A_RUN = {100, 304, 802, 999}
AT_COUNT = (
    "Unexpected error from cudaGetDeviceCount(). Did you run some cuda functions before calling NumCudaDevices() that "
    "might have already set an error? "
)
# What torch, detectron2, NVML and the kernel say, and the cause that has to come first.
FIRST = [
    ("AssertionError: Torch not compiled with CUDA enabled", "torch.cpu_only"),
    ("RuntimeError: No HIP GPUs are available", "gpu.amd"),
    (
        "NotImplementedError: Could not run 'torchvision::nms' with arguments from the 'MPS' backend.",
        "mps.unsupported",
    ),
    ("ImportError: libcudnn.so.9: cannot open shared object file: No such file or directory", "torch.missing_library"),
    ("libcusparse.so.12: undefined symbol: __nvJitLinkComplete_12_4, version libnvJitLink", "torch.mixed_libraries"),
    ("RuntimeError: Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU", "gpu.none"),
    ("NVMLError_DriverNotLoaded: Driver Not Loaded", "driver.not_loaded"),
    ("OSError: libcuda.so.1: file too short", "driver.empty_library"),
    (AT_COUNT + "Error 34: CUDA driver is a stub library", "driver.stub"),
    (AT_COUNT + "Error 46: CUDA-capable device(s) is/are busy or unavailable", "gpu.busy"),
    (AT_COUNT + "Error 101: invalid device ordinal", "gpu.sick"),
    (AT_COUNT + "Error 304: OS call failed or operation not supported on this OS", "driver.permission"),
    (AT_COUNT + "Error 214: uncorrectable ECC error encountered", "gpu.sick"),
    (AT_COUNT + "Error 801: operation not supported", "driver.not_licensed"),
    (AT_COUNT + "Error 802: system not yet initialized", "driver.fabric"),
    (AT_COUNT + "Error 803: system has unsupported display driver / cuda driver combination", "driver.mismatch"),
    (AT_COUNT + "Error 804: forward compatibility was attempted on non supported HW", "driver.compat"),
    (
        AT_COUNT + "Error 805: MPS client failed to connect to the MPS control daemon or the MPS server",
        "driver.mps_daemon",
    ),
    ("Failed to initialize NVML: Unknown Error", "container.lost_gpu"),
    ("Failed to initialize NVML: Driver/library version mismatch", "driver.mismatch"),
    ("NVMLError_LibRmVersionMismatch: RM has detected an NVML/RM version mismatch.", "driver.mismatch"),
    ("NVMLError_NoPermission: Insufficient Permissions", "driver.permission"),
    ("NVMLError_GpuIsLost: GPU is lost", "gpu.sick"),
    ("NVMLError_LibraryNotFound: NVML Shared Library Not Found", "nvml.failed"),
    ("UserWarning: Can't initialize NVML", "nvml.failed"),
    (
        "The NVIDIA driver on your system is too old (found version 12080). Please update your GPU driver",
        "driver.too_old",
    ),
    ("CUDA driver initialization failed, you might not have a CUDA gpu.", "driver.not_initialized"),
    ("Unable to determine the device handle for GPU0000:01:00.0: Unknown Error", "gpu.sick"),
    ("RuntimeError: No CUDA GPUs are available", "gpu.none"),
    (
        "CUDA error: invalid device ordinal\nGPU device may be out of range, do you have enough GPUs?",
        "run.invalid_ordinal",
    ),
    (
        'File "/x/detectron2/engine/launch.py", line 99, in _distributed_worker\n    assert ...\nAssertionError',
        "run.invalid_ordinal",
    ),
    (
        "Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, you must use the 'spawn'",
        "run.fork_after_cuda",
    ),
    ("Found GPU0 Tesla K40c which is of compute capability (CC) 3.5.", "arch.not_in_wheel"),
    (
        "Tesla K40c with CUDA capability sm_35 is not compatible with the current PyTorch installation.",
        "arch.not_in_wheel",
    ),
    ("CUDA error: no kernel image is available for execution on the device", "arch.not_in_wheel"),
    ("CUDA error: the provided PTX was compiled with an unsupported toolchain.", "driver.ptx_too_new"),
    ("AcceleratorError: CUDA error: out of memory", "gpu.out_of_memory"),
    ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 MiB. GPU 0 has a total", "run.out_of_memory"),
    ("CUDA error: an illegal memory access was encountered", "run.illegal_access"),
    ("CUDA error: unspecified launch failure", "run.launch_failure"),
    ("CUDA error: too many resources requested for launch", "run.launch_failure"),
    ("CUDA error: device-side assert triggered", "run.assert"),
    ("CUDA error: the launch timed out and was terminated", "gpu.watchdog"),
    ("Could not run 'torchvision::nms' with arguments from the 'CUDA' backend.", "torchvision.cpu_only"),
    (
        "Detected that PyTorch and torchvision were compiled with different CUDA major versions. PyTorch has",
        "torchvision.other_torch",
    ),
    ("RuntimeError: operator torchvision::nms does not exist", "torchvision.other_torch"),
    ("ImportError: cannot import name '_C' from 'detectron2' (/x/detectron2/__init__.py)", "detectron2.shadowed"),
    (
        "ImportError: Cannot import 'detectron2._C', therefore 'DeformConv' is not available. detectron2 is not "
        "compiled successfully, please build following the instructions!",
        "detectron2.no_ops",
    ),
    (
        "AttributeError: '_OpNamespace' 'detectron2' object has no attribute 'nms_rotated'",
        "detectron2.no_ops",
    ),
    (
        "ImportError: /x/detectron2/_C.cpython-311-x86_64-linux-gnu.so: undefined symbol: _ZN3c1017RegisterOperators",
        "detectron2.ops_other_torch",
    ),
    ("RuntimeError: Detectron2 is not compiled with GPU support!", "detectron2.ops_cpu_only"),
    ("RuntimeError: Not compiled with GPU support", "detectron2.ops_cpu_only"),
    (
        "ImportError: libcudart.so.11.0: cannot open shared object file: No such file or directory",
        "detectron2.ops_other_cuda",
    ),
    ("CUDA error: invalid device function", "detectron2.ops_arch"),
    (
        "ImportError: /lib/x86_64-linux-gnu/libstdc++.so.6: version `GLIBCXX_3.4.32' not found (required by "
        "/x/detectron2/_C.cpython-311-x86_64-linux-gnu.so)",
        "detectron2.ops_cxx_runtime",
    ),
    (
        "cuDNN version incompatibility: PyTorch was compiled against (9, 1) but found runtime version (8, 9)",
        "torch.cudnn",
    ),
    ("CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH", "torch.cudnn"),
    (
        "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
        "torch.libraries",
    ),
    (
        'RuntimeError: nvmlDeviceGetNvLinkRemoteDeviceType_ INTERNAL ASSERT FAILED at "../c10/cuda/driver_api.cpp":70',
        "run.nvml_assert",
    ),
    ("torch.distributed.DistBackendError: NCCL error in: x.cpp:3690, unhandled system error", "nccl.failed"),
    ("ValueError: ProcessGroupNCCL is only supported with GPUs, no GPUs found!", "run.nccl_on_cpu"),
    (
        "RuntimeError: DataLoader worker (pid 4711) is killed by signal: Bus error. It is possible that dataloader's "
        "workers are out of shared memory.",
        "shm.small",
    ),
    ("RuntimeError: DataLoader worker (pid 4711) is killed by signal: Killed.", "run.loader_killed"),
    ("OSError: [Errno 24] Too many open files", "limits.open_files"),
    ("AssertionError: [AMPTrainer] CUDA is required for AMP training!", "run.amp_on_cpu"),
    ("ValueError: SyncBatchNorm expected input tensor to be on GPU or XPU or privateuseone", "run.sync_bn"),
    ("NotImplementedError: Deformable Conv is not supported on CPUs!", "run.deform_on_cpu"),
    (
        "Attempting to deserialize object on a CUDA device but torch.cuda.is_available() is False. If you are running",
        "run.cuda_checkpoint",
    ),
    ("FloatingPointError: Loss became infinite or NaN at iteration=12!", "run.diverged"),
    ("FloatingPointError: Predicted boxes or scores contain Inf/NaN. Training has diverged.", "run.diverged"),
    ("SIGSEGV", "run.crash"),
    ("SIGKILL", "run.killed"),
    ("CUDA error 214", "gpu.sick"),
    (
        "RuntimeError: [enforce fail at alloc_cpu.cpp:83] err == 0. DefaultCPUAllocator: can't allocate memory: you",
        "run.host_memory",
    ),
    ("CUDA error: unknown error", "run.cuda_error"),
    ("Killed", "run.killed"),
    ("$ launcher train\nKilled\n$", "run.killed"),
    ("CUDA error 700", "run.illegal_access"),
    ("error 719", "run.launch_failure"),
    ("Xid 79", "gpu.vanished"),
    ("NVRM: Xid (PCI:0000:01:00): 79, pid='<unknown>', name=<unknown>", "gpu.vanished"),
    ("ImportError: libGL.so.1: cannot open shared object file: No such file or directory", "run.opencv_library"),
    ("ImportError: /x/torch/lib/libtorch_cuda.so: undefined symbol: ncclCommResume", "torch.mixed_libraries"),
    (
        "RuntimeError: DataLoader worker (pid 33) exited unexpectedly: unable to write to file </torch_12_3>: No space "
        "left on device (28)",
        "shm.small",
    ),
    (
        "ERROR: Unexpected bus error encountered in worker. This might be caused by insufficient shared memory (shm).",
        "shm.small",
    ),
    (
        "RuntimeError: unable to open shared memory object </torch_12_3> in read-write mode: Too many open files (24)",
        "limits.open_files",
    ),
    ("RuntimeError: cuDNN error: CUDNN_STATUS_EXECUTION_FAILED", "torch.cudnn"),
    ("RuntimeError: cuda runtime error (999) : unknown error at /x/aten/src/THC/THCGeneral.cpp:50", "driver.uvm"),
    ("Bus error (core dumped)", "shm.small"),
    ("BlockingIOError: [Errno 11] Resource temporarily unavailable", "limits.processes"),
    ("RuntimeError: can't start new thread", "limits.processes"),
    ("OpenBLAS blas_thread_init: pthread_create failed for thread 1 of 64: Resource temp", "limits.processes"),
    (
        'RuntimeError: device >= 0 && device < num_gpus INTERNAL ASSERT FAILED at "../aten/src/ATen/cuda/CUDAContext"',
        "run.visible_changed",
    ),
    (
        "RuntimeError: Expected to have finished reduction in the prior iteration before starting a new one. This",
        "run.unused_parameters",
    ),
    (
        "RuntimeError: Default process group has not been initialized, please make sure to call init_process_group.",
        "run.no_process_group",
    ),
    (
        "AssertionError: A prediction has class=10, but the dataset only has 3 classes and predicted class id should",
        "run.other_classes",
    ),
    (
        "The detected CUDA version (11.8) mismatches the version that was used to compile PyTorch (12.1).",
        "run.other_nvcc",
    ),
    ("nvcc fatal   : Unsupported gpu architecture 'compute_89'", "run.nvcc_arch"),
    (
        "RuntimeError: Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!",
        "run.two_devices",
    ),
    ("KeyError: \"Dataset 'fruits_train' is not registered! Available datasets are: coco_2014\"", "run.unregistered"),
    ("KeyError: 'Non-existent config key: MODEL.POINT_HEAD'", "run.unknown_key"),
    ("RuntimeError: unable to open shared memory object </torch_1_2> in read-write mode", "shm.small"),
]


@pytest.mark.parametrize(("text", "code"), FIRST, ids=range(len(FIRST)))
def test_the_text_of_an_error_leads_to_its_cause(text: str, code: str):
    assert find_causes(text)[0].cause.code == code


ONE_OF = [
    ("Found no NVIDIA driver on your system", {"driver.absent", "driver.nouveau", "container.no_gpu", "gpu.none"}),
    ("No CUDA GPUs are available", {"visible.empty", "visible.wrong", "gpu.mig", "scheduler.none_given"}),
    (
        "CUDA unknown error - this may be due to an incorrectly set up environment, e.g. changing env variable "
        "CUDA_VISIBLE_DEVICES after program start. Setting the available devices to be zero.",
        {"driver.uvm", "container.lost_gpu", "run.visible_changed", "driver.not_loaded"},
    ),
    ("no kernel image is available for execution on the device", {"torch.not_for_jetson", "detectron2.ops_arch"}),
    ("RuntimeError: No HIP GPUs are available", {"torch.wrong_vendor"}),
    ("Error 802: system not yet initialized", {"driver.confidential"}),
    ("unable to open shared memory object </torch_12_3> in read-write mode", {"shm.small", "limits.open_files"}),
    ("cuda runtime error (999) : unknown error", {"driver.uvm", "run.cuda_error"}),
    (AT_COUNT + "Error 2: out of memory", {"driver.wsl", "gpu.out_of_memory"}),
]


@pytest.mark.parametrize(("text", "expected"), ONE_OF, ids=range(len(ONE_OF)))
def test_a_text_with_several_causes_names_each(text: str, expected: set[str]):
    assert expected <= {match.cause.code for match in find_causes(text)}


def test_a_whole_traceback_with_colours_and_broken_lines_is_understood():
    pasted = (
        "\x1b[31m[11/23 16:00:01 d2.engine]: Exception during training:\x1b[0m\n"
        "Traceback (most recent call last):\n"
        '  File "train.py", line 3, in <module>\n'
        "    losses = model(batch)\n"
        "torch.AcceleratorError: CUDA error: no kernel\n    \x1b[1mimage\x1b[0m is available for execution on the "
        "device\n"
        "Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.\n"
    )

    assert find_causes(pasted)[0].cause.code == "arch.not_in_wheel"


@pytest.mark.parametrize("error", CUDA_ERRORS, ids=lambda error: str(error.number))
def test_every_number_of_cuda_that_a_run_may_end_with_is_known(error: CudaError):
    causes = {match.cause.code for match in find_causes(f"CUDA error {error.number}")}

    assert causes
    if error.number not in UNLIKE_IN_A_RUN:
        assert bool(causes & {"gpu.sick", "gpu.busy"}) == (error.blame is Blame.gpu)


def test_an_ordinary_word_counts_only_as_a_line_of_its_own():
    assert "run.killed" not in {match.cause.code for match in find_causes("is killed by signal: Bus error")}


def test_a_remembered_piece_is_enough():
    assert find_causes("no kernel image is available")[0].cause.code == "arch.not_in_wheel"


@pytest.mark.parametrize(
    "text",
    [
        "my cat sat on the mat",
        "KeyError: 'foo'",
        "is available",
        "CUDA",
        "error",
        "the nvidia driver installed on your system seems too old",
        "libfoo.so.1: cannot open shared object file: No such file or directory",
        "libfoo.so: undefined symbol: bar",
        "HTTP Error 304: Not Modified",
        "make: *** [all] Error 2",
        "Xid (PCI:0000:01:00): 31",
    ],
)
def test_what_nobody_knows_has_no_cause(text: str):
    assert find_causes(text) == ()


def test_a_mistyped_code_has_its_neighbours():
    assert nearest_codes("driver.to_old")[0] == "driver.too_old"


@pytest.mark.parametrize("code", BY_CODE)
def test_what_a_failed_run_prints_can_be_pasted(code: str, tmp_path: Path):
    words = "RuntimeError: No CUDA GPUs are available; Killed"

    printed = failure_text(replace(failed_with(code), explanation=words), a_plan({}, folder=str(tmp_path)))

    assert find_causes(printed)[0].cause.code == code


@pytest.mark.parametrize("code", MACHINES)
def test_what_the_doctor_prints_can_be_pasted(code: str):
    screen = io.StringIO()
    show_doctor(diagnose(MACHINES[code]), MACHINES[code], Console(file=screen, width=200), verbose=True)

    if code == "unexplained":  # a word of its own; in brackets or by itself it is a code
        assert find_causes(f"[{code}]")[0].cause.code == code
    else:
        assert find_causes(screen.getvalue())[0].cause.code == code


@pytest.mark.parametrize(
    "text", ["/data/disk.full/images", "import torch.broken.module", "my.disk.full", "torch.missing_library_x"]
)
def test_a_part_of_a_longer_name_is_no_code(text: str):
    assert find_causes(text) == ()
