"""What keeps a whole machine from using its GPUs, as pure rules: one function per cause.

A rule looks at the facts and says what it sees, or None. Order and hiding are decided in `rules.py`.
"""

from __future__ import annotations

from launcher.device.arches import cuda_version
from launcher.device.causes.evidence import (
    BUSY,
    COMPAT,
    ECC_ERROR,
    MISMATCH,
    MPS_CODES,
    NO_DEVICE,
    NOT_INITIALIZED,
    NOT_LICENSED,
    NOT_SUPPORTED,
    NVML_MISMATCH,
    NVML_NO_PERMISSION,
    NVML_NOT_LOADED,
    OS_CALL,
    STUB,
    SYSTEM_NOT_READY,
    UNKNOWN,
    Seen,
    behind_wsl,
    computes,
    driver_works,
    gpu_in_machine,
    how_it_ended,
    init_code,
    init_failed,
    no_library,
    nvml_failed,
    raw_codes,
)
from launcher.device.facts import ChildEnd, DeviceFacts
from launcher.device.visibility import hides_everything, problem_with_list

OLDEST_DRIVER = {11: "450", 12: "525", 13: "580"}
# Compute capabilities: older ones than the first have no driver that speaks CUDA 12, than the second no code in
# CUDA 13, whatever the driver.
FIRST_WITH_CUDA_12, FIRST_WITH_CUDA_13 = (5, 0), (7, 5)

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
    if not (no_nodes or (no_compute and no_library(facts))):
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
    if not behind_wsl(facts) or facts.driver is None or driver_works(facts):
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
    if not no_library(facts) or system.cuda_libraries:
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
    if not (system.driver_installed or nvml_failed(facts, NVML_NOT_LOADED) or system.cuda_libraries):
        return None
    return Seen(
        cause="the NVIDIA kernel module is not loaded",
        evidence=(
            *_on_bus(facts),
            "no /proc/driver/nvidia/version",
            *(("Secure Boot is on: the module must be signed with an enrolled key",) if system.secure_boot else ()),
            *raw_codes(facts),
        ),
        fix="`sudo modprobe nvidia`"
        if system.driver_installed
        else f"rebuild the driver for kernel {facts.platform.kernel} (`sudo dkms autoinstall`; Secure Boot needs "
        "its key enrolled), then reboot",
    )


def driver_stub(facts: DeviceFacts) -> Seen | None:
    library = facts.driver.library if facts.driver else ""
    if not init_failed(facts, STUB) and "/stubs/" not in library:
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
    if not facts.system.driver_loaded or not no_library(facts):
        return None
    return Seen(
        cause="the NVIDIA kernel module is loaded, but its library libcuda.so.1 does not load",
        evidence=(f"kernel module {facts.system.driver_loaded}", *raw_codes(facts)[:2]),
        fix=f"install the driver's libraries (`libnvidia-compute`), version {facts.system.driver_loaded}",
    )


def driver_compat(facts: DeviceFacts) -> Seen | None:
    if not init_failed(facts, COMPAT):
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
    # A Jetson's library counts its versions on its own.
    comparable = bool(loaded) and suffix.count(".") >= 1 and not facts.system.tegra
    differ = comparable and suffix != loaded and not driver_works(facts)
    by_nvml = nvml_failed(facts, NVML_MISMATCH) and not computes(facts)
    if not (init_failed(facts, MISMATCH) or by_nvml or differ):
        return None
    return Seen(
        cause="the NVIDIA kernel module and the driver's libraries are of different versions",
        evidence=(f"kernel module {loaded or 'unknown'}, library {library or 'unknown'}", *raw_codes(facts)),
        fix="reboot (an update replaced the libraries under the running module)",
    )


def driver_permission(facts: DeviceFacts) -> Seen | None:
    denied = [node.path for node in facts.driver.nodes if node.error in ("EACCES", "EPERM")] if facts.driver else []
    if driver_works(facts) or not (denied or nvml_failed(facts, NVML_NO_PERMISSION)):
        return None
    return Seen(
        cause="this user may not open the GPU's device files",
        evidence=(*(f"open() of {path} is denied" for path in denied), *raw_codes(facts)),
        fix="`sudo usermod -aG video,render $USER` and log in again, or hand the devices to the container",
    )


def driver_no_nodes(facts: DeviceFacts) -> Seen | None:
    system = facts.system
    if not system.driver_loaded or system.wsl or system.tegra or system.container:
        return None
    if not init_failed(facts, NO_DEVICE, OS_CALL, UNKNOWN) or "/dev/nvidiactl" in system.device_nodes:
        return None
    return Seen(
        cause="the NVIDIA kernel module is loaded, but its device files under /dev are missing",
        evidence=(f"kernel module {system.driver_loaded}", "no /dev/nvidiactl", *raw_codes(facts)),
        fix="`sudo nvidia-modprobe -c 0 -u` makes them",
    )


def driver_confidential(facts: DeviceFacts) -> Seen | None:
    if not facts.system.confidential_vm or facts.system.nvswitch:
        return None
    if not init_failed(facts, SYSTEM_NOT_READY, NOT_SUPPORTED):
        return None
    return Seen(
        cause="the GPU waits for its confidential-computing ready state",
        evidence=("this is a confidential virtual machine", *raw_codes(facts)),
        fix="attest the GPU, then `sudo nvidia-smi conf-compute -srs 1`",
    )


def driver_fabric(facts: DeviceFacts) -> Seen | None:
    if not init_failed(facts, SYSTEM_NOT_READY):
        return None
    return Seen(
        cause="the fabric manager that this NVSwitch machine needs is not running",
        evidence=raw_codes(facts),
        fix="`sudo systemctl start nvidia-fabricmanager`, of exactly the driver's version",
    )


def driver_mps_daemon(facts: DeviceFacts) -> Seen | None:
    if not init_failed(facts, *MPS_CODES):
        return None
    return Seen(
        cause="NVIDIA's multi-process service (MPS) does not answer",
        evidence=(f"CUDA_MPS_PIPE_DIRECTORY={facts.environment.get('CUDA_MPS_PIPE_DIRECTORY', '')}", *raw_codes(facts)),
        fix="restart `nvidia-cuda-mps-control -d`, or unset CUDA_MPS_PIPE_DIRECTORY",
    )


def driver_not_licensed(facts: DeviceFacts) -> Seen | None:
    listed = facts.nvml.gpus if facts.nvml else ()
    if not init_failed(facts, NOT_LICENSED, NOT_SUPPORTED):
        return None
    return Seen(
        cause="the driver refuses, as it does for a virtual GPU without its licence",
        evidence=(
            *(f"GPU {gpu.index}: {gpu.name}" for gpu in listed),
            *raw_codes(facts),
        ),
        fix="`nvidia-smi -q | grep -i license` shows its state; ask who runs this machine to license it",
    )


def gpus_busy(facts: DeviceFacts) -> Seen | None:
    if not init_failed(facts, BUSY):
        return None
    return Seen(
        cause="the driver says that the GPUs are busy or unavailable",
        evidence=raw_codes(facts),
        fix="wait, or see with `nvidia-smi` who has them for himself; `sudo nvidia-smi -c 0` allows sharing",
    )


def gpus_sick(facts: DeviceFacts) -> Seen | None:
    if not init_failed(facts, ECC_ERROR):
        return None
    return Seen(
        cause="the driver finds damaged memory in a GPU and gives none",
        evidence=raw_codes(facts),
        fix="`sudo nvidia-smi --gpu-reset`, or reboot; `nvidia-smi -q -d ECC` shows which one; have it replaced if it "
        "comes back",
    )


def driver_not_initialized(facts: DeviceFacts) -> Seen | None:
    # A system call that is refused where all device files open has the same reasons.
    if not init_failed(facts, NOT_INITIALIZED, OS_CALL):
        return None
    return Seen(
        cause="the driver cannot initialise in this process",
        evidence=(
            *raw_codes(facts),
            *(f"container: {sign}" for sign in facts.system.container),
            *(() if (locked := facts.platform.locked_memory_mib) is None else (f"locked memory: {locked} MiB",)),
        ),
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
    if not init_failed(facts, UNKNOWN, OS_CALL) or facts.system.wsl or facts.system.tegra:
        return None
    nvml_fine = facts.nvml is not None and facts.nvml.init_code == 0
    missing = not facts.system.uvm_loaded or "/dev/nvidia-uvm" not in facts.system.device_nodes
    if not (nvml_fine and (missing or init_failed(facts, UNKNOWN))) or _gpu_lost(facts):
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
    problem = problem_with_list(listed, uuids, sliced=any(gpu.mig for gpu in facts.nvml.gpus) if facts.nvml else True)
    if not problem:
        return None
    return Seen(
        cause=f"CUDA_VISIBLE_DEVICES={listed!r}: {problem}",
        evidence=(f"the driver shows {shown} of {len(uuids)} GPUs", *(f"GPU {i}: {u}" for i, u in enumerate(uuids))),
        fix="`unset CUDA_VISIBLE_DEVICES`, or list GPUs that are there; the launcher's own way is device.ids=[...]",
    )


def _on_bus(facts: DeviceFacts) -> tuple[str, ...]:
    return tuple(f"PCI {gpu.address}: NVIDIA {gpu.device}" for gpu in facts.system.pci_gpus if gpu.vendor == "nvidia")


def _driver_version(facts: DeviceFacts) -> str:
    return (facts.nvml.driver if facts.nvml else "") or facts.system.driver_loaded or "of unknown version"


def _driver_needed(facts: DeviceFacts) -> str:
    oldest = OLDEST_DRIVER.get(cuda_version(facts.packages.torch_cuda)[0])
    return f"version {oldest} or newer for this torch" if oldest else "the newest for your GPU"
