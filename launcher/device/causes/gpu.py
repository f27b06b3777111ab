"""What keeps one GPU from being used, whether its own answers say so or cuInit for all of them."""

from __future__ import annotations

from launcher.config.request import DeviceRequest
from launcher.device.arches import runs_on
from launcher.device.causes.cause import UNREACHABLE, Cause, Evidence
from launcher.device.causes.evidence import (
    BUSY,
    ECC_ERROR,
    LAUNCH_TIMEOUT,
    OS_CALL,
    SYSTEM_NOT_READY,
    UNKNOWN,
    init_failed,
    passed,
    raw_codes,
    smoke_lines,
)
from launcher.device.causes.holders import named
from launcher.device.causes.texts import NO_GPUS, NO_IMAGE, PYTORCH_SITE
from launcher.device.cuda_codes import CUDA_ERRORS, Blame
from launcher.device.diagnosis import Severity
from launcher.device.facts import DeviceFacts
from launcher.device.gpus import GpuView

MIN_FREE_MIB = 256
"""CUDA's own context takes more. What a run wants beyond that is device.min_free_gib's to say."""
USUAL_FREE_MIB = DeviceRequest.min_free_gib * 1024
"""What a run wants by default."""

PROHIBITED, EXCLUSIVE_PROCESS = 2, 3
RESET, REBOOT = 1, 2
# Draining peers or recovering an IMEX domain concerns the links between GPUs; these concern the GPU itself.
ACTIONS_AGAINST_USE = {RESET: "a reset", REBOOT: "a reboot", 4: "a drain and a reset", 6: "a bus reset", 7: "a reboot"}
LOST, NEEDS_RESET = 15, 16

OUT_OF_MEMORY, NO_KERNEL_IMAGE, NO_FUNCTION, ASSERT = 2, 209, 98, 710
# Driver and system answer these too when they are set up wrongly, or when another process has the GPU.
ALSO_OF_SET_UP = {BUSY, 100, 101, OS_CALL, SYSTEM_NOT_READY, UNKNOWN}
# The smoke test's own code and indices are right, so what may be a program's fault in a training is the GPU's here.
SICK_CODES = {
    error.number: error.words
    for error in CUDA_ERRORS
    if error.number == ASSERT or (error.blame in (Blame.gpu, Blame.unclear) and error.number not in ALSO_OF_SET_UP)
}


# It is damaged


def ended_for_the_screen(gpu: GpuView) -> bool:
    """The driver ended a kernel because the GPU draws a screen."""
    shows_a_screen = gpu.nvml is not None and gpu.nvml.display
    return shows_a_screen and gpu.smoke is not None and gpu.smoke.code == LAUNCH_TIMEOUT


def find_sick(facts: DeviceFacts) -> Evidence | None:
    if not init_failed(facts, ECC_ERROR):
        return None
    return Evidence(title="the driver finds damaged memory in a GPU and gives none", lines=raw_codes(facts))


def find_sick_gpu(_: DeviceFacts, gpu: GpuView) -> Evidence | None:
    return _lost(gpu) or _damaged(gpu) or _failing(gpu)


def _lost(gpu: GpuView) -> Evidence | None:
    code = gpu.nvml.code if gpu.nvml else 0
    if not code or (code not in (LOST, NEEDS_RESET) and passed(gpu.smoke)):
        return None
    return Evidence(
        title={LOST: "has fallen off the bus", NEEDS_RESET: "needs a reset"}.get(code, "does not answer"),
        lines=(f"NVML error {code} for this GPU",),
        fix="power-cycle the machine (a reset is not always enough) and check `sudo dmesg | grep -i xid`",
    )


def _damaged(gpu: GpuView) -> Evidence | None:
    if gpu.nvml is None:
        return None
    action = ACTIONS_AGAINST_USE.get(gpu.nvml.recovery_action)
    if not (action or gpu.nvml.repair_failed or (gpu.nvml.repair_pending and gpu.nvml.ecc_errors)):
        return None
    return Evidence(
        title="reports damaged memory",
        lines=(
            f"NVML: {gpu.nvml.ecc_errors} uncorrected memory errors since the last reset",
            *(("NVML: a repair of memory rows waits for a reset",) if gpu.nvml.repair_pending else ()),
            *(("NVML: a repair of memory rows failed",) if gpu.nvml.repair_failed else ()),
            *((f"NVML advises {action}",) if action else ()),
        ),
        fix="have it replaced" if gpu.nvml.repair_failed else f"{_reset(gpu)}, or reboot",
    )


def _failing(gpu: GpuView) -> Evidence | None:
    # Wrong values of torchvision's nms say nothing about the GPU; and for a screen kernels are ended on purpose.
    if gpu.smoke is None or not gpu.smoke.failed or ended_for_the_screen(gpu):
        return None
    wrong = gpu.smoke.failed != "nms" and gpu.smoke.wrong_values
    if not wrong and gpu.smoke.code not in SICK_CODES:
        return None
    return Evidence(
        title="computes wrong values" if wrong else f"fails: {SICK_CODES[gpu.smoke.code or 0]}",
        lines=smoke_lines(gpu),
        fix=f"{_reset(gpu)}, or reboot; if it comes back, have the GPU replaced",
    )


def _reset(gpu: GpuView) -> str:
    return f"`sudo nvidia-smi --gpu-reset -i {gpu.for_smi}`"


SICK = Cause(
    code="gpu.sick",
    title="the GPU is damaged, lost or computes wrong values",
    meaning="The GPU reports damaged memory, has left the bus, fails simple kernels, or its results differ from the "
    "CPU's. It is excluded; the others are used.",
    fix="`sudo nvidia-smi --gpu-reset -i <index>`, or power-cycle the machine; `sudo dmesg | grep -i xid` and "
    "`nvidia-smi -q -d ECC` show which GPU and why; check power and cooling; if it comes back, have the GPU replaced",
    symptoms=(
        "uncorrectable ECC error encountered",
        "cudaErrorECCUncorrectable",
        "GPU is lost",
        "has fallen off the bus",
        "Unable to determine the device handle for GPU",
        "GPU requires reset",
        "Error 101: invalid device ordinal",
        "Error 101:",
        "Error 214:",
        "uncorrectable NVLink error",
        "Error 220:",
        "Error 226:",
        "hardware stack error",
        "Error 714:",
    ),
    find=find_sick,
    find_on_gpu=find_sick_gpu,
    hides=UNREACHABLE,
    blocks=True,
)


# It is not to be had as it is


def find_mig(_: DeviceFacts, gpu: GpuView) -> Evidence | None:
    if not (gpu.nvml and gpu.nvml.mig) or gpu.visible:
        return None
    return Evidence(title="is in MIG mode: only its MIG instances can be used", lines=("NVML: MIG mode is on",))


MIG = Cause(
    code="gpu.mig",
    severity=Severity.warning,
    title="MIG mode without a MIG instance to use",
    meaning="The GPU is divided into MIG instances, or could be, and this process was given none. The whole GPU cannot "
    "be used in that mode.",
    fix="list the MIG instances with `nvidia-smi -L`, set CUDA_VISIBLE_DEVICES=MIG-<uuid>; one instance serves one "
    "process, and training on several together does not work",
    symptoms=(NO_GPUS,),
    find_on_gpu=find_mig,
)


def find_no_code(facts: DeviceFacts, gpu: GpuView) -> Evidence | None:
    has = facts.torch.architectures if facts.torch else ()
    # A missing kernel of torchvision's nms says nothing about torch's.
    own = gpu.smoke is not None and gpu.smoke.failed != "nms"
    refused = own and gpu.smoke is not None and gpu.smoke.code in (NO_KERNEL_IMAGE, NO_FUNCTION)
    served = runs_on(has, gpu.capability, facts.packages.torch_cuda) and not refused
    multiplied = gpu.smoke is not None and "matmul" in gpu.smoke.passed
    if not gpu.visible or not has or served or multiplied:
        return None
    number = f"{gpu.capability[0]}.{gpu.capability[1]}"
    which = "CUDA 12.6, the last with code for older GPUs" if gpu.capability < (7, 5) else "a newer CUDA"
    return Evidence(
        title=f"has compute capability {number}, for which this torch has no code",
        lines=(f"torch {facts.packages.torch} has code for {' '.join(has)}", *smoke_lines(gpu)),
        fix=f"install torch and torchvision built for {which} ({PYTORCH_SITE}), or run with device=cpu",
    )


NO_CODE = Cause(
    code="arch.not_in_wheel",
    title="this torch has no code for the GPU",
    meaning="torch is compiled for a list of compute capabilities; the GPU is older or newer than all of them. "
    "is_available() is True, the first kernel fails. In the middle of a training it can also be a compiled extension "
    "that lacks code for the GPU.",
    fix=f"install torch and torchvision built for another CUDA ({PYTORCH_SITE}): 12.6 is the last for GPUs below 7.5, "
    "the newest has the newest GPUs; else another GPU, or device=cpu",
    symptoms=(
        NO_IMAGE,
        "cudaErrorNoKernelImageForDevice",
        "Error 209:",
        "is not compatible with the current PyTorch installation",
        "which is of compute capability (CC)",
    ),
    find_on_gpu=find_no_code,
)


def find_busy(facts: DeviceFacts) -> Evidence | None:
    if not init_failed(facts, BUSY):
        return None
    return Evidence(title="the driver reports that the GPUs are busy or unavailable", lines=raw_codes(facts))


def find_busy_gpu(_: DeviceFacts, gpu: GpuView) -> Evidence | None:
    mode = gpu.nvml.compute_mode if gpu.nvml else None
    holders = gpu.nvml.processes if gpu.nvml else ()
    # Through NVIDIA's multi-process service (MPS) several share what one process holds.
    if passed(gpu.smoke):
        return None
    if mode == PROHIBITED:
        return _busy(gpu, "is set to prohibited compute mode", ("NVML: compute mode 2",))
    if mode == EXCLUSIVE_PROCESS and holders:
        return _busy(gpu, f"is held by {named(holders)}, one process at a time", ("NVML: compute mode 3",))
    if gpu.smoke is not None and gpu.smoke.code == BUSY:
        return _busy(gpu, "is busy or unavailable", smoke_lines(gpu))
    return None


def _busy(gpu: GpuView, title: str, lines: tuple[str, ...]) -> Evidence:
    fix = f"wait, choose another GPU with device.ids, or allow sharing with `sudo nvidia-smi -i {gpu.for_smi} -c 0`"
    return Evidence(title=title, lines=lines, fix=fix)


BUSY_GPU = Cause(
    code="gpu.busy",
    title="another process has the GPU for itself",
    meaning="The GPU is in exclusive mode and a process computes on it, or in prohibited mode. is_available() is True "
    "all the same; the first tensor fails.",
    fix="wait (`nvidia-smi` shows whose process has it), choose another GPU with device.ids, or allow sharing with "
    "`sudo nvidia-smi -i <index> -c 0`",
    symptoms=("CUDA-capable device(s) is/are busy or unavailable", "cudaErrorDevicesUnavailable", "Error 46:"),
    find=find_busy,
    find_on_gpu=find_busy_gpu,
    hides=UNREACHABLE,
    blocks=True,
)


# Its memory and its time are others'


def find_full(_: DeviceFacts, gpu: GpuView) -> Evidence | None:
    by_nvml = gpu.visible and 0 <= gpu.free_mib < MIN_FREE_MIB and gpu.memory_mib > 0
    by_smoke = gpu.smoke is not None and gpu.smoke.code == OUT_OF_MEMORY
    # One that can be used, and that the default settings leave out.
    nearly = gpu.memory_mib > 0 and gpu.free_mib < USUAL_FREE_MIB
    if not (by_nvml or by_smoke or nearly):
        return None
    holders = gpu.nvml.processes if gpu.nvml else ()
    by_whom = f", held by {named(holders)}" if holders else ""
    is_note = not (by_nvml or by_smoke)
    return Evidence(
        title=f"has {gpu.free_mib} of {gpu.memory_mib} MiB free{by_whom}",
        lines=smoke_lines(gpu) or ("NVML's free memory",),
        fix=f"{END_THEM}; a smaller device.min_free_gib takes it as it is" if is_note else END_THEM,
        is_note=is_note,
    )


END_THEM = "end those processes if they are yours (`kill <pid>`), choose another GPU with device.ids, or wait"

FULL = Cause(
    code="gpu.out_of_memory",
    severity=Severity.warning,
    title="the GPU's memory is taken by others before the start",
    meaning="Less is free than device.min_free_gib asks for (1 GiB by default), or not even a CUDA context fits. "
    "cuBLAS and cuDNN then often report that they are not initialized.",
    fix=f"`launcher doctor` names the processes: {END_THEM}",
    symptoms=(
        "CUDA error: out of memory",
        "cudaErrorMemoryAllocation",
        "Error 2: out of memory",
        "CUDA error 2",
        "cuDNN error: CUDNN_STATUS_NOT_INITIALIZED",
        "CUBLAS_STATUS_ALLOC_FAILED",
    ),
    find_on_gpu=find_full,
)


def find_sharers(_: DeviceFacts, gpu: GpuView) -> Evidence | None:
    holders = gpu.nvml.processes if gpu.nvml else ()
    if not holders:
        return None
    return Evidence(
        title=f"is shared with {named(holders)}",
        lines=(f"{gpu.free_mib} of {gpu.memory_mib} MiB are free",),
        is_note=True,
    )


SHARED = Cause(
    code="gpu.shared",
    severity=Severity.info,
    title="others compute on the GPU too",
    meaning="The GPU can be used and others use it: it may be slower, and memory may run out later.",
    fix="choose another GPU with device.ids if the run needs it whole",
    find_on_gpu=find_sharers,
)


# Whoever uses it hangs or crashes


def find_hanging_gpu(_: DeviceFacts, gpu: GpuView) -> Evidence | None:
    if gpu.smoke is None or gpu.smoke.end.how != "hung":
        return None
    return Evidence(
        title=f"did not finish the stage `{gpu.smoke.end.stage}` of the smoke test",
        lines=smoke_lines(gpu),
        fix=f"{_reset(gpu)}, or reboot; choose another GPU with device.ids meanwhile",
    )


HANGS = Cause(
    code="gpu.hangs",
    title="the GPU never finishes what it is given",
    meaning="A stage of the smoke test passed its deadline: a kernel that never ends, or a GPU that is stuck.",
    fix="`sudo nvidia-smi --gpu-reset -i <index>`, or reboot; choose another GPU with device.ids meanwhile",
    find_on_gpu=find_hanging_gpu,
)


def find_crashing_gpu(_: DeviceFacts, gpu: GpuView) -> Evidence | None:
    if gpu.smoke is None or gpu.smoke.end.how in ("answered", "hung"):
        return None
    return Evidence(
        title=f"crashes the process in smoke-test stage `{gpu.smoke.end.stage}`",
        lines=smoke_lines(gpu),
    )


CRASHES = Cause(
    code="gpu.crashes",
    title="using the GPU crashes the process",
    meaning="The smoke test on this GPU was ended by a signal.",
    fix="reinstall the NVIDIA driver and reboot; choose another GPU with device.ids meanwhile",
    find_on_gpu=find_crashing_gpu,
)

CAUSES = (SICK, MIG, NO_CODE, BUSY_GPU, FULL, SHARED, HANGS, CRASHES)
