"""The NVIDIA driver is there and refuses, is too old, or serves less than it could."""

from __future__ import annotations

from launcher.device.arches import cuda_version
from launcher.device.causes.cause import UNREACHABLE, Cause, Evidence
from launcher.device.causes.driver import OLDEST_DRIVER, driver_needed, driver_version
from launcher.device.causes.evidence import (
    MPS_CODES,
    NO_DEVICE,
    NOT_INITIALIZED,
    NOT_LICENSED,
    NOT_SUPPORTED,
    NVML_MISMATCH,
    OS_CALL,
    SYSTEM_NOT_READY,
    UNKNOWN,
    computes,
    driver_works,
    in_container,
    in_wsl,
    init_failed,
    nvml_answers,
    nvml_failed,
    nvml_gpus,
    on_jetson,
    raw_codes,
    smoke_lines,
)
from launcher.device.causes.texts import COMPUTE_CAPABILITIES, NO_GPUS, PYTORCH_SITE, UNKNOWN_ERROR
from launcher.device.diagnosis import Severity
from launcher.device.facts import DeviceFacts
from launcher.device.gpus import GpuView

# Compute capabilities: older ones than the first have no driver that speaks CUDA 12, than the second no code in
# CUDA 13, whatever the driver.
FIRST_WITH_CUDA_12, FIRST_WITH_CUDA_13 = (5, 0), (7, 5)
SLOW_START_S = 2.0
PTX_TOO_NEW = 222


# It waits for a service or a state


def waits_for_attestation(facts: DeviceFacts) -> bool:
    """A confidential virtual machine without NVSwitches: what it waits for is no fabric manager."""
    return facts.system.confidential_vm and not facts.system.nvswitch


def find_fabric(facts: DeviceFacts) -> Evidence | None:
    return Evidence(lines=raw_codes(facts)) if init_failed(facts, SYSTEM_NOT_READY) else None


FABRIC = Cause(
    code="driver.fabric",
    title="the fabric manager that this NVSwitch machine needs is not running",
    meaning="Machines whose GPUs are connected by NVSwitches need a service that sets the switches up.",
    fix="`sudo systemctl enable --now nvidia-fabricmanager`, of exactly the driver's version",
    symptoms=("system not yet initialized", "cudaErrorSystemNotReady", "Error 802:"),
    find=find_fabric,
    unless=(waits_for_attestation,),
    hides=UNREACHABLE,
    blocks=True,
)


def find_unattested(facts: DeviceFacts) -> Evidence | None:
    if not waits_for_attestation(facts) or not init_failed(facts, SYSTEM_NOT_READY, NOT_SUPPORTED):
        return None
    return Evidence(lines=("this is a confidential virtual machine", *raw_codes(facts)))


CONFIDENTIAL = Cause(
    code="driver.confidential",
    title="the GPU waits for its confidential-computing ready state",
    meaning="In a confidential virtual machine a GPU refuses work until it has been attested and declared ready.",
    fix="attest the GPU, then `sudo nvidia-smi conf-compute -srs 1`",
    symptoms=("system not yet initialized", "operation not supported"),
    find=find_unattested,
    hides=UNREACHABLE,
    blocks=True,
)


def find_no_mps_daemon(facts: DeviceFacts) -> Evidence | None:
    if not init_failed(facts, *MPS_CODES):
        return None
    folder = facts.environment.get("CUDA_MPS_PIPE_DIRECTORY", "")
    return Evidence(lines=(f"CUDA_MPS_PIPE_DIRECTORY={folder}", *raw_codes(facts)))


MPS_DAEMON = Cause(
    code="driver.mps_daemon",
    title="NVIDIA's multi-process service (MPS) does not answer",
    meaning="CUDA programs here share GPUs through a daemon; it is not running, full, or another user's.",
    fix="restart `nvidia-cuda-mps-control -d`, or unset CUDA_MPS_PIPE_DIRECTORY",
    symptoms=(
        "MPS client failed to connect to the MPS control daemon or the MPS server",
        "MPS server is not ready",
        "MPS resources required to create the MPS client",
        "MPS device connections",
        "CUDA_ERROR_MPS_",
        "Error 805:",
        "Error 806:",
        "Error 807:",
        "Error 808:",
    ),
    find=find_no_mps_daemon,
    hides=UNREACHABLE,
    blocks=True,
)


def find_no_licence(facts: DeviceFacts) -> Evidence | None:
    if not init_failed(facts, NOT_LICENSED, NOT_SUPPORTED):
        return None
    return Evidence(lines=(*(f"GPU {gpu.index}: {gpu.name}" for gpu in nvml_gpus(facts)), *raw_codes(facts)))


NOT_LICENSED_GPU = Cause(
    code="driver.not_licensed",
    title="the driver refuses, as it does for a virtual GPU without its licence",
    meaning="A virtual GPU (vGPU) that a hypervisor gives to this machine refuses CUDA without its licence.",
    fix="`nvidia-smi -q | grep -i license` shows its state; ask who runs this machine to license it",
    symptoms=("DEVICE_NOT_LICENSED", "Error 102:", "operation not supported", "Error 801:", "cudaErrorNotSupported"),
    find=find_no_licence,
    unless=(waits_for_attestation,),
    hides=UNREACHABLE,
    blocks=True,
)


# Its device files and its memory module


def find_no_nodes(facts: DeviceFacts) -> Evidence | None:
    loaded = facts.system.driver_loaded
    no_nodes = "/dev/nvidiactl" not in facts.system.device_nodes
    if not loaded or not no_nodes or not init_failed(facts, NO_DEVICE, OS_CALL, UNKNOWN):
        return None
    return Evidence(lines=(f"kernel module {loaded}", "no /dev/nvidiactl", *raw_codes(facts)))


NO_NODES = Cause(
    code="driver.no_nodes",
    title="the NVIDIA kernel module is loaded, but its device files under /dev are missing",
    meaning="The kernel module is loaded, and nobody made its device files: usual where no screen and no persistence "
    "daemon starts at boot.",
    fix="`sudo nvidia-modprobe -c 0 -u` makes them; enable nvidia-persistenced to have it at every boot",
    symptoms=(NO_GPUS, UNKNOWN_ERROR, "OS call failed or operation not supported on this OS"),
    find=find_no_nodes,
    unless=(nvml_answers, in_wsl, on_jetson, in_container),
    hides=UNREACHABLE,
    blocks=True,
)


def gpu_is_lost(facts: DeviceFacts) -> bool:
    """NVML has an error for one: then that, and not a module, is what CUDA does not find its way around."""
    return any(gpu.code for gpu in nvml_gpus(facts))


def find_uvm(facts: DeviceFacts) -> Evidence | None:
    missing = _uvm_is_missing(facts)
    if not nvml_answers(facts) or not (init_failed(facts, UNKNOWN) or (missing and init_failed(facts, OS_CALL))):
        return None
    return Evidence(
        title="the driver's memory module nvidia_uvm is " + ("missing" if missing else "stale"),
        lines=raw_codes(facts),
        fix="`sudo nvidia-modprobe -u -c 0`"
        if missing
        else "`sudo modprobe -r nvidia_uvm && sudo modprobe nvidia_uvm` (needed after suspend), or reboot",
    )


def _uvm_is_missing(facts: DeviceFacts) -> bool:
    # A sandbox that hides the list of modules hides this one too.
    unloaded = bool(facts.system.driver_loaded) and not facts.system.uvm_loaded
    nodes = facts.driver.nodes if facts.driver else ()
    opened = any(node.path == "/dev/nvidia-uvm" and not node.error for node in nodes)
    return not opened and (unloaded or "/dev/nvidia-uvm" not in facts.system.device_nodes)


UVM = Cause(
    code="driver.uvm",
    title="the driver's memory module nvidia_uvm is missing or stale",
    meaning="The part of the driver that shares memory with CUDA is not loaded, or did not survive a suspend. NVML and "
    "nvidia-smi work all the same.",
    fix="`sudo nvidia-modprobe -u -c 0`; after a suspend `sudo modprobe -r nvidia_uvm && sudo modprobe nvidia_uvm`, or "
    "reboot",
    symptoms=(
        UNKNOWN_ERROR,
        "Error 999:",
        "cuda runtime error (999)",
        "CUDA_ERROR_UNKNOWN",
        "OS call failed or operation not supported",
    ),
    find=find_uvm,
    unless=(gpu_is_lost, in_wsl, on_jetson),
    hides=UNREACHABLE,
    blocks=True,
)


def find_not_initialized(facts: DeviceFacts) -> Evidence | None:
    # A system call that is refused where all device files open has the same reasons.
    if not init_failed(facts, NOT_INITIALIZED, OS_CALL):
        return None
    locked = facts.platform.locked_memory_mib
    return Evidence(
        lines=(
            *raw_codes(facts),
            *(f"container: {sign}" for sign in facts.system.container),
            *(() if locked is None else (f"locked memory: {locked} MiB",)),
        ),
    )


NOT_INITIALIZED_HERE = Cause(
    code="driver.not_initialized",
    title="the driver cannot initialize in this process",
    meaning="The driver answers to no process in these surroundings: a security profile, a limit on locked memory, or "
    "a process that was forked after it had used CUDA.",
    fix="start it as a fresh process; check the limits of the job or container: seccomp profile, locked memory "
    "(`ulimit -l`), devices cgroup",
    symptoms=("CUDA driver initialization failed, you might not have a CUDA gpu", "cudaErrorInitializationError"),
    find=find_not_initialized,
    hides=UNREACHABLE,
    blocks=True,
)


# It is of another time than torch


def find_old_driver(facts: DeviceFacts) -> Evidence | None:
    has = facts.driver.cuda_version if facts.driver else 0
    needs = cuda_version(facts.packages.torch_cuda)
    if not has or not needs[0] or has // 1000 >= needs[0]:
        return None
    speaks = f"CUDA {has // 1000}.{has % 1000 // 10}"
    return Evidence(
        title=f"the NVIDIA driver is too old for this torch: it speaks {speaks}, torch needs {needs[0]}",
        lines=(
            f"driver {driver_version(facts) or 'of unknown version'}, {speaks}",
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
            f"({PYTORCH_SITE})"
        )
    return (
        f"update the NVIDIA driver ({driver_needed(facts)}), or install torch and torchvision built for CUDA {speaks} "
        f"({PYTORCH_SITE})"
    )


TOO_OLD = Cause(
    code="driver.too_old",
    title="the NVIDIA driver is too old for this torch",
    meaning="torch needs a driver of its CUDA's major version: 580 for CUDA 13, 525 for CUDA 12, 450 for CUDA 11.",
    fix="update the driver, or install torch and torchvision built for the CUDA that `nvidia-smi` shows; GPUs below "
    "compute capability 7.5 stay with CUDA 12.6",
    symptoms=(
        "The NVIDIA driver on your system is too old",
        "CUDA driver version is insufficient for CUDA runtime",
    ),
    find=find_old_driver,
    unless=(computes,),
    hides=("gpu.*", "arch.*", "visible.*", "unexplained"),
    blocks=True,
)


def find_new_ptx(_: DeviceFacts, gpu: GpuView) -> Evidence | None:
    if gpu.smoke is None or gpu.smoke.code != PTX_TOO_NEW:
        return None
    return Evidence(title="would need a newer driver to translate this torch's code", lines=smoke_lines(gpu))


PTX = Cause(
    code="driver.ptx_too_new",
    title="the driver cannot translate this torch's code",
    meaning="torch has only intermediate code (PTX) for this GPU, made by a newer compiler than the driver's.",
    fix="update the NVIDIA driver, or install a torch with code for the GPU itself, such as one for an older CUDA",
    symptoms=(
        "the provided PTX was compiled with an unsupported toolchain",
        "cudaErrorUnsupportedPtxVersion",
        "Error 222:",
    ),
    find_on_gpu=find_new_ptx,
)


# It serves, with less comfort


def find_slow_start(facts: DeviceFacts) -> Evidence | None:
    if not driver_works(facts) or facts.driver is None or facts.driver.end.seconds < SLOW_START_S:
        return None
    if not any(gpu.persistent is False for gpu in nvml_gpus(facts)):
        return None
    return Evidence(
        title=f"the driver took {facts.driver.end.seconds:.1f} s to wake up",
        lines=("NVML: persistence mode is off",),
    )


SLOW_START = Cause(
    code="driver.slow_start",
    severity=Severity.info,
    title="the driver takes seconds to wake up",
    meaning="Without a persistence daemon the driver sleeps when nobody uses it and initializes each GPU again.",
    fix="`sudo systemctl enable --now nvidia-persistenced` keeps it awake",
    find=find_slow_start,
)


def find_silent_nvml(facts: DeviceFacts) -> Evidence | None:
    if facts.nvml is None or not driver_works(facts):
        return None
    until = "reboot when it suits (an update replaced the driver's libraries); until then trainings work"
    return Evidence(lines=raw_codes(facts), fix=until if nvml_failed(facts, NVML_MISMATCH) else "")


SILENT_NVML = Cause(
    code="nvml.failed",
    severity=Severity.warning,
    title="NVML does not answer, so free memory and health of the GPUs are unknown",
    meaning="GPUs can be used, but their free memory, health and processes are unknown.",
    fix=f"`nvidia-smi` shows the same error; in a container set {COMPUTE_CAPABILITIES}",
    symptoms=("Can't initialize NVML", "NVML Shared Library Not Found", "libnvidia-ml.so.1: cannot open"),
    find=find_silent_nvml,
    unless=(nvml_answers, on_jetson),
)

CAUSES = (
    FABRIC,
    MPS_DAEMON,
    NOT_LICENSED_GPU,
    CONFIDENTIAL,
    NO_NODES,
    UVM,
    NOT_INITIALIZED_HERE,
    TOO_OLD,
    PTX,
    SLOW_START,
    SILENT_NVML,
)
