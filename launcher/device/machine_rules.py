"""What keeps a whole machine or its software from using GPUs, as pure rules: one function per cause.

A rule looks at the facts and says what it sees, or None. Order and hiding are decided in `rules.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from launcher.device.arches import cuda_version
from launcher.device.facts import ChildEnd, DeviceFacts
from launcher.device.visibility import hides_everything, problem_with_list

INSTALL_TORCH = "install torch and torchvision as https://pytorch.org/get-started/locally says"
OLDEST_DRIVER = {11: "450", 12: "525", 13: "580"}
# Compute capabilities: older ones than the first have no driver that speaks CUDA 12, than the second no code in
# CUDA 13, whatever the driver.
FIRST_WITH_CUDA_12, FIRST_WITH_CUDA_13 = (5, 0), (7, 5)

NO_DEVICE, NOT_INITIALIZED, STUB, NOT_LICENSED = 100, 3, 34, 102
OS_CALL, NOT_SUPPORTED, SYSTEM_NOT_READY, MISMATCH, COMPAT = 304, 801, 802, 803, 804
MPS_CODES = (805, 806, 807, 808)
UNKNOWN = 999
NVML_NO_PERMISSION, NVML_NOT_LOADED, NVML_MISMATCH = 4, 9, 18


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a rule saw."""

    cause: str
    evidence: tuple[str, ...]
    fix: str


# What the rules ask of the facts


def init_code(facts: DeviceFacts) -> int | None:
    return facts.driver.init_code if facts.driver else None


def driver_works(facts: DeviceFacts) -> bool:
    """cuInit returned success."""
    return init_code(facts) == 0


def gpu_in_machine(facts: DeviceFacts) -> bool:
    """Something says that there is an NVIDIA GPU, whether or not this process can reach it."""
    system = facts.system
    listed = bool(facts.nvml and facts.nvml.gpus) or bool(facts.driver and facts.driver.gpus)
    on_bus = any(gpu.vendor == "nvidia" for gpu in system.pci_gpus)
    # Windows shows /dev/dxg for a card of any maker.
    nodes = set(system.device_nodes) - {"/dev/dxg"}
    return listed or on_bus or bool(nodes) or system.tegra or bool(system.driver_loaded) or _behind_wsl(facts)


def _behind_wsl(facts: DeviceFacts) -> bool:
    """Windows has an NVIDIA driver: only then it hands libcuda to WSL."""
    answers = facts.nvml is not None and facts.nvml.init_code == 0
    return facts.system.wsl and (bool(facts.system.cuda_libraries) or answers)


def raw_codes(facts: DeviceFacts) -> tuple[str, ...]:
    """What driver, NVML and torch answered, unjudged."""
    lines = []
    if facts.driver:
        lines.append(f"cuInit: {_answer(facts.driver.end, facts.driver.init_code, facts.driver.init_error)}")
        if facts.driver.load_error:
            lines.append(facts.driver.load_error)
    if facts.nvml:
        lines.append(f"NVML: {_answer(facts.nvml.end, facts.nvml.init_code, facts.nvml.init_error)}")
        if facts.nvml.load_error:
            lines.append(facts.nvml.load_error)
    if facts.torch and facts.torch.is_available is not None:
        lines.append(f"torch.cuda.is_available() is {facts.torch.is_available}")
        lines += [f"torch: {warning}" for warning in facts.torch.warnings]
    return tuple(lines)


def _answer(end: ChildEnd, code: int | None, error: str) -> str:
    if end.how != "answered":
        return how_it_ended(end)
    if code == 0:
        return "works"
    return "not reached" if code is None else f"error {code} {error}".strip()


def how_it_ended(end: ChildEnd) -> str:
    if end.how == "hung":
        return f"no answer after {end.seconds:.0f} s in `{end.stage}` {end.kernel_state}".strip()
    return f"{end.how} {end.number} in `{end.stage}`"


def _init_failed(facts: DeviceFacts, *codes: int) -> bool:
    return init_code(facts) in codes


def _nvml_failed(facts: DeviceFacts, *codes: int) -> bool:
    return facts.nvml is not None and facts.nvml.init_code in codes


def _no_library(facts: DeviceFacts) -> bool:
    return bool(facts.driver and facts.driver.load_error)


# The driver hangs or crashes whoever calls it


def driver_hangs(facts: DeviceFacts) -> Seen | None:
    hung = [end for end in _driver_ends(facts) if end.how == "hung"]
    if not hung:
        return None
    return Seen(
        cause="the NVIDIA driver hangs",
        evidence=tuple(how_it_ended(end) for end in hung),
        fix="reboot, or reset the GPU with `sudo nvidia-smi --gpu-reset`; see `dmesg | grep -i -e xid -e nvrm`",
    )


def driver_crashes(facts: DeviceFacts) -> Seen | None:
    died = [end for end in _driver_ends(facts) if end.how in ("signal", "exit")]
    if not died:
        return None
    return Seen(
        cause="the NVIDIA driver crashes the process that loads it",
        evidence=tuple(how_it_ended(end) + (f": {end.stderr}" if end.stderr else "") for end in died),
        fix="reinstall the NVIDIA driver (library and kernel module of one version) and reboot",
    )


def _driver_ends(facts: DeviceFacts) -> list[ChildEnd]:
    return [answer.end for answer in (facts.driver, facts.nvml) if answer is not None]


# No GPU for this process


def mps_unsupported(facts: DeviceFacts) -> Seen | None:
    if facts.platform.system != "darwin":
        return None
    return Seen(
        cause="this is a Mac: no CUDA, and detectron2 does not support Apple's MPS",
        evidence=(f"platform {facts.platform.system} {facts.platform.machine}",),
        fix="device=cpu here; a machine with an NVIDIA GPU for more",
    )


def scheduler_gave_none(facts: DeviceFacts) -> Seen | None:
    sees_gpus = bool(facts.driver and facts.driver.gpus)
    if facts.job.promised_gpus != 0 or sees_gpus:
        return None
    return Seen(
        cause=f"the {facts.job.scheduler} job {facts.job.job_id} has no GPU",
        evidence=("no variable of the scheduler names a GPU",),
        fix="ask for one when you submit, for example `sbatch --gres=gpu:1`",
    )


def amd_gpu(facts: DeviceFacts) -> Seen | None:
    amd = [gpu for gpu in facts.system.pci_gpus if gpu.vendor == "amd"]
    if not amd or gpu_in_machine(facts):
        return None
    return Seen(
        cause="no NVIDIA GPU in this machine, only AMD's",
        evidence=tuple(f"PCI {gpu.address}: AMD {gpu.device}" for gpu in amd),
        fix="a machine with an NVIDIA GPU, or device=cpu; ROCm builds of torch are not used yet",
    )


def no_gpu(facts: DeviceFacts) -> Seen | None:
    if facts.platform.system == "darwin" or gpu_in_machine(facts) or driver_works(facts):
        return None
    if init_code(facts) not in (None, NO_DEVICE, STUB, UNKNOWN):
        return None
    return Seen(
        cause="no NVIDIA GPU in this machine",
        evidence=(
            "no NVIDIA display controller on the PCI bus, no /dev/nvidia*, no kernel module",
            *raw_codes(facts)[:2],
        ),
        fix="use a machine with an NVIDIA GPU, or stay with device=cpu",
    )


def gpu_given_to_vm(facts: DeviceFacts) -> Seen | None:
    nvidia = [gpu for gpu in facts.system.pci_gpus if gpu.vendor == "nvidia"]
    if not nvidia or driver_works(facts) or any(gpu.kernel_driver != "vfio-pci" for gpu in nvidia):
        return None
    return Seen(
        cause="the GPU is reserved for virtual machines",
        evidence=tuple(f"PCI {gpu.address} is bound to vfio-pci" for gpu in nvidia),
        fix="train inside the virtual machine that has it, or bind it to the nvidia driver again",
    )


def container_lost_gpu(facts: DeviceFacts) -> Seen | None:
    lost = [node.path for node in facts.driver.nodes if node.error == "EPERM"] if facts.driver else []
    if not (facts.system.container and lost) or driver_works(facts):
        return None
    return Seen(
        cause="this container has lost its access to the GPU",
        evidence=(f"open() of {', '.join(lost)} gives EPERM", *raw_codes(facts)),
        fix="start the container again; if it comes back use CDI devices (`systemctl daemon-reload` revokes others)",
    )


def container_without_gpu(facts: DeviceFacts) -> Seen | None:
    if not facts.system.container or not gpu_in_machine(facts) or driver_works(facts):
        return None
    capabilities = facts.environment.get("NVIDIA_DRIVER_CAPABILITIES", "")
    no_compute = bool(capabilities) and not {"all", "compute"} & set(capabilities.split(","))
    reached = facts.system.wsl or facts.system.tegra or bool(facts.nvml and facts.nvml.gpus)
    no_nodes = "/dev/nvidiactl" not in facts.system.device_nodes and not reached
    if not (no_nodes or (no_compute and _no_library(facts))):
        return None
    return Seen(
        cause="this container was started without the GPU",
        evidence=(
            f"container: {', '.join(facts.system.container)}",
            "no /dev/nvidiactl" if no_nodes else f"NVIDIA_DRIVER_CAPABILITIES={capabilities}",
            f"NVIDIA_VISIBLE_DEVICES={facts.environment.get('NVIDIA_VISIBLE_DEVICES', '')}",
            *raw_codes(facts)[:2],
        ),
        fix="`docker run --gpus all ...` with the NVIDIA container toolkit, `--nv` with Apptainer, "
        "a limit on `nvidia.com/gpu` in Kubernetes; NVIDIA_DRIVER_CAPABILITIES=compute,utility",
    )


# The driver is there but does not serve


def wsl_driver(facts: DeviceFacts) -> Seen | None:
    if not _behind_wsl(facts) or facts.driver is None or driver_works(facts):
        return None
    return Seen(
        cause="Windows' NVIDIA driver is not reached from this WSL",
        evidence=(f"libcuda: {facts.driver.library or facts.driver.load_error}", *raw_codes(facts)),
        fix="update the driver in Windows, `wsl --update`, remove any NVIDIA driver installed inside WSL, "
        "and keep /usr/lib/wsl/lib first on LD_LIBRARY_PATH",
    )


def nouveau(facts: DeviceFacts) -> Seen | None:
    bound = [gpu for gpu in facts.system.pci_gpus if gpu.kernel_driver == "nouveau"]
    if not bound or driver_works(facts):
        return None
    return Seen(
        cause="the GPU is driven by nouveau, which has no CUDA",
        evidence=tuple(f"PCI {gpu.address} is bound to nouveau" for gpu in bound),
        fix=f"install the NVIDIA driver ({_driver_needed(facts)}), blacklist nouveau, reboot",
    )


def driver_absent(facts: DeviceFacts) -> Seen | None:
    system = facts.system
    if not gpu_in_machine(facts) or system.driver_loaded or system.driver_installed or system.wsl or system.tegra:
        return None
    if not _no_library(facts) or system.cuda_libraries:
        return None
    return Seen(
        cause="there is an NVIDIA GPU, but no NVIDIA driver",
        evidence=(*_on_bus(facts), "no NVIDIA kernel module", *raw_codes(facts)[:2]),
        fix=f"install the NVIDIA driver ({_driver_needed(facts)}) and reboot",
    )


def driver_not_loaded(facts: DeviceFacts) -> Seen | None:
    system = facts.system
    if system.driver_loaded or system.wsl or system.tegra or driver_works(facts) or not gpu_in_machine(facts):
        return None
    if not (system.driver_installed or _nvml_failed(facts, NVML_NOT_LOADED) or system.cuda_libraries):
        return None
    return Seen(
        cause="the NVIDIA kernel module is not loaded",
        evidence=(*_on_bus(facts), "no /proc/driver/nvidia/version", *raw_codes(facts)),
        fix="`sudo modprobe nvidia`"
        if system.driver_installed
        else f"rebuild the driver for kernel {facts.platform.kernel} (`sudo dkms autoinstall`; Secure Boot needs "
        "its key enrolled), then reboot",
    )


def driver_stub(facts: DeviceFacts) -> Seen | None:
    library = facts.driver.library if facts.driver else ""
    if not _init_failed(facts, STUB) and "/stubs/" not in library:
        return None
    return Seen(
        cause="the CUDA toolkit's stub library stands in for the driver",
        evidence=(f"libcuda: {library}", *raw_codes(facts)[:1]),
        fix="take the folder that ends in `/stubs` off LD_LIBRARY_PATH",
    )


def driver_empty_library(facts: DeviceFacts) -> Seen | None:
    if facts.driver is None or "file too short" not in facts.driver.load_error:
        return None
    empty = [library.path for library in facts.system.cuda_libraries if library.size == 0]
    return Seen(
        cause="an empty file stands in for the driver's library",
        evidence=(facts.driver.load_error, *empty),
        fix="in a container: start it with the NVIDIA runtime; else remove the empty libcuda.so.1",
    )


def driver_no_library(facts: DeviceFacts) -> Seen | None:
    if not facts.system.driver_loaded or not _no_library(facts):
        return None
    return Seen(
        cause="the NVIDIA kernel module is loaded, but its library libcuda.so.1 does not load",
        evidence=(f"kernel module {facts.system.driver_loaded}", *raw_codes(facts)[:2]),
        fix=f"install the driver's libraries (`libnvidia-compute`), version {facts.system.driver_loaded}",
    )


def driver_compat(facts: DeviceFacts) -> Seen | None:
    if not _init_failed(facts, COMPAT):
        return None
    return Seen(
        cause="a forward-compatibility libcuda is loaded, which this GPU does not support",
        evidence=(f"libcuda: {facts.driver.library if facts.driver else ''}", *raw_codes(facts)[:1]),
        fix="take the folder that ends in `/compat` off LD_LIBRARY_PATH, or update the host's driver",
    )


def driver_mismatch(facts: DeviceFacts) -> Seen | None:
    library = facts.driver.library if facts.driver else ""
    loaded = facts.system.driver_loaded
    suffix = library.rpartition("libcuda.so.")[2]
    differ = bool(loaded) and suffix.count(".") >= 1 and suffix != loaded and not driver_works(facts)
    if not (_init_failed(facts, MISMATCH) or _nvml_failed(facts, NVML_MISMATCH) or differ):
        return None
    return Seen(
        cause="the NVIDIA kernel module and the driver's libraries are of different versions",
        evidence=(f"kernel module {loaded or 'unknown'}, library {library or 'unknown'}", *raw_codes(facts)),
        fix="reboot (an update replaced the libraries under the running module)",
    )


def driver_permission(facts: DeviceFacts) -> Seen | None:
    denied = [node.path for node in facts.driver.nodes if node.error in ("EACCES", "EPERM")] if facts.driver else []
    if driver_works(facts) or not (denied or _nvml_failed(facts, NVML_NO_PERMISSION)):
        return None
    return Seen(
        cause="this user may not open the GPU's device files",
        evidence=(*(f"open() of {path} is denied" for path in denied), *raw_codes(facts)),
        fix="`sudo usermod -aG video,render $USER` and log in again, or hand the devices to the container",
    )


def driver_fabric(facts: DeviceFacts) -> Seen | None:
    if not _init_failed(facts, SYSTEM_NOT_READY):
        return None
    return Seen(
        cause="the fabric manager that this NVSwitch machine needs is not running",
        evidence=raw_codes(facts),
        fix="`sudo systemctl start nvidia-fabricmanager`, of exactly the driver's version",
    )


def driver_mps_daemon(facts: DeviceFacts) -> Seen | None:
    if not _init_failed(facts, *MPS_CODES):
        return None
    return Seen(
        cause="NVIDIA's multi-process service (MPS) does not answer",
        evidence=(f"CUDA_MPS_PIPE_DIRECTORY={facts.environment.get('CUDA_MPS_PIPE_DIRECTORY', '')}", *raw_codes(facts)),
        fix="restart `nvidia-cuda-mps-control -d`, or unset CUDA_MPS_PIPE_DIRECTORY",
    )


def driver_not_licensed(facts: DeviceFacts) -> Seen | None:
    if not _init_failed(facts, NOT_LICENSED, NOT_SUPPORTED):
        return None
    return Seen(
        cause="the driver refuses: a virtual GPU without its licence, or confidential computing that is not ready",
        evidence=raw_codes(facts),
        fix="ask who runs this machine to license the vGPU or to set the confidential-computing ready state",
    )


def driver_not_initialized(facts: DeviceFacts) -> Seen | None:
    if not _init_failed(facts, NOT_INITIALIZED):
        return None
    return Seen(
        cause="the driver cannot initialise in this process",
        evidence=raw_codes(facts),
        fix="look at the limits of the job or container: seccomp profile, locked memory (`ulimit -l`), devices cgroup",
    )


def driver_too_old(facts: DeviceFacts) -> Seen | None:
    has = facts.driver.cuda_version if facts.driver else 0
    needs = cuda_version(facts.packages.torch_cuda)
    if not has or not needs[0] or has // 1000 >= needs[0]:
        return None
    speaks = f"CUDA {has // 1000}.{has % 1000 // 10}"
    return Seen(
        cause=f"the NVIDIA driver is too old for this torch: it speaks {speaks}, torch needs {needs[0]}",
        evidence=(
            f"driver {_driver_version(facts)}, {speaks}",
            f"torch {facts.packages.torch}, CUDA {needs[0]}.{needs[1]}",
        ),
        fix=_instead_of_old_driver(facts, has // 1000, needs[0]),
    )


def _instead_of_old_driver(facts: DeviceFacts, speaks: int, needs: int) -> str:
    shown = facts.driver.gpus if facts.driver else ()
    newest = max((gpu.capability for gpu in shown), default=FIRST_WITH_CUDA_13)
    if newest < FIRST_WITH_CUDA_12:
        return f"no driver for compute capability {newest[0]}.{newest[1]} is new enough: another GPU, or device=cpu"
    if newest < FIRST_WITH_CUDA_13 and needs >= 13:
        driver = "" if speaks >= 12 else f"update the NVIDIA driver (version {OLDEST_DRIVER[12]} or newer) and "
        return (
            f"{driver}install torch and torchvision built for CUDA 12.6, the last with code for older GPUs "
            "(https://pytorch.org/get-started/locally)"
        )
    return (
        f"update the NVIDIA driver ({_driver_needed(facts)}), or install torch and torchvision built for "
        f"CUDA {speaks} (https://pytorch.org/get-started/locally)"
    )


def driver_uvm(facts: DeviceFacts) -> Seen | None:
    if not _init_failed(facts, UNKNOWN, OS_CALL) or facts.system.wsl or facts.system.tegra:
        return None
    nvml_fine = facts.nvml is not None and facts.nvml.init_code == 0
    missing = not facts.system.uvm_loaded or "/dev/nvidia-uvm" not in facts.system.device_nodes
    if not (nvml_fine and (missing or _init_failed(facts, UNKNOWN))) or _gpu_lost(facts):
        return None
    return Seen(
        cause="the driver's memory module nvidia_uvm is " + ("missing" if missing else "stale"),
        evidence=raw_codes(facts),
        fix="`sudo nvidia-modprobe -u -c 0`"
        if missing
        else "`sudo modprobe -r nvidia_uvm && sudo modprobe nvidia_uvm` (needed after suspend), or reboot",
    )


def _gpu_lost(facts: DeviceFacts) -> bool:
    return facts.nvml is not None and any(gpu.code for gpu in facts.nvml.gpus)


# Visibility


def visible_empty(facts: DeviceFacts) -> Seen | None:
    listed = facts.environment.get("CUDA_VISIBLE_DEVICES")
    if listed is None or not hides_everything(listed) or not gpu_in_machine(facts) or driver_works(facts):
        return None
    return Seen(
        cause=f"CUDA_VISIBLE_DEVICES={listed!r} hides every GPU",
        evidence=(f"{len(facts.nvml.gpus) if facts.nvml else 0} GPUs are there", *raw_codes(facts)[:1]),
        fix="`unset CUDA_VISIBLE_DEVICES`",
    )


def visible_wrong(facts: DeviceFacts) -> Seen | None:
    listed = facts.environment.get("CUDA_VISIBLE_DEVICES")
    uuids = [gpu.uuid for gpu in facts.nvml.gpus] if facts.nvml else []
    shown = len(facts.driver.gpus) if facts.driver else 0
    if listed is None or hides_everything(listed) or not uuids or shown >= listed.count(",") + 1:
        return None
    if init_code(facts) not in (0, NO_DEVICE):
        return None
    # NVML is not told of CUDA_VISIBLE_DEVICES, so a list it finds no fault with has another explanation.
    problem = problem_with_list(listed, uuids)
    if not problem:
        return None
    return Seen(
        cause=f"CUDA_VISIBLE_DEVICES={listed!r}: {problem}",
        evidence=(f"the driver shows {shown} of {len(uuids)} GPUs", *(f"GPU {i}: {u}" for i, u in enumerate(uuids))),
        fix="`unset CUDA_VISIBLE_DEVICES`, or list GPUs that are there; the launcher's own way is device.ids=[...]",
    )


# Packages


def torch_missing(facts: DeviceFacts) -> Seen | None:
    if facts.packages.torch:
        return None
    return Seen(cause="torch is not installed", evidence=(f"Python {facts.platform.python}",), fix=INSTALL_TORCH)


def torch_broken(facts: DeviceFacts) -> Seen | None:
    if facts.torch is None or not (facts.torch.import_error or _died_importing(facts, "import torch")):
        return None
    return Seen(
        cause="torch does not import",
        evidence=(facts.torch.import_error or f"{how_it_ended(facts.torch.end)}: {facts.torch.end.stderr}",),
        fix="unset LD_LIBRARY_PATH and LD_PRELOAD if they name other CUDA libraries, then reinstall torch",
    )


def torch_slow(facts: DeviceFacts) -> Seen | None:
    if facts.torch is None or facts.torch.end.how != "hung":
        return None
    return Seen(
        cause=f"looking at torch took too long (in `{facts.torch.end.stage}`), so GPUs were not tried out",
        evidence=(how_it_ended(facts.torch.end),),
        fix="try again; if it stays, install on a local disk rather than a network file system",
    )


def torch_cpu_only(facts: DeviceFacts) -> Seen | None:
    packages = facts.packages
    if not packages.torch or packages.torch_cuda or packages.torch_hip or facts.platform.system == "darwin":
        return None
    return Seen(
        cause="this torch is built without CUDA",
        evidence=(f"torch {packages.torch}: version.cuda is None",),
        fix=f"{INSTALL_TORCH}, with CUDA {_cuda_to_install(facts)}; rebuild detectron2 after it if it has compiled ops",
    )


def torch_wrong_vendor(facts: DeviceFacts) -> Seen | None:
    if not facts.packages.torch_hip or not gpu_in_machine(facts):
        return None
    return Seen(
        cause="this torch is built for AMD's ROCm, but the GPU is NVIDIA's",
        evidence=(f"torch {facts.packages.torch}: version.hip is {facts.packages.torch_hip}",),
        fix=f"{INSTALL_TORCH}, with CUDA",
    )


def torchvision_broken(facts: DeviceFacts) -> Seen | None:
    error = facts.torch.torchvision_error if facts.torch else ""
    if not facts.packages.torchvision:
        error = "torchvision is not installed"
    died = facts.torch is not None and _died_importing(facts, "import torchvision")
    if not (error or died) or not facts.packages.torch:
        return None
    return Seen(
        cause="torchvision is not installed or does not fit this torch",
        evidence=(error or how_it_ended(facts.torch.end) if facts.torch else error,),
        fix=f"{INSTALL_TORCH}: both from the same place in one command",
    )


def torchvision_cpu_only(facts: DeviceFacts) -> Seen | None:
    if not facts.packages.torch_cuda or facts.torch is None or facts.torch.nms_on_cuda is not False:
        return None
    return Seen(
        cause="this torchvision is built without CUDA, torch with it",
        evidence=(f"torchvision {facts.packages.torchvision}, torch {facts.packages.torch}", "no CUDA kernel for nms"),
        fix=f"{INSTALL_TORCH}: both from the same place in one command",
    )


def detectron2_missing(facts: DeviceFacts) -> Seen | None:
    if facts.packages.detectron2_folder:
        return None
    return Seen(
        cause="detectron2 is not installed",
        evidence=(f"Python {facts.platform.python} finds no package of that name",),
        fix="install it as scripts/detectron2/README.md says: `make install` needs no compiler",
    )


def detectron2_broken(facts: DeviceFacts) -> Seen | None:
    if facts.torch is None or not (facts.torch.detectron2_error or _died_importing(facts, "import detectron2")):
        return None
    return Seen(
        cause="detectron2 does not import",
        evidence=(facts.torch.detectron2_error or how_it_ended(facts.torch.end), facts.packages.detectron2_folder),
        fix="install what the error names, or reinstall detectron2 (`make install`)",
    )


def detectron2_ops_broken(facts: DeviceFacts) -> Seen | None:
    packages = facts.packages
    died = facts.torch is not None and _died_importing(facts, "import detectron2._C")
    error = facts.torch.ops_error if facts.torch else ""
    if not packages.detectron2_compiled or not (error or died or not packages.detectron2_fits):
        return None
    return Seen(
        cause="detectron2's compiled operators do not load",
        evidence=(
            f"{', '.join(packages.detectron2_compiled)} in {packages.detectron2_folder}",
            error
            or (
                how_it_ended(facts.torch.end)
                if died and facts.torch
                else f"made for another Python than {facts.platform.python}"
            ),
        ),
        fix="build detectron2 again with this Python and torch (`rm -rf build; pip install --no-build-isolation .`); "
        "a plain Faster or Mask R-CNN trains without",
    )


def detectron2_ops_cpu_only(facts: DeviceFacts) -> Seen | None:
    if facts.torch is None or facts.torch.ops_cuda != "not available" or not (facts.driver and facts.driver.gpus):
        return None
    return Seen(
        cause="detectron2's compiled operators were built without CUDA",
        evidence=(f"detectron2 {facts.packages.detectron2}: _C.has_cuda() is False",),
        fix="build detectron2 again with FORCE_CUDA=1 and nvcc; only rotated boxes and deformable convolutions need it",
    )


def detectron2_no_ops(facts: DeviceFacts) -> Seen | None:
    packages = facts.packages
    if not packages.detectron2_folder or packages.detectron2_compiled:
        return None
    return Seen(
        cause="detectron2 has no compiled operators (rotated boxes, deformable convolutions, fast COCO evaluation)",
        evidence=(f"detectron2 {packages.detectron2}: no _C in its folder",),
        fix="nothing for a plain Faster R-CNN, Mask R-CNN or RetinaNet; else build detectron2 from source",
    )


def _died_importing(facts: DeviceFacts, stage: str) -> bool:
    end = facts.torch.end if facts.torch else None
    return end is not None and end.how in ("signal", "exit") and end.stage == stage


# The rest


def shm_small(facts: DeviceFacts) -> Seen | None:
    size = facts.platform.shm_mib
    if size is None or size > 64:
        return None
    return Seen(
        cause=f"/dev/shm has only {size} MiB: data loader workers may die of a bus error",
        evidence=(f"/dev/shm: {size} MiB",),
        fix="start the container with `--shm-size=8g` or `--ipc=host`, or set DATALOADER.NUM_WORKERS=0",
    )


def nvml_failed(facts: DeviceFacts) -> Seen | None:
    if facts.nvml is None or not driver_works(facts) or facts.nvml.init_code == 0 or facts.system.tegra:
        return None
    return Seen(
        cause="NVML does not answer, so free memory and health of the GPUs are unknown",
        evidence=raw_codes(facts),
        fix="`nvidia-smi` shows the same; in a container add NVIDIA_DRIVER_CAPABILITIES=compute,utility",
    )


def _on_bus(facts: DeviceFacts) -> tuple[str, ...]:
    return tuple(f"PCI {gpu.address}: NVIDIA {gpu.device}" for gpu in facts.system.pci_gpus if gpu.vendor == "nvidia")


def _driver_version(facts: DeviceFacts) -> str:
    return (facts.nvml.driver if facts.nvml else "") or facts.system.driver_loaded or "of unknown version"


def _driver_needed(facts: DeviceFacts) -> str:
    oldest = OLDEST_DRIVER.get(cuda_version(facts.packages.torch_cuda)[0])
    return f"version {oldest} or newer for this torch" if oldest else "the newest for your GPU"


def _cuda_to_install(facts: DeviceFacts) -> str:
    speaks = facts.driver.cuda_version if facts.driver else 0
    return f"{speaks // 1000}.x, which your driver speaks" if speaks else "of a version that your driver speaks"
