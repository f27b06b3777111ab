"""What is worth knowing about the GPUs of a machine together: their number, screens and speed, and their links."""

from __future__ import annotations

from launcher.device.causes.cause import Cause, Evidence
from launcher.device.causes.evidence import (
    LAUNCH_TIMEOUT,
    how_it_ended,
    in_container,
    nvml_answers,
    nvml_gpus,
    smoke_lines,
)
from launcher.device.causes.gpu import ended_for_the_screen
from launcher.device.diagnosis import Severity
from launcher.device.facts import DeviceFacts, NvmlGpu
from launcher.device.gpus import GpuView

# Of NVML's reasons for lower clocks those that are no ordinary saving of power.
THROTTLED = {0x8: "the hardware slows down", 0x20: "too hot", 0x40: "too hot", 0x80: "too little power"}

WITHOUT_SCREEN = (
    "choose another GPU with device.ids, or end the graphical session (`sudo systemctl isolate multi-user`)"
)


# Their number


def in_a_job(facts: DeviceFacts) -> bool:
    return bool(facts.job.scheduler)


def closed_to_us(facts: DeviceFacts) -> bool:
    """Some device files are: their GPUs are hidden on purpose."""
    return any(node.error for node in facts.driver.nodes) if facts.driver else False


def find_vanished(facts: DeviceFacts) -> Evidence | None:
    bound = [gpu for gpu in facts.system.pci_gpus if gpu.vendor == "nvidia" and gpu.kernel_driver == "nvidia"]
    listed = nvml_gpus(facts)
    if not nvml_answers(facts) or not 0 < len(listed) < len(bound):
        return None
    known = {gpu.pci[-12:] for gpu in listed if gpu.pci}
    gone = [gpu.address for gpu in bound if gpu.address.lower()[-12:] not in known]
    return Evidence(
        title=f"{len(bound)} NVIDIA GPUs are in this machine, but the driver answers for {len(listed)}",
        lines=(f"silent: PCI {', '.join(gone)}" if known and gone else "counted on the PCI bus and by NVML",),
    )


VANISHED = Cause(
    code="gpu.vanished",
    severity=Severity.warning,
    title="fewer GPUs answer than are on the PCI bus",
    meaning="The driver has lost a GPU since it was loaded, most often after a fault of power, heat or the slot.",
    fix="`sudo dmesg | grep -i xid` names the fault; power-cycle the machine, check power and cooling",
    symptoms=(
        "Unable to determine the device handle for GPU",
        "Xid (PCI:…): 79",
        "Xid 79",
        "no CUDA-capable device is detected",
    ),
    find=find_vanished,
    # Containers, jobs and permissions hide GPUs on purpose, while the bus shows them all.
    unless=(in_container, in_a_job, closed_to_us),
)


def ordered_by_bus(facts: DeviceFacts) -> bool:
    return facts.environment.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"


def find_mixture(facts: DeviceFacts) -> Evidence | None:
    names = {gpu.name for gpu in nvml_gpus(facts) if gpu.name}
    if len(names) < 2:
        return None
    return Evidence(lines=(", ".join(sorted(names)), "CUDA_DEVICE_ORDER is not PCI_BUS_ID"))


MIXED = Cause(
    code="gpu.mixed",
    severity=Severity.info,
    title="the GPUs differ, and CUDA counts them in another order than `nvidia-smi`",
    meaning="CUDA puts the fastest GPU first, nvidia-smi counts along the PCI bus: `cuda:0` may not be GPU 0. The "
    "launcher hands GPUs over by UUID and is not concerned.",
    fix="nothing: device.ids counts as `nvidia-smi`, and GPUs are handed over by UUID; for other programs "
    "`export CUDA_DEVICE_ORDER=PCI_BUS_ID`",
    find=find_mixture,
    unless=(ordered_by_bus,),
)


# Their screens


def find_watchdog(facts: DeviceFacts) -> Evidence | None:
    ended = {test.uuid for test in (facts.torch.smoke_tests if facts.torch else ()) if test.code == LAUNCH_TIMEOUT}
    shown = [gpu for gpu in nvml_gpus(facts) if gpu.display and gpu.uuid not in ended]
    if not shown:
        return None
    which = ", ".join(str(gpu.index) for gpu in shown)
    return Evidence(
        title=f"a screen runs on GPU {which}: the driver may end long kernels",
        lines=("NVML: display active",),
        fix=f"nothing usually; if a run ends with gpu.watchdog {WITHOUT_SCREEN}",
    )


def find_watchdog_on(_: DeviceFacts, gpu: GpuView) -> Evidence | None:
    if not ended_for_the_screen(gpu):
        return None
    return Evidence(
        title="runs a screen, and the driver ended a kernel that took too long",
        lines=(*smoke_lines(gpu), "NVML: display active"),
    )


WATCHDOG = Cause(
    code="gpu.watchdog",
    severity=Severity.info,
    title="a screen runs on the GPU",
    meaning="Where a GPU draws a screen, the driver ends kernels that run for seconds, so that the screen does not "
    "freeze.",
    fix=WITHOUT_SCREEN,
    symptoms=("the launch timed out and was terminated", "cudaErrorLaunchTimeout", "Error 702:"),
    find=find_watchdog,
    find_on_gpu=find_watchdog_on,
)


# Their speed


def find_throttled(facts: DeviceFacts) -> Evidence | None:
    slowed = [(gpu, reason) for gpu in nvml_gpus(facts) if (reason := _why_slow(gpu))]
    if not slowed:
        return None
    return Evidence(
        title=f"GPU {', '.join(str(gpu.index) for gpu, _ in slowed)} runs below its speed",
        lines=tuple(f"GPU {gpu.index}: {reason}" for gpu, reason in slowed),
    )


def _why_slow(gpu: NvmlGpu) -> str:
    return ", ".join(dict.fromkeys(text for bit, text in THROTTLED.items() if gpu.throttle_reasons & bit))


THROTTLING = Cause(
    code="gpu.throttled",
    severity=Severity.info,
    title="the GPU runs below its speed",
    meaning="It is too hot or gets too little power. Results are right, only later.",
    fix="check cooling and power (`nvidia-smi -q -d PERFORMANCE`); trainings are right but slower",
    symptoms=("SW Thermal Slowdown", "HW Thermal Slowdown", "HW Power Brake Slowdown"),
    find=find_throttled,
)


def find_slow_link(facts: DeviceFacts) -> Evidence | None:
    # Half the lanes are how many boards are built; a quarter and less is a riser or a bad contact.
    narrow = [gpu for gpu in nvml_gpus(facts) if gpu.link_width and gpu.link_width * 4 <= (gpu.link_width_max or 0)]
    if not narrow:
        return None
    return Evidence(
        title=f"GPU {', '.join(str(gpu.index) for gpu in narrow)} is connected by few PCIe lanes",
        lines=tuple(f"GPU {gpu.index}: {gpu.link_width} of {gpu.link_width_max} lanes" for gpu in narrow),
    )


SLOW_LINK = Cause(
    code="gpu.slow_link",
    severity=Severity.info,
    title="the GPU is connected by few PCIe lanes",
    meaning="A riser or a bad contact leaves a quarter of the lanes or less. Images reach the GPU more slowly.",
    fix="reseat the card or use another slot; trainings are right but load their images more slowly",
    find=find_slow_link,
)


# How they reach each other


def find_nccl_hang(facts: DeviceFacts) -> Evidence | None:
    test = facts.torch.all_reduce if facts.torch else None
    if test is None or test.end.how != "hung":
        return None
    return Evidence(
        title="the GPUs do not finish talking to each other (NCCL)",
        lines=(how_it_ended(test.end), _nccl_surroundings(facts)),
    )


NCCL_HANGS = Cause(
    code="nccl.hangs",
    severity=Severity.warning,
    title="the GPUs wait for each other endlessly (NCCL)",
    meaning="NCCL waits for data that never arrives, often because IOMMU or PCIe ACS break direct copies. In a "
    "training also because one process stopped.",
    fix="try `export NCCL_P2P_DISABLE=1`, and if it helps switch ACS or the IOMMU off in the BIOS; else "
    "NCCL_SOCKET_IFNAME; NCCL_DEBUG=INFO tells more; in a training look for an earlier error of another process; "
    "device.count=1 works meanwhile",
    symptoms=("Watchdog caught collective operation timeout", "ran for…milliseconds before timing out"),
    find=find_nccl_hang,
    hides=("nccl.failed",),
)


def find_nccl_failure(facts: DeviceFacts) -> Evidence | None:
    test = facts.torch.all_reduce if facts.torch else None
    if test is None or not (test.failed or test.end.how != "answered"):
        return None
    error = test.error.partition("\n")[0] or how_it_ended(test.end)
    return Evidence(
        lines=(f"all-reduce: `{test.failed or test.end.stage}` failed: {error}", _nccl_surroundings(facts)),
    )


NCCL_FAILS = Cause(
    code="nccl.failed",
    severity=Severity.warning,
    title="the GPUs cannot talk to each other (NCCL)",
    meaning="NCCL, which adds up gradients between GPUs, fails: no direct copies, too little shared or locked memory, "
    "or the wrong network.",
    fix="`export NCCL_DEBUG=INFO` tells why; try NCCL_P2P_DISABLE=1, a larger /dev/shm (`--shm-size=8g`), `ulimit -l "
    "unlimited`, NCCL_SOCKET_IFNAME; device.count=1 works meanwhile",
    symptoms=(
        "NCCL error",
        "unhandled cuda error",
        "unhandled system error",
        "ncclUnhandledCudaError",
        "ncclSystemError",
    ),
    find=find_nccl_failure,
)


def _nccl_surroundings(facts: DeviceFacts) -> str:
    locked = facts.platform.locked_memory_mib
    return f"/dev/shm {facts.platform.shm_mib} MiB, locked memory {'no limit' if locked is None else f'{locked} MiB'}"


CAUSES = (VANISHED, MIXED, WATCHDOG, THROTTLING, SLOW_LINK, NCCL_HANGS, NCCL_FAILS)
