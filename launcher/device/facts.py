"""What is there: everything that was seen on this machine, as plain values. Data only: no judgement, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from launcher.device.bfloat16 import Bfloat16Facts
from launcher.device.job import JobFacts


@dataclass(frozen=True, kw_only=True)
class Platform:
    system: str
    """As Python's `sys.platform`: linux, darwin, win32."""
    machine: str
    kernel: str
    python: str
    num_cpus: int
    """CPUs that this process may use, not those that the machine has."""
    shm_mib: int | None
    """Size of /dev/shm, through which data loader workers hand over their batches."""
    shm_free_mib: int | None = None
    open_files: int | None = None
    """How many files a process may have open at once; None for no limit, or where nobody can tell."""
    locked_memory_mib: int | None = None
    """How much memory a process may lock; None for no limit."""
    memory_mib: int | None = None
    """Memory that is available, at most what the control groups around this process allow."""
    disk_free_mib: int | None = None
    """Where runs are written by default."""

    @property
    def shm_there_mib(self) -> int | None:
        """What is free in /dev/shm, or else its size."""
        return self.shm_mib if self.shm_free_mib is None else self.shm_free_mib


@dataclass(frozen=True, kw_only=True)
class PciGpu:
    """A display controller or accelerator on the PCI bus."""

    address: str
    vendor: str
    """nvidia or amd."""
    device: str
    kernel_driver: str
    """The kernel driver bound to it, for example `nvidia`, `nouveau`, `vfio-pci`; empty for none."""


@dataclass(frozen=True, kw_only=True)
class LibraryFile:
    path: str
    size: int


@dataclass(frozen=True, kw_only=True)
class SystemFacts:
    """What files say about GPUs and their driver."""

    pci_gpus: tuple[PciGpu, ...]
    driver_loaded: str
    """Version of the loaded NVIDIA kernel module, or empty."""
    driver_installed: bool
    """There is an nvidia.ko for the running kernel; only looked for where there is a GPU on the PCI bus."""
    uvm_loaded: bool
    device_nodes: tuple[str, ...]
    """NVIDIA's entries under /dev, and /dev/dxg."""
    cuda_libraries: tuple[LibraryFile, ...]
    """Every libcuda.so.1 in the places where the loader looks, in its order."""
    container: tuple[str, ...]
    """Signs of a container, for example `/.dockerenv`."""
    wsl: bool
    tegra: bool
    model: str = ""
    """Of a board that has one in its device tree, for example `NVIDIA Jetson AGX Orin Developer Kit`."""
    nvswitch: bool = False
    """There are NVSwitches, which need the fabric manager."""
    confidential_vm: bool = False
    """The processor keeps this virtual machine's memory from its host (SEV-SNP, TDX)."""
    secure_boot: bool = False
    infiniband: bool = False
    cuda_folders: tuple[str, ...] = ()
    """Folders of LD_LIBRARY_PATH with CUDA libraries that torch brings along too, and which: `/opt/cuda: libcudart`."""


@dataclass(frozen=True, kw_only=True)
class ChildEnd:
    """How a probe's child process ended."""

    how: str
    """answered, hung, signal, exit, or unwritten: it could not say what it found."""
    number: int
    """The signal or the exit code; 0 for an answer."""
    stage: str
    """What it was at when it ended."""
    seconds: float
    kernel_state: str
    """Of a child that hung: its state and where it waits in the kernel, for example `D nvidia_ioctl`."""
    stderr: str
    """The last lines, when it did not answer."""


@dataclass(frozen=True, kw_only=True)
class DeviceNode:
    path: str
    error: str
    """Name of the errno that open() gave, for example EACCES; `covered` when it opened and no driver is behind it, as
    where a file or /dev/null was mounted over it; else empty."""


@dataclass(frozen=True, kw_only=True)
class DriverGpu:
    """A GPU as the driver shows it to this process: CUDA_VISIBLE_DEVICES has been applied."""

    uuid: str
    name: str
    capability: tuple[int, int]
    memory_mib: int


@dataclass(frozen=True, kw_only=True)
class DriverFacts:
    """What a child learned by opening the device nodes and calling cuInit."""

    end: ChildEnd
    nodes: tuple[DeviceNode, ...] = ()
    library: str = ""
    """The libcuda that was loaded."""
    load_error: str = ""
    init_code: int | None = None
    """What cuInit returned; None when it was not reached or did not return."""
    init_error: str = ""
    cuda_version: int = 0
    """The newest CUDA that the driver speaks, 13020 for 13.2; 0 when unknown."""
    gpus: tuple[DriverGpu, ...] = ()


@dataclass(frozen=True, kw_only=True)
class GpuProcess:
    pid: int
    memory_mib: int | None
    command: str
    user: str = ""
    """Empty where this machine cannot tell, for example for processes of other containers."""


@dataclass(frozen=True, kw_only=True)
class NvmlGpu:
    """A GPU as NVML shows it: all of the machine's (or the container's), whatever CUDA_VISIBLE_DEVICES says."""

    index: int
    code: int = 0
    """NVML's error for this GPU, for example 15 when it is lost."""
    uuid: str = ""
    name: str = ""
    pci: str = ""
    capability: tuple[int, int] | None = None
    memory_mib: int | None = None
    free_mib: int | None = None
    compute_mode: int | None = None
    """0 default, 2 prohibited, 3 one process at a time."""
    mig: bool = False
    ecc_errors: int = 0
    """Uncorrected, since the last reset."""
    repair_pending: bool = False
    """Retired pages or remapped rows wait for a reset."""
    repair_failed: bool = False
    recovery_action: int = 0
    """What NVML advises: 0 none, 1 reset the GPU, 2 reboot, more in newer drivers."""
    processes: tuple[GpuProcess, ...] = ()
    display: bool = False
    """A screen is connected and used, so the driver ends kernels that take too long."""
    persistent: bool | None = None
    """The driver stays awake between programs."""
    throttle_reasons: int = 0
    """NVML's bits: why the clocks are lower than they could be."""
    link_width: int | None = None
    """PCIe lanes in use."""
    link_width_max: int | None = None


@dataclass(frozen=True, kw_only=True)
class NvmlFacts:
    """What a child learned from NVML."""

    end: ChildEnd
    load_error: str = ""
    init_code: int | None = None
    init_error: str = ""
    driver: str = ""
    gpus: tuple[NvmlGpu, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PackageFacts:
    """What the installed files say about torch, torchvision and detectron2; nothing is imported."""

    torch: str
    """The version, or empty when it is not installed."""
    torch_cuda: str
    """The CUDA that this torch was built with, for example `13.2`; empty for none."""
    torch_hip: str
    torchvision: str
    detectron2: str
    detectron2_folder: str
    detectron2_compiled: tuple[str, ...]
    """Files named `_C*` in detectron2's folder."""
    detectron2_fits: bool
    """One of them is named for the running Python."""
    detectron2_ops_gpu_code: tuple[str, ...] | None = None
    """What its compiled operators have GPU code for, such as `sm_86`; () for none, None where nobody could tell."""
    detectron2_checkout: bool = False
    """It is a folder of sources, with setup.py beside it, and not an installation."""
    detectron2_elsewhere: tuple[str, ...] = ()
    """Other folders of detectron2 that this Python would find if this one were not first."""
    cudnn_packages: tuple[str, ...] = ()
    """Installed packages that bring cuDNN; they write into one folder."""


@dataclass(frozen=True, kw_only=True)
class SmokeTest:
    """What happened when a process tried to compute on one GPU."""

    uuid: str
    passed: tuple[str, ...]
    """Stages, in their order."""
    end: ChildEnd
    failed: str = ""
    """The stage that failed, or empty."""
    code: int | None = None
    """CUDA's error code, where the message or the exception tells it."""
    error: str = ""
    wrong_values: bool = False
    """It failed because its results are not the CPU's."""


@dataclass(frozen=True, kw_only=True)
class TorchFacts:
    """What a child learned by importing torch, torchvision and detectron2."""

    end: ChildEnd
    version: str = ""
    import_error: str = ""
    architectures: tuple[str, ...] = ()
    """What this torch has GPU code for, for example `sm_90`, `compute_120`."""
    is_available: bool | None = None
    warnings: tuple[str, ...] = ()
    """What torch warned of when it was asked for GPUs."""
    torchvision_error: str = ""
    nms_on_cuda: bool | None = None
    """torchvision has its operators for CUDA."""
    detectron2_error: str = ""
    ops_error: str = ""
    """Why detectron2's compiled operators do not load; empty when they do."""
    ops_cuda: str = ""
    """The CUDA they were built with, or `not available`."""
    smoke_tests: tuple[SmokeTest, ...] = ()
    all_reduce: SmokeTest | None = None
    """Two processes that add up numbers over the link between two GPUs, whose UUIDs it names with a comma; None: not
    tried."""


@dataclass(frozen=True, kw_only=True)
class DeviceFacts:
    """Everything that was seen on this machine. As JSON it replays: the same facts give the same diagnosis."""

    platform: Platform
    environment: Mapping[str, str]
    """Only the variables that matter for devices."""
    job: JobFacts
    system: SystemFacts
    packages: PackageFacts
    driver: DriverFacts | None
    """None: not asked, because no CUDA driver exists for this platform."""
    nvml: NvmlFacts | None
    torch: TorchFacts | None
    """None: not asked, because no GPU is wanted, or the rest already shows that none is usable."""
    bfloat16: Bfloat16Facts | None = None
    """None: not measured, because no run asks for mixed precision on the CPU."""
