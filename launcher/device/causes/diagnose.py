"""What the facts mean: which causes are reported, which GPUs can be used, the verdict. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from launcher.device.causes.catalogue import CAUSES
from launcher.device.causes.cause import Cause, Evidence
from launcher.device.causes.evidence import driver_is_dangerous, only_ops_failed
from launcher.device.causes.gpu import FULL, MIG
from launcher.device.causes.unexplained import UNEXPLAINED, what_was_seen
from launcher.device.causes.visible import HIDDEN, WRONG
from launcher.device.diagnosis import Diagnosis, ExcludedGpu, Finding, Severity, UsableGpu, can_train_on, in_order
from launcher.device.facts import DeviceFacts
from launcher.device.gpus import GpuView, merge_gpus

SEVERITIES = (Severity.error, Severity.warning, Severity.info)

Found = tuple[Cause, Finding]
OnGpu = tuple[Cause, Evidence]


@dataclass(frozen=True, kw_only=True)
class Sorted:
    """The GPUs of a machine: those that a run may get, those that it must not, and what was found about each."""

    usable: tuple[GpuView, ...]
    excluded: tuple[ExcludedGpu, ...]
    findings: tuple[Finding, ...]


def diagnose(facts: DeviceFacts) -> Diagnosis:
    """What the facts mean for a detectron2 run: root causes, and the GPUs that can be used."""
    roots = _root_causes(facts)
    blocking = next((finding for cause, finding in roots if cause.blocks), None)
    gpus = _sort_gpus(facts, blocking)
    usable = tuple(usable_gpu(gpu) for gpu in sorted(gpus.usable, key=_worst_last))
    findings = [
        *(finding for _, finding in roots),
        *(finding for finding in gpus.findings if not any(cause.covers(finding.code) for cause, _ in roots)),
    ]
    if not usable and blocking is None and not any(_explains(finding) for finding in findings):
        findings.append(_finding(UNEXPLAINED, what_was_seen(facts)))
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    fatal = tuple(finding for cause, finding in roots if cause.fatal)
    why_none = None if usable else blocking or findings[0]
    return Diagnosis(
        verdict=_verdict(fatal, usable, why_none),
        findings=tuple(findings),
        usable_gpus=usable,
        driver_is_dangerous=driver_is_dangerous(facts),
        gpus_allocated=bool(facts.job.promised_gpus),
        excluded_gpus=gpus.excluded,
        blocking=why_none,
        fatal=fatal,
        num_cpus=facts.platform.num_cpus,
        shm_mib=facts.platform.shm_there_mib,
        started_by=facts.job.started_by,
        num_launchers=facts.job.num_tasks,
        num_nodes=facts.job.node.count,
    )


def _root_causes(facts: DeviceFacts) -> list[Found]:
    """What is found and does not follow from something else; of two that hide each other the earlier stays."""
    found: list[Found] = []
    for cause in CAUSES:
        if any(root.covers(cause.code) for root, _ in found):
            continue
        if (evidence := cause.look(facts)) is not None:
            found = [(root, finding) for root, finding in found if not cause.covers(root.code)]
            found.append((cause, _finding(cause, evidence)))
    # What keeps even the CPU from training comes before what keeps the GPUs from it.
    return sorted(found, key=lambda one: not one[0].fatal)


def _finding(cause: Cause, evidence: Evidence) -> Finding:
    return Finding(
        code=cause.code,
        severity=cause.severity,
        cause=evidence.title or cause.title,
        evidence=evidence.lines,
        fix=evidence.fix or cause.fix,
    )


def _explains(finding: Finding) -> bool:
    """Why no GPU is left."""
    return finding.severity is Severity.error or finding.code == WRONG.code


def _verdict(fatal: tuple[Finding, ...], usable: tuple[UsableGpu, ...], why_none: Finding | None) -> str:
    if fatal:
        return "detectron2 cannot train here: " + "; ".join(finding.cause for finding in fatal)
    if why_none is not None:
        return f"detectron2 will run on the CPU: {why_none.cause}"
    return can_train_on(usable)


# The GPUs


def _sort_gpus(facts: DeviceFacts, blocking: Finding | None) -> Sorted:
    usable: list[GpuView] = []
    excluded: list[ExcludedGpu] = []
    problems: list[Finding] = []
    notes: list[Finding] = []
    for gpu in merge_gpus(facts):
        problem, note = _found_on(facts, gpu)
        if problem:
            problems.append(replace(_about(gpu, *problem), severity=Severity.warning))
        if problem or blocking or not gpu.visible or _torch_sees_none(facts, gpu):
            excluded.append(_excluded(gpu, *_why_excluded(facts, gpu, problem, blocking)))
        else:
            usable.append(gpu)
            notes += [_about(gpu, *note)] if note else []
    return Sorted(usable=tuple(usable), excluded=tuple(excluded), findings=_weighed(usable, problems, notes))


def _weighed(usable: list[GpuView], problems: list[Finding], notes: list[Finding]) -> tuple[Finding, ...]:
    """What is wrong with GPUs is an error where no other is left to train on."""
    nearly_full = [note for note in notes if note.code == FULL.code]
    others = [note for note in notes if note.code != FULL.code]
    wrong = [*problems, *nearly_full]
    if len(nearly_full) == len(usable):
        wrong = [replace(finding, severity=Severity.error) for finding in wrong]
    elif any(gpu.uuid.startswith("MIG-") for gpu in usable):
        # That a whole GPU is divided is how it should be where one of its instances is used.
        wrong = [finding for finding in wrong if finding.code != MIG.code]
    return (*wrong, *others)


def _found_on(facts: DeviceFacts, gpu: GpuView) -> tuple[OnGpu | None, OnGpu | None]:
    """Why this GPU must not be used, and what is worth knowing if it is: the first cause that fits each."""
    if gpu.smoke is not None and only_ops_failed(gpu.smoke):
        # That is a warning about detectron2's operators; what else is known of the GPU still counts.
        gpu = replace(gpu, smoke=None)
    looks = ((cause, cause.find_on_gpu(facts, gpu)) for cause in CAUSES if cause.find_on_gpu)
    found = [(cause, evidence) for cause, evidence in looks if evidence is not None]
    problem = next((one for one in found if not one[1].is_note), None)
    return problem, next((one for one in found if one[1].is_note), None)


def _about(gpu: GpuView, cause: Cause, evidence: Evidence) -> Finding:
    finding = _finding(cause, evidence)
    return replace(finding, cause=f"{gpu.label} {finding.cause}", gpu=gpu.uuid)


def _excluded(gpu: GpuView, code: str, cause: str) -> ExcludedGpu:
    return ExcludedGpu(index=gpu.index, uuid=gpu.uuid, name=gpu.name, code=code, cause=cause)


def _why_excluded(facts: DeviceFacts, gpu: GpuView, problem: OnGpu | None, blocking: Finding | None) -> tuple[str, str]:
    """The code, and a clause that continues the GPU's name or explains its absence."""
    if problem:
        cause, evidence = problem
        return cause.code, evidence.title or cause.title
    if blocking:
        return blocking.code, blocking.cause
    if gpu.visible:
        return UNEXPLAINED.code, "torch does not see it"
    if "CUDA_VISIBLE_DEVICES" in facts.environment:
        return HIDDEN.code, f"hidden by CUDA_VISIBLE_DEVICES={facts.environment['CUDA_VISIBLE_DEVICES']!r}"
    return HIDDEN.code, "the driver does not show it to this process"


def _torch_sees_none(facts: DeviceFacts, gpu: GpuView) -> bool:
    return gpu.smoke is None and facts.torch is not None and facts.torch.is_available is False


def _worst_last(gpu: GpuView) -> tuple[int, tuple[bool, int]]:
    return -gpu.free_mib, in_order(gpu.index)


def usable_gpu(gpu: GpuView) -> UsableGpu:
    """A GPU as a diagnosis has it."""
    return UsableGpu(
        index=gpu.index,
        uuid=gpu.uuid,
        name=gpu.name,
        capability=gpu.capability,
        memory_mib=gpu.memory_mib,
        free_mib=gpu.free_mib,
    )
