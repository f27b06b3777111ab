"""What is read from /sys, /proc, /dev and from installed packages."""

from __future__ import annotations

import os
import resource
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from launcher.device.look.files import look_at_packages, look_at_platform, look_at_system, relevant
from tests.fakegpu import Gpu, Machine

KERNEL = "6.1.0"


def test_a_machine_with_a_driver_is_read_from_its_files(tmp_path: Path):
    root = Machine(gpus=(Gpu(), Gpu())).write_files(tmp_path)

    system = look_at_system(root, {}, KERNEL)

    assert [(gpu.vendor, gpu.kernel_driver) for gpu in system.pci_gpus] == [("nvidia", "nvidia")] * 2
    assert system.driver_loaded == "595.45.04"
    assert system.device_nodes == ("/dev/nvidia-uvm", "/dev/nvidia0", "/dev/nvidia1", "/dev/nvidiactl")
    assert system.uvm_loaded


def test_an_empty_tree_is_a_machine_without_anything(tmp_path: Path):
    system = look_at_system(tmp_path, {}, KERNEL)

    assert (system.pci_gpus, system.driver_loaded, system.device_nodes, system.container) == ((), "", (), ())
    assert (system.wsl, system.tegra) == (False, False)


def test_the_version_of_the_driver_is_found_where_only_proc_tells_it(tmp_path: Path):
    (tmp_path / "proc/driver/nvidia").mkdir(parents=True)
    (tmp_path / "proc/driver/nvidia/version").write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (builder@host)\n"
    )

    assert look_at_system(tmp_path, {}, KERNEL).driver_loaded == "580.65.06"


@pytest.mark.parametrize(
    ("pci_class", "vendor", "counts"),
    [("0x030000", "0x1002", 1), ("0x120000", "0x1002", 1), ("0x040300", "0x10de", 0), ("0x030000", "0x8086", 0)],
)
def test_only_display_controllers_of_the_two_vendors_count(tmp_path: Path, pci_class: str, vendor: str, counts: int):
    device = tmp_path / "sys/bus/pci/devices/0000:01:00.0"
    device.mkdir(parents=True)
    (device / "class").write_text(pci_class)
    (device / "vendor").write_text(vendor)

    assert len(look_at_system(tmp_path, {}, KERNEL).pci_gpus) == counts


def test_a_driver_that_is_installed_but_not_loaded_is_seen(tmp_path: Path):
    root = Machine(gpus=(Gpu(),)).write_files(tmp_path)
    module = root / f"lib/modules/{KERNEL}/updates/dkms"
    module.mkdir(parents=True)
    (module / "nvidia.ko.zst").touch()

    assert look_at_system(root, {}, KERNEL).driver_installed
    assert not look_at_system(root, {}, "6.9.9").driver_installed


@pytest.mark.parametrize(
    ("path", "text"), [(".dockerenv", ""), ("run/.containerenv", ""), ("proc/1/cgroup", "0::/kubepods/burstable/pod1")]
)
def test_a_container_gives_itself_away(tmp_path: Path, path: str, text: str):
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_text(text)

    assert len(look_at_system(tmp_path, {}, KERNEL).container) == 1


@pytest.mark.parametrize("variables", [{"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, {"container": "podman"}])
def test_a_container_is_known_by_its_variables(tmp_path: Path, variables: dict[str, str]):
    assert len(look_at_system(tmp_path, variables, KERNEL).container) == 1


def test_a_jetson_is_known_by_its_model(tmp_path: Path):
    (tmp_path / "proc/device-tree").mkdir(parents=True)
    (tmp_path / "proc/device-tree/model").write_text("NVIDIA Jetson Orin Nano Developer Kit")

    assert look_at_system(tmp_path, {}, KERNEL).tegra


def test_packages_that_are_not_there_have_no_version(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "path", [])
    for package in ("torch", "torchvision", "detectron2"):
        monkeypatch.delitem(sys.modules, package, raising=False)
    monkeypatch.setattr(sys, "meta_path", [finder for finder in sys.meta_path if "editable" not in repr(finder)])

    packages = look_at_packages()

    assert (packages.torch, packages.torchvision, packages.detectron2, packages.detectron2_folder) == ("", "", "", "")


def test_a_mere_folder_of_that_name_is_no_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "detectron2").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "detectron2", raising=False)
    monkeypatch.setattr(sys, "meta_path", [finder for finder in sys.meta_path if "editable" not in repr(finder)])

    assert look_at_packages().detectron2_folder == ""


def test_wsl_and_jetson_are_told_from_plain_linux(tmp_path: Path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/version").write_text("Linux version 5.15.90.1-microsoft-standard-WSL2")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nv_tegra_release").touch()

    system = look_at_system(tmp_path, {}, KERNEL)

    assert (system.wsl, system.tegra) == (True, True)


def test_driver_libraries_are_listed_in_the_loaders_order_with_their_sizes(tmp_path: Path):
    (tmp_path / "first").mkdir()
    (tmp_path / "first/libcuda.so.1").write_bytes(b"")
    (tmp_path / "usr/lib64").mkdir(parents=True)
    (tmp_path / "usr/lib64/libcuda.so.1").write_bytes(b"12345")

    found = look_at_system(tmp_path, {"LD_LIBRARY_PATH": f":{tmp_path}/first:/nowhere"}, KERNEL).cuda_libraries

    assert [library.size for library in found] == [0, 5]


def test_only_what_matters_is_kept_of_the_environment_and_no_secret():
    environ = {
        "CUDA_VISIBLE_DEVICES": "0",
        "SLURM_JOB_ID": "7",
        "SLURM_JWT": "x",
        "NVIDIA_API_KEY": "x",
        "TORCH_HUB_TOKEN": "x",
        "NVIDIA_HUB_AUTH": "x",
        "TORCH_MIRROR": "https://me:pass@host/path/file?X-Amz-Signature=x&y=1",
        "HOME": "/home/me",
    }

    assert relevant(environ) == {
        "CUDA_VISIBLE_DEVICES": "0",
        "SLURM_JOB_ID": "7",
        "TORCH_MIRROR": "https://...@host/path/file?...",
    }


def test_versions_are_read_without_importing_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for package in ("torch", "torchvision", "detectron2"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (tmp_path / "torch/version.py").write_text(
        "__version__ = '2.4.0+cu121'\ncuda: Optional[str] = '12.1'\nhip = None\n"
    )
    (tmp_path / "torchvision/version.py").write_text("__version__ = '0.19.0'\n")
    (tmp_path / "detectron2/__init__.py").write_text('raise RuntimeError\n__version__ = "0.6"\n')
    (tmp_path / "detectron2/_C.cpython-27-x86_64-linux-gnu.so").touch()
    for package in ("torch", "torchvision", "detectron2"):
        monkeypatch.delitem(sys.modules, package, raising=False)
    monkeypatch.syspath_prepend(tmp_path)

    packages = look_at_packages()

    assert (packages.torch, packages.torch_cuda, packages.torch_hip) == ("2.4.0+cu121", "12.1", "")
    assert (packages.torchvision, packages.detectron2) == ("0.19.0", "0.6")
    assert packages.detectron2_compiled == ("_C.cpython-27-x86_64-linux-gnu.so",)
    assert not packages.detectron2_fits


def test_the_cpus_of_this_process_are_counted():
    assert look_at_platform(Path("/")).num_cpus >= 1


V1_BY_HAND = {"cpu.cfs_quota_us": "400000", "cpu.cfs_period_us": "100000"}


@pytest.mark.parametrize(
    ("group", "limits", "num_cpus"),
    [
        ("0::/", {"sys/fs/cgroup/cpu.max": "250000 100000"}, 2),
        ("0::/", {"sys/fs/cgroup/cpu.max": "50000 100000"}, 1),
        ("0::/", {"sys/fs/cgroup/cpu.max": "max 100000"}, 8),
        ("0::/", {"sys/fs/cgroup/cpu.max": "9900000 100000"}, 8),
        ("0::/a/b", {"sys/fs/cgroup/a/cpu.max": "300000 100000", "sys/fs/cgroup/a/b/cpu.max": "max 100000"}, 3),
        ("4:cpuacct,cpu:/docker/1f", {f"sys/fs/cgroup/cpu/{name}": text for name, text in V1_BY_HAND.items()}, 4),
        ("4:cpu:/job", {f"sys/fs/cgroup/cpu/job/{name}": text for name, text in V1_BY_HAND.items()}, 4),
        ("4:cpu:/", {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, 8),
        ("4:memory:/job", {f"sys/fs/cgroup/cpu/job/{name}": text for name, text in V1_BY_HAND.items()}, 8),
        ("", {}, 8),
    ],
)
def test_a_quota_of_cpu_time_counts_as_fewer_cpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: str, limits: dict[str, str], num_cpus: int
):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    for path, text in {"proc/self/cgroup": f"1:name=systemd:/x\n{group}", **limits}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(f"{text}\n")

    assert look_at_platform(tmp_path).num_cpus == num_cpus


@pytest.mark.parametrize(
    ("group", "limits", "memory_mib"),
    [
        ("", {}, 8000),
        ("0::/", {"sys/fs/cgroup/memory.max": "max"}, 8000),
        ("0::/a/b", {"sys/fs/cgroup/a/memory.max": str(2048 << 20)}, 2048),
        ("4:memory:/job", {"sys/fs/cgroup/memory/job/memory.limit_in_bytes": str(512 << 20)}, 512),
        ("4:memory:/job", {"sys/fs/cgroup/memory/job/memory.limit_in_bytes": "9223372036854771712"}, 8000),
        ("4:cpu:/job", {"sys/fs/cgroup/memory/job/memory.limit_in_bytes": str(512 << 20)}, 8000),
    ],
)
def test_memory_is_what_is_free_within_the_control_groups(
    tmp_path: Path, group: str, limits: dict[str, str], memory_mib: int
):
    files = {"proc/meminfo": f"MemTotal: 99 kB\nMemAvailable:   {8000 << 10} kB", "proc/self/cgroup": group, **limits}
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(f"{text}\n")

    assert look_at_platform(tmp_path).memory_mib == memory_mib


def test_limits_of_this_process_are_read():
    platform = look_at_platform(Path("/"))

    assert platform.open_files == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert platform.disk_free_mib is not None
    assert platform.disk_free_mib > 0


def test_the_disk_of_the_folder_with_the_runs_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def statvfs(folder: Path) -> SimpleNamespace:
        # `outputs` is on another disk than the folder it is in.
        return SimpleNamespace(f_blocks=100, f_bavail=7 if Path(folder) == Path("outputs") else 50, f_frsize=1 << 20)

    monkeypatch.setattr("os.statvfs", statvfs)
    monkeypatch.chdir(tmp_path)

    before = look_at_platform(tmp_path).disk_free_mib
    (tmp_path / "outputs").mkdir()

    assert (before, look_at_platform(tmp_path).disk_free_mib) == (50, 7)


def test_cuda_libraries_on_the_loaders_path_are_named(tmp_path: Path):
    (tmp_path / "cuda").mkdir()
    for name in ("libcudart.so.12", "libcublas.so.12", "libcublasLt.so.12", "libz.so.1"):
        (tmp_path / "cuda" / name).touch()

    folders = look_at_system(tmp_path, {"LD_LIBRARY_PATH": f"{tmp_path}/cuda:/nowhere"}, KERNEL).cuda_folders

    assert folders == (f"{tmp_path}/cuda: libcublas, libcudart",)


def test_what_is_special_about_a_machine_is_seen(tmp_path: Path):
    for path in ("dev/nvidia-nvswitch0", "dev/sev-guest", "sys/class/infiniband/mlx5_0"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    efi = tmp_path / "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
    efi.parent.mkdir(parents=True)
    efi.write_bytes(b"\x06\0\0\0\x01")
    (tmp_path / "proc/device-tree").mkdir(parents=True)
    (tmp_path / "proc/device-tree/model").write_bytes(b"NVIDIA Jetson AGX Orin\0")

    system = look_at_system(tmp_path, {}, KERNEL)

    assert (system.nvswitch, system.confidential_vm, system.infiniband, system.secure_boot) == (True,) * 4
    assert system.model == "NVIDIA Jetson AGX Orin"
    assert system.device_nodes == ()


def test_sources_of_detectron2_that_hide_an_installation_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for folder in ("sources", "site-packages"):
        (tmp_path / folder / "detectron2").mkdir(parents=True)
        (tmp_path / folder / "detectron2/__init__.py").write_text("__version__ = '0.6'\n")
    (tmp_path / "sources/setup.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path / "sources"), str(tmp_path / "site-packages")])
    monkeypatch.delitem(sys.modules, "detectron2", raising=False)
    monkeypatch.setattr(sys, "meta_path", [finder for finder in sys.meta_path if "editable" not in repr(finder)])

    packages = look_at_packages()

    assert packages.detectron2_checkout
    assert packages.detectron2_elsewhere == (str(tmp_path / "site-packages/detectron2"),)


def test_two_packages_of_cudnn_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in (
        "torch",
        "nvidia_cudnn_cu12-9.1.dist-info",
        "nvidia_cudnn_cu13-9.2.dist-info",
        "nvidia_cublas-1.dist-info",
    ):
        (tmp_path / name).mkdir()
    (tmp_path / "torch/__init__.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "torch", raising=False)

    assert look_at_packages().cudnn_packages == ("nvidia_cudnn_cu12-9.1", "nvidia_cudnn_cu13-9.2")


def test_all_looks_at_files_take_no_noticeable_time():
    started = time.process_time()
    look_at_system(Path("/"), os.environ, look_at_platform(Path("/")).kernel)
    look_at_packages()

    # Measured: 8 ms. The bound leaves room for slow disks.
    assert time.process_time() - started < 0.2
