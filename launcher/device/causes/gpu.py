"""What keeps one GPU from being used: the first cause that fits, as pure rules."""

# ruff: noqa: ARG001 (every rule is asked the same way, whether or not it needs all the facts)

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from launcher.config.request import DeviceRequest
from launcher.device.arches import runs_on
from launcher.device.causes.evidence import BUSY, LAUNCH_TIMEOUT, OS_CALL, SYSTEM_NOT_READY, UNKNOWN, only_ops_failed
from launcher.device.cuda_codes import CUDA_ERRORS, Blame
from launcher.device.facts import DeviceFacts, GpuProcess
from launcher.device.gpus import GpuView

MIN_FREE_MIB = 256
"""CUDA's own context takes more. What a run wants beyond that is device.min_free_gib's to say."""
USUAL_FREE_MIB = DeviceRequest.min_free_gib * 1024
"""What a run wants unless told otherwise."""

PROHIBITED, EXCLUSIVE_PROCESS = 2, 3
RESET, REBOOT = 1, 2
# Draining peers or recovering an IMEX domain concerns the links between GPUs; these concern the GPU itself.
ACTIONS_AGAINST_USE = {RESET: "a reset", REBOOT: "a reboot", 4: "a drain and a reset", 6: "a bus reset", 7: "a reboot"}

OUT_OF_MEMORY, NO_KERNEL_IMAGE, NO_FUNCTION, PTX_TOO_NEW, ASSERT = 2, 209, 98, 222, 710
# Driver and system answer these too when they are set up wrongly, or when somebody else has the GPU.
ALSO_OF_SET_UP = {BUSY, 100, 101, OS_CALL, SYSTEM_NOT_READY, UNKNOWN}
# The smoke test's own code and indices are right, so what may be a program's fault in a training is the GPU's here.
SICK_CODES = {
    error.number: error.words
    for error in CUDA_ERRORS
    if error.number == ASSERT or (error.blame in (Blame.gpu, Blame.unclear) and error.number not in ALSO_OF_SET_UP)
}


@dataclass(frozen=True, kw_only=True)
class GpuProblem:
    code: str
    cause: str
    """Without the GPU's name."""
    evidence: tuple[str, ...]
    fix: str


def problem_with_gpu(facts: DeviceFacts, gpu: GpuView) -> GpuProblem | None:
    """Why this GPU must not be used, or None."""
    if gpu.smoke is not None and only_ops_failed(gpu.smoke):
        # That is a warning about detectron2's operators; what else is known of the GPU still counts.
        gpu = replace(gpu, smoke=None)
    return next((problem for rule in GPU_RULES if (problem := rule(facts, gpu))), None)


def _lost(facts: DeviceFacts, gpu: GpuView) -> GpuProblem | None:
    code = gpu.nvml.code if gpu.nvml else 0
    if not code:
        return None
    meaning = {15: "has fallen off the bus", 16: "needs a reset"}.get(code, "does not answer")
    return GpuProblem(
        code="gpu.sick",
        cause=meaning,
        evidence=(f"NVML error {code} for this GPU",),
        fix="power-cycle the machine (a reset is not always enough) and check `dmesg | grep Xid`",
    )


def _sliced(facts: DeviceFacts, gpu: GpuView) -> GpuProblem | None:
    if not (gpu.nvml and gpu.nvml.mig) or gpu.visible:
        return None
    return GpuProblem(
        code="gpu.mig",
        cause="is in MIG mode: only its slices can be used",
        evidence=("NVML: MIG mode is on",),
        fix="list the slices with `nvidia-smi -L`, set CUDA_VISIBLE_DEVICES=MIG-<uuid>; a slice serves one process",
    )


def _architecture(facts: DeviceFacts, gpu: GpuView) -> GpuProblem | None:
    has = facts.torch.architectures if facts.torch else ()
    # A missing kernel of torchvision's nms says nothing about torch's.
    own = gpu.smoke is not None and gpu.smoke.failed != "nms"
    refused = own and gpu.smoke is not None and gpu.smoke.code in (NO_KERNEL_IMAGE, NO_FUNCTION)
    if not gpu.visible or not has or (runs_on(has, gpu.capability, facts.packages.torch_cuda) and not refused):
        return None
    number = f"{gpu.capability[0]}.{gpu.capability[1]}"
    old = gpu.capability < (7, 5)
    return GpuProblem(
        code="arch.not_in_wheel",
        cause=f"has compute capability {number}, for which this torch has no code",
        evidence=(f"torch {facts.packages.torch} has code for {' '.join(has)}", *_smoke_evidence(gpu)),
        fix="install torch and torchvision built for "
        + ("CUDA 12.6, the last with code for older GPUs" if old else "a newer CUDA")
        + " (https://pytorch.org/get-started/locally), or run with device=cpu",
    )


def _prohibited(facts: DeviceFacts, gpu: GpuView) -> GpuProblem | None:
    mode = gpu.nvml.compute_mode if gpu.nvml else None
    holders = gpu.nvml.processes if gpu.nvml else ()
    if mode == PROHIBITED:
        return _busy("is set to prohibited compute mode", ("NVML: compute mode 2",), gpu)
    if mode == EXCLUSIVE_PROCESS and holders:
        return _busy(f"is held by {named(holders)}, one process at a time", ("NVML: compute mode 3",), gpu)
    if gpu.smoke is not None and gpu.smoke.code == BUSY:
        return _busy("is busy or unavailable", _smoke_evidence(gpu), gpu)
    return None


def _busy(cause: str, evidence: tuple[str, ...], gpu: GpuView) -> GpuProblem:
    fix = f"wait, choose another GPU with device.ids, or allow sharing with `sudo nvidia-smi -i {gpu.for_smi} -c 0`"
    return GpuProblem(code="gpu.busy", cause=cause, evidence=evidence, fix=fix)


def _sick_by_nvml(facts: DeviceFacts, gpu: GpuView) -> GpuProblem | None:
    if gpu.nvml is None:
        return None
    action = ACTIONS_AGAINST_USE.get(gpu.nvml.recovery_action)
    if not (action or gpu.nvml.repair_failed or (gpu.nvml.repair_pending and gpu.nvml.ecc_errors)):
        return None
    evidence = (
        f"NVML: {gpu.nvml.ecc_errors} uncorrected memory errors since the last reset",
        *(("NVML: a repair of memory rows waits for a reset",) if gpu.nvml.repair_pending else ()),
        *(("NVML: a repair of memory rows failed",) if gpu.nvml.repair_failed else ()),
        *((f"NVML advises {action}",) if action else ()),
    )
    fix = "have it replaced" if gpu.nvml.repair_failed else f"`sudo nvidia-smi --gpu-reset -i {gpu.for_smi}`, or reboot"
    return GpuProblem(code="gpu.sick", cause="reports damaged memory", evidence=evidence, fix=fix)


def _full(facts: DeviceFacts, gpu: GpuView) -> GpuProblem | None:
    by_nvml = gpu.visible and 0 <= gpu.free_mib < MIN_FREE_MIB and gpu.memory_mib > 0
    by_smoke = gpu.smoke is not None and gpu.smoke.code == OUT_OF_MEMORY
    if not (by_nvml or by_smoke):
        return None
    return _short_of_memory(gpu)


def _short_of_memory(gpu: GpuView) -> GpuProblem:
    holders = gpu.nvml.processes if gpu.nvml else ()
    by_whom = f", held by {named(holders)}" if holders else ""
    return GpuProblem(
        code="gpu.out_of_memory",
        cause=f"has {gpu.free_mib} of {gpu.memory_mib} MiB free{by_whom}",
        evidence=_smoke_evidence(gpu) or ("NVML's free memory",),
        fix="end those processes if they are yours (`kill <pid>`), choose another GPU with device.ids, or wait",
    )


def nearly_full(gpu: GpuView) -> GpuProblem | None:
    """A GPU that can be used, and that the default settings leave out."""
    if not gpu.memory_mib or gpu.free_mib >= USUAL_FREE_MIB:
        return None
    return replace(
        _short_of_memory(gpu), fix=f"{_short_of_memory(gpu).fix}; a smaller device.min_free_gib takes it as it is"
    )


def _smoke_hung(facts: DeviceFacts, gpu: GpuView) -> GpuProblem | None:
    if gpu.smoke is None or gpu.smoke.end.how != "hung":
        return None
    return GpuProblem(
        code="gpu.hangs",
        cause=f"did not finish the stage `{gpu.smoke.end.stage}` of the smoke test",
        evidence=_smoke_evidence(gpu),
        fix=f"`sudo nvidia-smi --gpu-reset -i {gpu.for_smi}`, or reboot; choose another GPU with device.ids meanwhile",
    )


def _smoke_died(facts: DeviceFacts, gpu: GpuView) -> GpuProblem | None:
    if gpu.smoke is None or gpu.smoke.end.how == "answered":
        return None
    return GpuProblem(
        code="gpu.crashes",
        cause=f"ends the process that uses it, in the stage `{gpu.smoke.end.stage}` of the smoke test",
        evidence=_smoke_evidence(gpu),
        fix="reinstall the NVIDIA driver and reboot; choose another GPU with device.ids meanwhile",
    )


def _ptx(facts: DeviceFacts, gpu: GpuView) -> GpuProblem | None:
    if gpu.smoke is None or gpu.smoke.code != PTX_TOO_NEW:
        return None
    return GpuProblem(
        code="driver.ptx_too_new",
        cause="would need a newer driver to translate this torch's code",
        evidence=_smoke_evidence(gpu),
        fix="update the NVIDIA driver, or install a torch built for an older CUDA",
    )


def _watchdog(facts: DeviceFacts, gpu: GpuView) -> GpuProblem | None:
    if gpu.smoke is None or gpu.smoke.code != LAUNCH_TIMEOUT or not (gpu.nvml and gpu.nvml.display):
        return None
    return GpuProblem(
        code="gpu.watchdog",
        cause="runs a screen, and the driver ended a kernel that took too long",
        evidence=(*_smoke_evidence(gpu), "NVML: display active"),
        fix="choose another GPU with device.ids, or end the graphical session (`sudo systemctl isolate multi-user`)",
    )


def _smoke_nms(facts: DeviceFacts, gpu: GpuView) -> GpuProblem | None:
    if gpu.smoke is None or gpu.smoke.failed != "nms" or gpu.smoke.code in SICK_CODES:
        return None
    return GpuProblem(
        code="torchvision.nms_fails",
        cause="computes, but torchvision's nms, which every detector needs, fails on it",
        evidence=(f"torchvision {facts.packages.torchvision}, torch {facts.packages.torch}", *_smoke_evidence(gpu)),
        fix="install torch and torchvision from the same place in one command (https://pytorch.org/get-started/locally)",
    )


def _cudnn(facts: DeviceFacts, gpu: GpuView) -> GpuProblem | None:
    if gpu.smoke is None or not gpu.smoke.failed or "cudnn" not in gpu.smoke.error.lower():
        return None
    packages = facts.packages.cudnn_packages
    return GpuProblem(
        code="torch.cudnn",
        cause="computes, but cuDNN does not: it is of another version than torch's, or incomplete",
        evidence=(
            *_smoke_evidence(gpu),
            *(f"LD_LIBRARY_PATH: {folder}" for folder in facts.system.cuda_folders),
            *((f"installed over each other: {', '.join(packages)}",) if len(packages) > 1 else ()),
        ),
        fix="`unset LD_LIBRARY_PATH`, remove a second nvidia-cudnn package, then reinstall torch",
    )


def _smoke_sick(facts: DeviceFacts, gpu: GpuView) -> GpuProblem | None:
    if gpu.smoke is None or not gpu.smoke.failed:
        return None
    wrong = gpu.smoke.error.startswith("wrong values")
    if not wrong and gpu.smoke.code not in SICK_CODES:
        return None
    return GpuProblem(
        code="gpu.sick",
        cause="computes wrong values" if wrong else f"fails: {SICK_CODES[gpu.smoke.code or 0]}",
        evidence=_smoke_evidence(gpu),
        fix=f"`sudo nvidia-smi --gpu-reset -i {gpu.for_smi}`, or reboot; if it comes back, have the GPU replaced",
    )


def _libraries(facts: DeviceFacts, gpu: GpuView) -> GpuProblem | None:
    if gpu.smoke is None or not any(name in gpu.smoke.error for name in ("CUBLAS", "libcu")):
        return None
    return GpuProblem(
        code="torch.libraries",
        cause="is there, but cuBLAS does not start on it",
        evidence=(*_smoke_evidence(gpu), f"LD_LIBRARY_PATH={facts.environment.get('LD_LIBRARY_PATH', '')}"),
        fix="unset LD_LIBRARY_PATH if it names other CUDA libraries, then reinstall torch",
    )


def _smoke_failed(facts: DeviceFacts, gpu: GpuView) -> GpuProblem | None:
    if gpu.smoke is None or not gpu.smoke.failed:
        return None
    return GpuProblem(
        code="unexplained",
        cause=f"fails the stage `{gpu.smoke.failed}` of the smoke test",
        evidence=_smoke_evidence(gpu),
        fix="run `launcher doctor --json` and search for the error text",
    )


def _smoke_evidence(gpu: GpuView) -> tuple[str, ...]:
    if gpu.smoke is None or not gpu.smoke.failed:
        return ()
    code = "" if gpu.smoke.code is None else f" with code {gpu.smoke.code}"
    error = gpu.smoke.error.partition("\n")[0] or _end_in_words(gpu)
    return (f"smoke test: `{gpu.smoke.failed}` failed{code}: {error}",)


def _end_in_words(gpu: GpuView) -> str:
    end = gpu.smoke.end if gpu.smoke else None
    if end is None:
        return ""
    if end.how == "answered":
        return "without a word"
    if end.how == "hung":
        return f"no answer after {end.seconds:.0f} s {end.kernel_state}".strip()
    return f"the process ended by {end.how} {end.number}"


def named(processes: tuple[GpuProcess, ...], at_most: int = 3) -> str:
    """`python (pid 12, 300 MiB)`, for people."""
    shown = [f"{process.command or 'a process'} ({', '.join(_about(process))})" for process in processes[:at_most]]
    return ", ".join(shown) + (f" and {len(processes) - at_most} more" if len(processes) > at_most else "")


def _about(process: GpuProcess) -> Iterator[str]:
    yield f"pid {process.pid}"
    if process.user:
        yield f"of {process.user}"
    if process.memory_mib is not None:
        yield f"{process.memory_mib} MiB"


GPU_RULES: tuple[Callable[[DeviceFacts, GpuView], GpuProblem | None], ...] = (
    _lost,
    _sliced,
    _architecture,
    _prohibited,
    _sick_by_nvml,
    _full,
    _smoke_hung,
    _smoke_died,
    _ptx,
    _watchdog,
    _smoke_nms,
    _smoke_sick,
    _cudnn,
    _libraries,
    _smoke_failed,
)
