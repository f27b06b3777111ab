"""Compiles and describes the simulated NVIDIA machine (see README.md)."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import metadata
from pathlib import Path
from threading import Lock

HERE = Path(__file__).parent
FLAGS = ("-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Wno-unused-function", "-fvisibility=hidden")
RUNTIME_WHEELS = ("nvidia-cuda-runtime", "nvidia-cuda-runtime-cu12", "nvidia-cuda-runtime-cu11")


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A simulated GPU. A fault is a result code, or `hang`, `segv`, `abort`, `exit`, `slow:<ms>`."""

    name: str = "NVIDIA GeForce RTX 3090"
    cc: str = "8.6"
    mem: int = 24576
    used: int = 300
    mode: int = 0
    mig: int = 0
    ecc: int = 0
    repair: int = 0
    recovery: int = 0
    display: int = 0
    persistent: int = 1
    throttle: int = 0
    lanes: int = 16
    pids: str = ""
    ctx: str | int = ""
    alloc: str | int = ""
    copy: str | int = ""
    launch: str | int = ""
    sync: str | int = ""
    matmul: str | int = ""
    nvml: str | int = ""

    def spec(self) -> str:
        return "|".join(f"{each.name}={getattr(self, each.name)}" for each in fields(self) if self._says(each.name))

    def _says(self, name: str) -> bool:
        return getattr(self, name) != ""


def uuid(index: int) -> str:
    """Of the simulated GPU with this index."""
    return f"GPU-{0xFA4E0000 + index:08x}-fa4e-4000-8000-{index:012x}"


def mig_uuid(index: int) -> str:
    """As CUDA takes it, of the slice that the driver shows of the simulated GPU with this index and `mig=1`."""
    return f"MIG-51ce{uuid(index)[8:]}"


@dataclass(frozen=True, kw_only=True)
class Machine:
    gpus: tuple[Gpu, ...] = ()
    driver: int = 13020
    release: str = "595.45.04"
    init: str | int = ""
    """Fault of cuInit."""
    nvml: str | int = ""
    """Fault of nvmlInit."""
    libcuda: str = ""
    libnvml: str = ""
    """How a library's file is broken: `absent`, `empty`, `no symbols`."""
    module_loaded: bool = True
    module_shown: bool = True
    """False where a sandbox or a container hides the kernel's files about it."""

    def spec(self) -> str:
        head = [f"driver={self.driver}", f"kmd={self.release}"]
        faults = [f"{name}={fault}" for name, fault in (("init", self.init), ("nvml", self.nvml)) if fault != ""]
        return ";".join([*head, *faults, *(f"gpu={gpu.spec()}" for gpu in self.gpus)])

    def write_files(self, root: Path) -> Path:
        """What the kernel would show of this machine, below `root`."""
        for number in range(1, len(self.gpus) + 1):
            device = root / f"sys/bus/pci/devices/0000:{number:02x}:00.0"
            device.mkdir(parents=True)
            (device / "vendor").write_text("0x10de\n")
            (device / "class").write_text("0x030200\n")
            (device / "device").write_text("0x2204\n")
            if self.module_loaded and self.module_shown:
                (device / "driver").symlink_to("../../../bus/pci/drivers/nvidia")
        (root / "dev").mkdir(parents=True)
        if not (self.module_loaded and self.gpus):  # without a GPU the module does not stay loaded
            return root
        if self.module_shown:
            for module in ("nvidia", "nvidia_uvm"):
                (root / "sys/module" / module).mkdir(parents=True)
            (root / "sys/module/nvidia/version").write_text(f"{self.release}\n")
        for name in ("nvidiactl", "nvidia-uvm", *(f"nvidia{index}" for index in range(len(self.gpus)))):
            (root / "dev" / name).touch()
        return root


class FakeGpu:
    """The compiled libraries in one folder.

    Raises:
        RuntimeError: no C compiler here, or no headers of the CUDA runtime.
    """

    def __init__(self, folder: Path) -> None:
        if why_not := why_not_compiled():
            raise RuntimeError(why_not)
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._making = Lock()
        self.shim = folder / "libfakecudart.so"
        _compile("-Wl,-soname,libcuda.so.1", "-o", folder / "libcuda.so.1", HERE / "fakecuda.c", "-ldl")
        _compile("-Wl,-soname,libnvidia-ml.so.1", "-o", folder / "libnvidia-ml.so.1", HERE / "fakenvml.c")
        headers = (f"-I{HERE / 'include'}", f"-I{cuda_headers()}")
        _compile(*headers, "-o", self.shim, HERE / "fakecudart.c", "-ldl")

    def environ(self, base: Mapping[str, str], machine: Machine, *, alive: bool = False) -> dict[str, str]:
        """`base` on that machine; `alive` answers the CUDA runtime too, so that its GPUs compute a little."""
        environ = dict(base)
        environ["LD_LIBRARY_PATH"] = f"{self.libraries(machine)}:{base.get('LD_LIBRARY_PATH', '')}".rstrip(":")
        environ["FAKEGPU"] = machine.spec()
        if alive:
            environ["LD_PRELOAD"] = f"{self.shim}:{base.get('LD_PRELOAD', '')}".rstrip(":")
        return environ

    def libraries(self, machine: Machine) -> Path:
        """A folder with the libraries as they are on that machine."""
        if not (machine.libcuda or machine.libnvml):
            return self.folder
        folder = self.folder / f"{machine.libcuda}-{machine.libnvml}"
        with self._making:  # tests look at several machines at once
            if not folder.exists():
                folder.mkdir()
                for name, broken in (("libcuda.so.1", machine.libcuda), ("libnvidia-ml.so.1", machine.libnvml)):
                    self._put(folder / name, broken)
        return folder

    def _put(self, library: Path, broken: str) -> None:
        if broken == "empty":
            library.touch()
        elif broken == "no symbols":
            _compile(f"-Wl,-soname,{library.name}", "-o", library, "-xc", "/dev/null")
        elif not broken:
            library.symlink_to(self.folder / library.name)


def why_not_compiled() -> str:
    """Why the simulation cannot be built here, or empty."""
    if shutil.which("gcc") is None:
        return "the simulated GPU needs gcc"
    return "" if cuda_headers() else "the simulated GPU needs the headers of the CUDA runtime that a CUDA torch brings"


def cuda_headers() -> Path | None:
    """The headers of the CUDA runtime that torch depends on; torch is not imported."""
    for wheel in RUNTIME_WHEELS:
        try:
            files = metadata.files(wheel) or []
        except metadata.PackageNotFoundError:
            continue
        for file in files:
            if file.name == "cuda_runtime_api.h":
                return Path(str(file.locate())).parent
    return None


def _compile(*arguments: object) -> None:
    subprocess.run(["gcc", *FLAGS, *map(str, arguments)], check=True)
