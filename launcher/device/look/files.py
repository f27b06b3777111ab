"""What files and installed packages say about GPUs: no child process, no import of torch, some milliseconds."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import platform
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from launcher.device.facts import LibraryFile, PackageFacts, PciGpu, Platform, SystemFacts
from launcher.device.look.gpu_code import gpu_code_in

try:
    import resource
except ImportError:  # Windows has no such limits
    resource = None  # type: ignore[assignment]

VENDORS = {"0x10de": "nvidia", "0x1002": "amd"}
# PCI class 0x03 is a display controller; AMD's compute cards call themselves processing accelerators, 0x12.
GPU_CLASSES = ("0x03", "0x12")

RELEVANT_PREFIXES = (
    "CUDA_", "NVIDIA_", "NCCL_", "PYTORCH_", "TORCH_", "TORCHELASTIC_", "HIP_", "ROCR_", "HSA_", "GPU_",
    "SLURM_", "PBS_", "LSB_", "SGE_", "OMPI_COMM_WORLD_", "MV2_COMM_WORLD_",
)  # fmt: skip
RELEVANT_NAMES = frozenset({
    "LD_LIBRARY_PATH", "LD_PRELOAD", "CONDA_PREFIX", "KUBERNETES_SERVICE_HOST", "JOB_ID", "OMP_NUM_THREADS",
    "RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "container",
})  # fmt: skip
# Facts go into run folders and bug reports; SLURM_JWT, for one, lets its reader act as the user.
SECRET = re.compile(r"TOKEN|JWT|SECRET|PASSW|CREDENTIAL|_KEY|_COOKIE|_AUTH|^AUTH|SIGNATURE", re.IGNORECASE)
# The same of values: who logs in before the @ of an address, and what is signed behind its question mark.
USER_IN_URL = re.compile(r"(?<=://)[^/@\s]+@")
QUERY_OF_URL = re.compile(r"(://[^\s?#]*)[?#]\S*")

LIBRARY_FOLDERS = (
    "usr/lib/wsl/lib",
    "usr/lib/x86_64-linux-gnu",
    "usr/lib/aarch64-linux-gnu",
    "usr/lib/aarch64-linux-gnu/nvidia",
    "usr/lib/aarch64-linux-gnu/tegra",
    "usr/lib64",
    "usr/lib64/nvidia",
    "usr/lib",
    "usr/local/nvidia/lib64",
    "run/opengl-driver/lib",
)
# What torch brings along itself; another copy found first has broken many an installation.
BROUGHT_ALONG = ("libcudart", "libcublas", "libcudnn", "libnvJitLink", "libnccl")
# Where Linux keeps the firmware's answer: four bytes of attributes, then 1 for on.
SECURE_BOOT = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"


def relevant(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that matter for devices, without those that look like secrets."""
    return {
        name: QUERY_OF_URL.sub(r"\1?...", USER_IN_URL.sub("...@", value))
        for name, value in sorted(environ.items())
        if (name in RELEVANT_NAMES or name.startswith(RELEVANT_PREFIXES)) and not SECRET.search(name)
    }


def look_at_platform(root: Path) -> Platform:
    return Platform(
        system=sys.platform,
        machine=platform.machine(),
        kernel=platform.release(),
        python=platform.python_version(),
        num_cpus=count_cpus(root),
        shm_mib=_size_mib(root / "dev/shm"),
        shm_free_mib=_free_mib(root / "dev/shm"),
        open_files=_limit("RLIMIT_NOFILE"),
        locked_memory_mib=None if (locked := _limit("RLIMIT_MEMLOCK")) is None else locked >> 20,
        memory_mib=_memory_mib(root),
        disk_free_mib=_free_mib(_where_runs_go()),
    )


def _limit(name: str) -> int | None:
    if resource is None or not hasattr(resource, name):
        return None
    soft, _ = resource.getrlimit(getattr(resource, name))
    return None if soft == resource.RLIM_INFINITY else soft


def _where_runs_go() -> Path:
    """The default folder of runs may be a link to another disk, and may not be there yet."""
    outputs = Path("outputs")
    return outputs if outputs.is_dir() else Path()


def _memory_mib(root: Path) -> int | None:
    found = re.search(r"^MemAvailable:\s*(\d+) kB", _text(root / "proc/meminfo"), re.MULTILINE)
    available = [int(found[1]) >> 10] if found else []
    limits = [
        int(text) >> 20
        for folder in _control_groups(root, "memory", ("memory",))
        if (text := _text(folder / "memory.max") or _text(folder / "memory.limit_in_bytes")).isdigit()
    ]
    return min([*available, *limits], default=None)


def count_cpus(root: Path = Path("/")) -> int:
    """Those that this process may use."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # Rounded down: with a thread more than the quota feeds, all of them stand still until the next period.
    return max(1, min([there, *(int(quota) for quota in _cpu_quotas(root))]))


def _cpu_quotas(root: Path) -> Iterator[float]:
    """How many CPUs' time each control group around this process may use."""
    for folder in _control_groups(root, "cpu", ("cpu", "cpu,cpuacct")):
        limit = _text(folder / "cpu.max").split() or [
            _text(folder / "cpu.cfs_quota_us"),
            _text(folder / "cpu.cfs_period_us"),
        ]
        # `max` and -1 are no limit.
        if all(part.isdigit() for part in limit) and len(limit) == 2 and int(limit[1]):
            yield int(limit[0]) / int(limit[1])


def _control_groups(root: Path, controller: str, mounts: Iterable[str]) -> Iterator[Path]:
    """The folders of the control groups around this process; `mounts` are the names in version 1."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        controllers, _, path = line.partition(":")[2].partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        folders = [root / "sys/fs/cgroup" / mount for mount in mounts] if controllers else [root / "sys/fs/cgroup"]
        own = PurePosixPath(path.lstrip("/"))
        # A container may see its own group as the root of the mount, under the path that the host gave it.
        yield from (folder / group for folder in folders for group in (own, *own.parents))


def look_at_system(root: Path, environ: Mapping[str, str], kernel: str) -> SystemFacts:
    """Read the files below `root`, which is `/` but for tests."""
    pci_gpus = tuple(_pci_gpus(root / "sys/bus/pci/devices"))
    return SystemFacts(
        pci_gpus=pci_gpus,
        driver_loaded=_driver_loaded(root),
        # Thousands of files: only looked through where the answer can matter.
        driver_installed=bool(pci_gpus) and any((root / "lib/modules" / kernel).rglob("nvidia.ko*")),
        uvm_loaded=(root / "sys/module/nvidia_uvm").exists(),
        device_nodes=tuple(f"/dev/{path.name}" for path in device_nodes(root)),
        cuda_libraries=tuple(_cuda_libraries(root, environ)),
        container=tuple(_container_signs(root, environ)),
        wsl="microsoft" in _text(root / "proc/version").lower(),
        tegra=(root / "etc/nv_tegra_release").exists() or "tegra" in kernel or "jetson" in _model(root).lower(),
        model=_model(root),
        nvswitch=any((root / "dev").glob("nvidia-nvswitch*")),
        confidential_vm=any((root / "dev" / name).exists() for name in ("sev-guest", "tdx_guest")),
        secure_boot=_bytes(root / SECURE_BOOT)[4:5] == b"\1",
        infiniband=bool(_entries(root / "sys/class/infiniband")),
        cuda_folders=tuple(_cuda_folders(environ)),
    )


def look_at_packages() -> PackageFacts:
    """torch, torchvision and detectron2 as this Python would import them, read from their files."""
    torch, torchvision, detectron2 = _folder("torch"), _folder("torchvision"), _folder("detectron2")
    compiled = sorted(path.name for path in detectron2.glob("_C*")) if detectron2 else []
    compiled = [name for name in compiled if name.endswith((".so", ".pyd"))]
    # The first suffix that this Python tries wins.
    ops = next((f"_C{suffix}" for suffix in importlib.machinery.EXTENSION_SUFFIXES if f"_C{suffix}" in compiled), "")
    return PackageFacts(
        torch=_constant(torch, "version.py", "__version__"),
        torch_cuda=_constant(torch, "version.py", "cuda"),
        torch_hip=_constant(torch, "version.py", "hip"),
        torchvision=_constant(torchvision, "version.py", "__version__"),
        detectron2=_constant(detectron2, "__init__.py", "__version__"),
        detectron2_folder=str(detectron2) if detectron2 else "",
        detectron2_compiled=tuple(compiled),
        detectron2_fits=bool(ops),
        detectron2_ops_gpu_code=gpu_code_in(detectron2 / ops) if detectron2 and ops else None,
        detectron2_checkout=detectron2 is not None and (detectron2.parent / "setup.py").is_file(),
        detectron2_elsewhere=tuple(_elsewhere("detectron2", detectron2)),
        cudnn_packages=tuple(sorted(path.name.removesuffix(".dist-info") for path in _cudnn(torch))),
    )


def _pci_gpus(devices: Path) -> Iterator[PciGpu]:
    for folder in _entries(devices):
        vendor = VENDORS.get(_text(folder / "vendor"))
        if vendor and _text(folder / "class").startswith(GPU_CLASSES):
            driver = folder / "driver"
            yield PciGpu(
                address=folder.name,
                vendor=vendor,
                device=_text(folder / "device"),
                kernel_driver=driver.readlink().name if driver.is_symlink() else "",
            )


def _driver_loaded(root: Path) -> str:
    if version := _text(root / "sys/module/nvidia/version"):
        return version
    # For example: NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27 ...
    found = re.search(r"\s(\d+\.\d+(?:\.\d+)?)\s", _text(root / "proc/driver/nvidia/version"))
    return found.group(1) if found else ""


def device_nodes(root: Path) -> Iterator[Path]:
    """Of GPUs and their driver."""
    for path in _entries(root / "dev"):
        if re.fullmatch(r"nvidia(\d+|ctl|-uvm)|dxg", path.name):
            yield path


def _cuda_libraries(root: Path, environ: Mapping[str, str]) -> Iterator[LibraryFile]:
    listed = [Path(entry) for entry in environ.get("LD_LIBRARY_PATH", "").split(":") if entry]
    for folder in (*listed, *(root / folder for folder in LIBRARY_FOLDERS)):
        path = folder / "libcuda.so.1"
        try:
            yield LibraryFile(path=str(path.resolve()), size=path.stat().st_size)
        except OSError:
            continue


def _container_signs(root: Path, environ: Mapping[str, str]) -> Iterator[str]:
    for sign in (".dockerenv", "run/.containerenv", ".singularity.d"):
        if (root / sign).exists():
            yield f"/{sign}"
    if "KUBERNETES_SERVICE_HOST" in environ:
        yield "KUBERNETES_SERVICE_HOST"
    if environ.get("container"):
        yield f"container={environ['container']}"
    if found := re.search(r"docker|kubepods|containerd|lxc", _text(root / "proc/1/cgroup")):
        yield f"/proc/1/cgroup names {found.group()}"


def _cuda_folders(environ: Mapping[str, str]) -> Iterator[str]:
    for folder in filter(None, environ.get("LD_LIBRARY_PATH", "").split(":")):
        there = sorted({
            name for path in _entries(Path(folder)) for name in BROUGHT_ALONG if path.name.startswith(f"{name}.so")
        })  # fmt: skip
        if there:
            yield f"{folder}: {', '.join(there)}"


def _model(root: Path) -> str:
    # The device tree ends its texts with a zero.
    return _text(root / "proc/device-tree/model").rstrip("\0")


def _size_mib(folder: Path) -> int | None:
    try:
        found = os.statvfs(folder)
    except (OSError, AttributeError):
        return None
    return found.f_blocks * found.f_frsize >> 20


def _free_mib(folder: Path) -> int | None:
    try:
        found = os.statvfs(folder)
    except (OSError, AttributeError):
        return None
    return found.f_bavail * found.f_frsize >> 20


def _folder(package: str) -> Path | None:
    try:
        found = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return None
    places: Iterable[str] = (found.submodule_search_locations or ()) if found and found.origin else ()
    return next((Path(place) for place in places), None)


def _elsewhere(package: str, first: Path | None) -> Iterator[str]:
    """Other folders from which this Python would import the package, were the first not there."""
    for entry in dict.fromkeys(sys.path):
        folder = Path(entry or ".").absolute() / package
        if first is not None and (folder / "__init__.py").is_file() and folder.resolve() != first.resolve():
            yield str(folder)


def _cudnn(torch: Path | None) -> list[Path]:
    return [path for path in _entries(torch.parent) if path.match("nvidia_cudnn_*.dist-info")] if torch else []


def _constant(folder: Path | None, file: str, name: str) -> str:
    """The text assigned to a name in a Python file, or empty; some releases write `name: Optional[str] = '..'`."""
    if folder is None:
        return ""
    found = re.search(rf"^{name}\s*(?::[^=\n]*)?=\s*['\"]([^'\"]*)['\"]", _text(folder / file), re.MULTILINE)
    return found.group(1) if found else ""


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
