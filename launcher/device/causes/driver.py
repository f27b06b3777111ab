"""The NVIDIA driver is not there in one piece: it endangers processes, is not installed, not loaded, or not its own."""

from __future__ import annotations

from launcher.device.arches import cuda_version
from launcher.device.causes.cause import UNREACHABLE, Cause, Evidence
from launcher.device.causes.evidence import (
    BUSY,
    COMPAT,
    ECC_ERROR,
    MISMATCH,
    MPS_CODES,
    NO_DEVICE,
    NOT_INITIALIZED,
    NVML_MISMATCH,
    NVML_NO_PERMISSION,
    NVML_NOT_LOADED,
    OS_CALL,
    STUB,
    UNKNOWN,
    behind_wsl,
    computes,
    driver_crashed,
    driver_hung,
    driver_is_loaded,
    driver_works,
    gpu_in_machine,
    how_it_ended,
    in_wsl,
    init_code,
    init_failed,
    no_library,
    nvml_failed,
    nvml_lists_gpus,
    on_jetson,
    raw_codes,
    visible_devices_hide_all,
)
from launcher.device.causes.texts import COMPUTE_CAPABILITIES, NO_DRIVER, NO_GPUS, UNKNOWN_ERROR
from launcher.device.facts import DeviceFacts

OLDEST_DRIVER = {11: "450", 12: "525", 13: "580"}


def driver_needed(facts: DeviceFacts) -> str:
    oldest = OLDEST_DRIVER.get(cuda_version(facts.packages.torch_cuda)[0])
    return f"version {oldest} or newer for this torch" if oldest else "the newest for your GPU"


def driver_version(facts: DeviceFacts) -> str:
    """Empty where nobody knows it."""
    return (facts.nvml.driver if facts.nvml else "") or facts.system.driver_loaded


# It endangers whoever calls it


def find_hanging_driver(facts: DeviceFacts) -> Evidence | None:
    hung = driver_hung(facts)
    return Evidence(lines=tuple(how_it_ended(end) for end in hung)) if hung else None


HANGS = Cause(
    code="driver.hangs",
    title="the NVIDIA driver hangs",
    meaning="Every process that calls the driver waits in the kernel without a limit, and not even SIGKILL ends it. A "
    "CPU training gets empty libraries in its place, which hide it.",
    fix="reboot, or reset the GPU with `sudo nvidia-smi --gpu-reset`; see `sudo dmesg | grep -i -e xid -e nvrm`",
    symptoms=("blocked for more than 120 seconds",),
    find=find_hanging_driver,
    hides=(*UNREACHABLE, "scheduler.*", "torch.not_for_jetson"),
    blocks=True,
)


def find_crashing_driver(facts: DeviceFacts) -> Evidence | None:
    died = driver_crashed(facts)
    lines = tuple(how_it_ended(end) + (f": {end.stderr}" if end.stderr else "") for end in died)
    return Evidence(lines=lines) if died else None


CRASHES = Cause(
    code="driver.crashes",
    title="the NVIDIA driver crashes the process that loads it",
    meaning="A process that called cuInit or NVML was ended by a signal. In a CPU training the driver is hidden.",
    fix="reinstall the NVIDIA driver (library and kernel module of one version) and reboot",
    symptoms=("Segmentation fault (core dumped)",),
    find=find_crashing_driver,
    hides=(*UNREACHABLE, "scheduler.*", "torch.not_for_jetson"),
    blocks=True,
)


# Something else is in its place


def gpu_is_reached(facts: DeviceFacts) -> bool:
    """cuInit answered with what is wrong with the GPU, or with the service that shares it."""
    return init_failed(facts, BUSY, ECC_ERROR, *MPS_CODES)


def find_wsl(facts: DeviceFacts) -> Evidence | None:
    if not behind_wsl(facts) or facts.driver is None:
        return None
    return Evidence(lines=(f"libcuda: {facts.driver.library or facts.driver.load_error}", *raw_codes(facts)))


WSL = Cause(
    code="driver.wsl",
    title="Windows' NVIDIA driver is not reached from this WSL",
    meaning="WSL uses the driver of Windows, through /usr/lib/wsl/lib. A driver installed inside WSL, an old one in "
    "Windows or an old WSL gets in between.",
    fix="update the driver in Windows, `wsl --update`, remove any NVIDIA driver installed inside WSL, and keep "
    "/usr/lib/wsl/lib first on LD_LIBRARY_PATH",
    symptoms=(
        NO_GPUS,
        "Error 2: out of memory",
        "WSL environment detected but no adapters were found",
        "GPU access blocked by the operating system",
    ),
    find=find_wsl,
    unless=(driver_works, visible_devices_hide_all, gpu_is_reached),
    hides=UNREACHABLE,
    blocks=True,
)


def find_nouveau(facts: DeviceFacts) -> Evidence | None:
    bound = [gpu for gpu in facts.system.pci_gpus if gpu.kernel_driver == "nouveau"]
    if not bound:
        return None
    return Evidence(
        lines=tuple(f"PCI {gpu.address} is bound to nouveau" for gpu in bound),
        fix=f"install the NVIDIA driver ({driver_needed(facts)}), blacklist nouveau, reboot",
    )


NOUVEAU = Cause(
    code="driver.nouveau",
    title="the GPU is driven by nouveau, which has no CUDA",
    meaning="Linux' own driver for NVIDIA GPUs has the card; it has no CUDA.",
    fix="install the NVIDIA driver, blacklist nouveau, reboot",
    symptoms=(NO_DRIVER,),
    find=find_nouveau,
    unless=(driver_works, nvml_lists_gpus),
    hides=UNREACHABLE,
    blocks=True,
)


def find_stub(facts: DeviceFacts) -> Evidence | None:
    library = facts.driver.library if facts.driver else ""
    if not init_failed(facts, STUB) and "/stubs/" not in library:
        return None
    return Evidence(lines=(f"libcuda: {library}", *raw_codes(facts)[:1]))


STUB_LIBRARY = Cause(
    code="driver.stub",
    title="the CUDA toolkit's stub library replaces the driver's",
    meaning="The toolkit has a libcuda.so for linking only; LD_LIBRARY_PATH leads to it before the real one.",
    fix="take the folder that ends in `/stubs` off LD_LIBRARY_PATH",
    symptoms=("CUDA driver is a stub library", "cudaErrorStubLibrary", "Error 34:"),
    find=find_stub,
    unless=(driver_works,),
    hides=UNREACHABLE,
    blocks=True,
)


def find_empty_library(facts: DeviceFacts) -> Evidence | None:
    if facts.driver is None or "file too short" not in facts.driver.load_error:
        return None
    empty = [library.path for library in facts.system.cuda_libraries if library.size == 0]
    return Evidence(lines=(facts.driver.load_error, *empty))


EMPTY_LIBRARY = Cause(
    code="driver.empty_library",
    title="an empty file replaces the driver's library",
    meaning="An image that was built inside a GPU container keeps empty files where the driver's libraries were "
    "mounted.",
    fix="in a container: start it with the NVIDIA runtime (`--gpus all`), or rebuild the image without these files; "
    "else remove the empty libcuda.so.1",
    symptoms=("libcuda.so.1: file too short", NO_DRIVER),
    find=find_empty_library,
    hides=UNREACHABLE,
    blocks=True,
)


# Half of it is missing


def driver_is_installed(facts: DeviceFacts) -> bool:
    return facts.system.driver_installed or bool(facts.system.cuda_libraries)


def find_absent_driver(facts: DeviceFacts) -> Evidence | None:
    if not gpu_in_machine(facts) or not no_library(facts):
        return None
    return Evidence(
        lines=(*_on_bus(facts), "no NVIDIA kernel module", *raw_codes(facts)[:2]),
        fix=f"install the NVIDIA driver ({driver_needed(facts)}) and reboot",
    )


ABSENT = Cause(
    code="driver.absent",
    title="there is an NVIDIA GPU, but no NVIDIA driver",
    meaning="The GPU is on the PCI bus, but no NVIDIA kernel module is installed and no libcuda.so.1 found.",
    fix="install the NVIDIA driver (580 or newer for torch with CUDA 13, 525 for CUDA 12) and reboot",
    symptoms=(NO_DRIVER,),
    find=find_absent_driver,
    unless=(driver_is_loaded, driver_is_installed, in_wsl, on_jetson),
    hides=UNREACHABLE,
    blocks=True,
)


def find_unloaded_driver(facts: DeviceFacts) -> Evidence | None:
    system = facts.system
    if not gpu_in_machine(facts) or not (driver_is_installed(facts) or nvml_failed(facts, NVML_NOT_LOADED)):
        return None
    rebuild = f"rebuild the driver for kernel {facts.platform.kernel} (`sudo dkms autoinstall`; Secure Boot needs its "
    return Evidence(
        lines=(
            *_on_bus(facts),
            "no /proc/driver/nvidia/version",
            *(("Secure Boot is on: the module must be signed with an enrolled key",) if system.secure_boot else ()),
            *raw_codes(facts),
        ),
        fix="`sudo modprobe nvidia`" if system.driver_installed else f"{rebuild}key enrolled), then reboot",
    )


NOT_LOADED = Cause(
    code="driver.not_loaded",
    title="the NVIDIA kernel module is not loaded",
    meaning="The driver's libraries are there, its kernel module is not: often after an update of the kernel for which "
    "the module was not built, or because Secure Boot refuses it.",
    fix="`sudo modprobe nvidia`; else rebuild it (`sudo dkms autoinstall`), enroll the key for Secure Boot, reboot",
    symptoms=(
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver",
        "Driver Not Loaded",
        UNKNOWN_ERROR,
        NO_GPUS,
    ),
    find=find_unloaded_driver,
    unless=(driver_is_loaded, in_wsl, on_jetson),
    hides=UNREACHABLE,
    blocks=True,
)


def find_missing_library(facts: DeviceFacts) -> Evidence | None:
    if not driver_is_loaded(facts) or not no_library(facts):
        return None
    version = driver_version(facts)
    return Evidence(
        lines=(f"kernel module {version or 'loaded'}", *raw_codes(facts)[:2]),
        fix="install the driver's libraries (`libnvidia-compute`)"
        + (f", version {version}" if version else ", of the module's version")
        + (f"; in a container set {COMPUTE_CAPABILITIES}" if facts.system.container else ""),
    )


NO_LIBRARY = Cause(
    code="driver.no_library",
    title="the NVIDIA kernel module is loaded, but its library libcuda.so.1 does not load",
    meaning="Only half of the driver is installed, or a container was given only part of it.",
    fix="install the driver's libraries (`libnvidia-compute`) of the module's version; in a container set "
    f"{COMPUTE_CAPABILITIES}",
    symptoms=(
        NO_DRIVER,
        "libcuda.so.1: cannot open shared object file",
        "libcuda.so: cannot open shared object file",
    ),
    find=find_missing_library,
    hides=UNREACHABLE,
    blocks=True,
)


# Its halves do not fit


def find_compat(facts: DeviceFacts) -> Evidence | None:
    if not init_failed(facts, COMPAT):
        return None
    return Evidence(lines=(f"libcuda: {facts.driver.library if facts.driver else ''}", *raw_codes(facts)[:1]))


COMPATIBILITY = Cause(
    code="driver.compat",
    title="a forward-compatibility libcuda is loaded, which this GPU does not support",
    meaning="A newer libcuda from a `compat` folder was loaded; only data-centre GPUs can work with one.",
    fix="take the folder that ends in `/compat` off LD_LIBRARY_PATH, or update the host's driver",
    symptoms=("forward compatibility was attempted on non supported HW", "Error 804:"),
    find=find_compat,
    hides=UNREACHABLE,
    blocks=True,
)


def find_mismatch(facts: DeviceFacts) -> Evidence | None:
    library = facts.driver.library if facts.driver else ""
    loaded = facts.system.driver_loaded
    suffix = library.rpartition("libcuda.so.")[2]
    # A Jetson's library counts its versions on its own.
    comparable = bool(loaded) and suffix.count(".") >= 1 and not facts.system.tegra
    # A newer libcuda of a compatibility package is fine in itself; these answers do not tell what they complain about.
    vague = init_code(facts) in (None, NO_DEVICE, NOT_INITIALIZED, OS_CALL, UNKNOWN)
    differ = comparable and suffix != loaded and vague
    if not (init_failed(facts, MISMATCH) or nvml_failed(facts, NVML_MISMATCH) or differ):
        return None
    return Evidence(lines=(f"kernel module {loaded or 'unknown'}, library {library or 'unknown'}", *raw_codes(facts)))


MISMATCHED = Cause(
    code="driver.mismatch",
    title="the NVIDIA kernel module and the driver's libraries are of different versions",
    meaning="An update replaced the driver's libraries while the old kernel module kept running.",
    fix="reboot (an update replaced the libraries under the running module); keep automatic updates off the driver",
    symptoms=(
        "system has unsupported display driver / cuda driver combination",
        "RM has detected an NVML/RM version mismatch",
        "Failed to initialize NVML: Driver/library version mismatch",
        "Error 803:",
    ),
    find=find_mismatch,
    unless=(computes, visible_devices_hide_all),
    hides=(*UNREACHABLE, "unexplained"),
    blocks=True,
)


# Its device files


def find_refused_nodes(facts: DeviceFacts) -> Evidence | None:
    denied = [node.path for node in facts.driver.nodes if node.error in ("EACCES", "EPERM")] if facts.driver else []
    if nvml_lists_gpus(facts):
        # NVML has opened those of its GPUs; the others are closed on purpose. It does without this one.
        denied = [path for path in denied if path == "/dev/nvidia-uvm"]
    if not (denied or nvml_failed(facts, NVML_NO_PERMISSION)):
        return None
    return Evidence(lines=(*(f"open() of {path} is denied" for path in denied), *raw_codes(facts)))


PERMISSION = Cause(
    code="driver.permission",
    title="this user may not open the GPU's device files",
    meaning="/dev/nvidia* exist, but this user or this container is refused.",
    fix="`sudo usermod -aG video,render $USER` and log in again, hand the devices to the container, or set udev rules",
    symptoms=(
        "Failed to initialize NVML: Insufficient Permissions",
        "Insufficient Permissions",
        "OS call failed or operation not supported on this OS",
        "Error 304:",
    ),
    find=find_refused_nodes,
    unless=(driver_works, visible_devices_hide_all),
    hides=UNREACHABLE,
    blocks=True,
)


def find_covered_nodes(facts: DeviceFacts) -> Evidence | None:
    covered = [node.path for node in facts.driver.nodes if node.error == "covered"] if facts.driver else []
    if not covered:
        return None
    return Evidence(lines=(*(f"{path} is a plain file or /dev/null" for path in covered), *raw_codes(facts)))


COVERED = Cause(
    code="driver.covered",
    title="something else is mounted over the GPU's device files",
    meaning="/dev/nvidia* exist, but no driver is behind them: a container's runtime or a sandbox has put a plain file "
    "or /dev/null there.",
    fix="start the container or sandbox with the GPU's own device files (`--gpus all`, CDI); `findmnt` shows what "
    "covers them",
    symptoms=("GPU access blocked by the operating system", NO_GPUS, UNKNOWN_ERROR),
    find=find_covered_nodes,
    unless=(driver_works, visible_devices_hide_all),
    hides=(*UNREACHABLE, "unexplained"),
    blocks=True,
)


def _on_bus(facts: DeviceFacts) -> tuple[str, ...]:
    return tuple(f"PCI {gpu.address}: NVIDIA {gpu.device}" for gpu in facts.system.pci_gpus if gpu.vendor == "nvidia")


CAUSES = (
    HANGS,
    CRASHES,
    WSL,
    NOUVEAU,
    STUB_LIBRARY,
    EMPTY_LIBRARY,
    ABSENT,
    NOT_LOADED,
    NO_LIBRARY,
    COMPATIBILITY,
    MISMATCHED,
    PERMISSION,
    COVERED,
)
