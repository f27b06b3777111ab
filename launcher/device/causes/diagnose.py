"""What the facts mean: the order of the rules, which cause hides which consequence, the verdict. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatch

from launcher.device.causes import driver as machine
from launcher.device.causes import surroundings as around
from launcher.device.causes import torch as software
from launcher.device.causes.evidence import Seen, raw_codes
from launcher.device.causes.gpu import GpuProblem, named, nearly_full, problem_with_gpu
from launcher.device.diagnosis import Diagnosis, ExcludedGpu, Finding, Severity, UsableGpu, can_train_on, in_order
from launcher.device.facts import DeviceFacts
from launcher.device.gpus import GpuView, merged_gpus


@dataclass(frozen=True, kw_only=True)
class Rule:
    code: str
    severity: Severity
    find: Callable[[DeviceFacts], Seen | None]
    hides: tuple[str, ...] = ()
    """Codes, with `*`, that follow from this one."""
    blocks: bool = False
    """It explains that no GPU can be used."""
    fatal: bool = False
    """Not even the CPU can train."""


ERROR, WARNING, INFO = Severity.error, Severity.warning, Severity.info
UNREACHABLE = ("driver.*", "nvml.*", "visible.*", "gpu.*", "container.*", "torch.not_for_jetson", "libraries.*")
CPU_ONLY = ("torch.cpu_only", "torchvision.cpu_only")
NO_TORCHVISION = ("torchvision.*", "detectron2.broken", "detectron2.ops_*")
NO_TORCH = (*NO_TORCHVISION, "torch.*", "libraries.*")

# From the root to the leaves: a rule is only asked for what no earlier one hides.
RULES = (
    Rule(code="torch.missing", severity=ERROR, find=software.torch_missing, hides=("torch.*", "torchvision.*"),
         blocks=True, fatal=True),
    Rule(code="detectron2.missing", severity=ERROR, find=software.detectron2_missing, hides=("detectron2.*",),
         fatal=True),
    Rule(code="torch.cxx_runtime", severity=ERROR, find=software.torch_cxx_runtime, hides=NO_TORCH, blocks=True,
         fatal=True),
    Rule(code="torch.missing_library", severity=ERROR, find=software.torch_missing_library, hides=NO_TORCH,
         blocks=True, fatal=True),
    Rule(code="torch.mixed_libraries", severity=ERROR, find=software.torch_mixed_libraries, hides=NO_TORCH,
         blocks=True, fatal=True),
    Rule(code="torch.broken", severity=ERROR, find=software.torch_broken, hides=NO_TORCH, blocks=True, fatal=True),
    Rule(code="torchvision.other_torch", severity=ERROR, find=software.torchvision_other_torch, hides=NO_TORCHVISION,
         fatal=True),
    Rule(code="torchvision.broken", severity=ERROR, find=software.torchvision_broken, hides=NO_TORCHVISION, fatal=True),
    Rule(code="detectron2.broken", severity=ERROR, find=software.detectron2_broken, hides=("detectron2.*",),
         fatal=True),
    Rule(code="mps.unsupported", severity=INFO, find=machine.mps_unsupported, hides=(*UNREACHABLE, *CPU_ONLY),
         blocks=True),
    Rule(code="driver.hangs", severity=ERROR, find=machine.driver_hangs, hides=(*UNREACHABLE, "scheduler.*"),
         blocks=True),
    Rule(code="driver.crashes", severity=ERROR, find=machine.driver_crashes, hides=(*UNREACHABLE, "scheduler.*"),
         blocks=True),
    Rule(code="scheduler.none_given", severity=INFO, find=machine.scheduler_gave_none,
         hides=(*UNREACHABLE, *CPU_ONLY, "torch.wrong_vendor"), blocks=True),
    Rule(code="gpu.amd", severity=INFO, find=machine.amd_gpu, hides=(*UNREACHABLE, *CPU_ONLY), blocks=True),
    Rule(code="gpu.none", severity=INFO, find=machine.no_gpu, hides=(*UNREACHABLE, *CPU_ONLY), blocks=True),
    Rule(code="torch.not_for_jetson", severity=ERROR, find=software.torch_not_for_jetson,
         hides=("torch.cpu_only", "driver.too_old", "arch.*", "unexplained"), blocks=True),
    Rule(code="gpu.given_to_vm", severity=ERROR, find=machine.gpu_given_to_vm, hides=UNREACHABLE, blocks=True),
    Rule(code="container.lost_gpu", severity=ERROR, find=machine.container_lost_gpu, hides=UNREACHABLE, blocks=True),
    Rule(code="container.no_gpu", severity=ERROR, find=machine.container_without_gpu, hides=UNREACHABLE, blocks=True),
    Rule(code="driver.wsl", severity=ERROR, find=machine.wsl_driver, hides=UNREACHABLE, blocks=True),
    Rule(code="driver.nouveau", severity=ERROR, find=machine.nouveau, hides=UNREACHABLE, blocks=True),
    Rule(code="driver.stub", severity=ERROR, find=machine.driver_stub, hides=UNREACHABLE, blocks=True),
    Rule(code="driver.empty_library", severity=ERROR, find=machine.driver_empty_library, hides=UNREACHABLE,
         blocks=True),
    Rule(code="driver.absent", severity=ERROR, find=machine.driver_absent, hides=UNREACHABLE, blocks=True),
    Rule(code="driver.not_loaded", severity=ERROR, find=machine.driver_not_loaded, hides=UNREACHABLE, blocks=True),
    Rule(code="driver.no_library", severity=ERROR, find=machine.driver_no_library, hides=UNREACHABLE, blocks=True),
    Rule(code="driver.compat", severity=ERROR, find=machine.driver_compat, hides=UNREACHABLE, blocks=True),
    Rule(code="driver.mismatch", severity=ERROR, find=machine.driver_mismatch,
         hides=(*UNREACHABLE, "unexplained"), blocks=True),
    Rule(code="driver.permission", severity=ERROR, find=machine.driver_permission, hides=UNREACHABLE, blocks=True),
    Rule(code="driver.confidential", severity=ERROR, find=machine.driver_confidential, hides=UNREACHABLE, blocks=True),
    Rule(code="driver.fabric", severity=ERROR, find=machine.driver_fabric, hides=UNREACHABLE, blocks=True),
    Rule(code="driver.mps_daemon", severity=ERROR, find=machine.driver_mps_daemon, hides=UNREACHABLE, blocks=True),
    Rule(code="driver.not_licensed", severity=ERROR, find=machine.driver_not_licensed, hides=UNREACHABLE, blocks=True),
    Rule(code="driver.no_nodes", severity=ERROR, find=machine.driver_no_nodes, hides=UNREACHABLE, blocks=True),
    Rule(code="driver.uvm", severity=ERROR, find=machine.driver_uvm, hides=UNREACHABLE, blocks=True),
    Rule(code="driver.not_initialized", severity=ERROR, find=machine.driver_not_initialized, hides=UNREACHABLE,
         blocks=True),
    Rule(code="gpu.busy", severity=ERROR, find=machine.gpus_busy, hides=UNREACHABLE, blocks=True),
    Rule(code="gpu.sick", severity=ERROR, find=machine.gpus_sick, hides=UNREACHABLE, blocks=True),
    Rule(code="driver.too_old", severity=ERROR, find=machine.driver_too_old,
         hides=("gpu.*", "arch.*", "visible.*", "unexplained"), blocks=True),
    Rule(code="torch.cpu_only", severity=ERROR, find=software.torch_cpu_only, blocks=True),
    Rule(code="torch.wrong_vendor", severity=ERROR, find=software.torch_wrong_vendor, blocks=True),
    Rule(code="torchvision.cpu_only", severity=ERROR, find=software.torchvision_cpu_only,
         hides=("torchvision.nms_fails",), blocks=True),
    Rule(code="visible.empty", severity=WARNING, find=machine.visible_empty, hides=("nvml.*", "gpu.mig"), blocks=True),
    Rule(code="visible.wrong", severity=WARNING, find=machine.visible_wrong, hides=("gpu.mig",)),
    Rule(code="torch.slow", severity=WARNING, find=software.torch_slow),
    Rule(code="detectron2.shadowed", severity=WARNING, find=software.detectron2_shadowed,
         hides=("detectron2.no_ops",)),
    Rule(code="detectron2.ops_other_python", severity=WARNING, find=software.detectron2_ops_other_python,
         hides=("detectron2.ops_*",)),
    Rule(code="detectron2.ops_cxx_runtime", severity=WARNING, find=software.detectron2_ops_cxx_runtime,
         hides=("detectron2.ops_*",)),
    Rule(code="detectron2.ops_other_cuda", severity=WARNING, find=software.detectron2_ops_other_cuda,
         hides=("detectron2.ops_*",)),
    Rule(code="detectron2.ops_other_torch", severity=WARNING, find=software.detectron2_ops_other_torch,
         hides=("detectron2.ops_*",)),
    Rule(code="detectron2.ops_broken", severity=WARNING, find=software.detectron2_ops_broken,
         hides=("detectron2.ops_*",)),
    Rule(code="detectron2.ops_cpu_only", severity=WARNING, find=software.detectron2_ops_cpu_only,
         hides=("detectron2.ops_*",)),
    Rule(code="detectron2.ops_arch", severity=WARNING, find=software.detectron2_ops_arch,
         hides=("detectron2.ops_fail",)),
    Rule(code="detectron2.ops_fail", severity=WARNING, find=software.detectron2_ops_fail),
    Rule(code="detectron2.no_ops", severity=INFO, find=software.detectron2_no_ops),
    Rule(code="gpu.vanished", severity=WARNING, find=around.gpu_vanished),
    Rule(code="nvml.failed", severity=WARNING, find=around.nvml_silent),
    Rule(code="nccl.hangs", severity=WARNING, find=around.nccl_hangs, hides=("nccl.failed",)),
    Rule(code="nccl.failed", severity=WARNING, find=around.nccl_failed),
    Rule(code="shm.small", severity=WARNING, find=around.shm_small),
    Rule(code="disk.full", severity=WARNING, find=around.disk_full),
    Rule(code="memory.small", severity=WARNING, find=around.memory_small),
    Rule(code="limits.open_files", severity=WARNING, find=around.open_files_few),
    Rule(code="limits.locked_memory", severity=INFO, find=around.locked_memory_small),
    Rule(code="libraries.mixed", severity=INFO, find=around.libraries_mixed),
    Rule(code="gpu.mixed", severity=INFO, find=around.gpu_mixed),
    Rule(code="gpu.watchdog", severity=INFO, find=around.gpu_watchdog),
    Rule(code="gpu.throttled", severity=INFO, find=around.gpu_throttled),
    Rule(code="gpu.slow_link", severity=INFO, find=around.gpu_slow_link),
    Rule(code="driver.slow_start", severity=INFO, find=around.driver_slow_start),
)  # fmt: skip

FATAL_CODES = frozenset(rule.code for rule in RULES if rule.fatal)


def diagnose(facts: DeviceFacts) -> Diagnosis:
    """What the facts mean for a detectron2 run: root causes, and the GPUs that can be used."""
    found = _root_causes(facts)
    blocking = [finding for rule, finding in found if rule.blocks]
    usable, excluded, per_gpu = _sorted_out(facts, blocking)
    hidden = [pattern for rule, _ in found for pattern in rule.hides]
    findings = [
        *(finding for _, finding in found),
        *(finding for finding in per_gpu if not _hidden(finding.code, hidden)),
        *_shared(facts, usable),
    ]
    explained = blocking or any(finding.severity is ERROR or finding.code == "visible.wrong" for finding in findings)
    if not usable and not explained:
        findings.append(_unexplained(facts))
    findings.sort(key=lambda finding: [ERROR, WARNING, INFO].index(finding.severity))
    fatal = [finding for rule, finding in found if rule.fatal]
    return Diagnosis(
        verdict=_verdict(fatal, usable, [*blocking, *findings]),
        findings=tuple(findings),
        usable_gpus=usable,
        driver_is_dangerous=bool(machine.driver_hangs(facts) or machine.driver_crashes(facts)),
        gpus_promised=bool(facts.job.promised_gpus),
        excluded_gpus=excluded,
        num_cpus=facts.platform.num_cpus,
        started_by=facts.job.started_by,
        num_launchers=facts.job.num_tasks,
    )


def _root_causes(facts: DeviceFacts) -> list[tuple[Rule, Finding]]:
    found: list[tuple[Rule, Finding]] = []
    for rule in RULES:
        if _hidden(rule.code, [pattern for earlier, _ in found for pattern in earlier.hides]):
            continue
        if (what := rule.find(facts)) is not None:
            found.append((rule, _finding(rule.code, rule.severity, what)))
    return found


def _finding(code: str, severity: Severity, what: Seen) -> Finding:
    return Finding(code=code, severity=severity, cause=what.cause, evidence=what.evidence, fix=what.fix)


def _hidden(code: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch(code, pattern) for pattern in patterns)


def _sorted_out(
    facts: DeviceFacts, blocking: list[Finding]
) -> tuple[tuple[UsableGpu, ...], tuple[ExcludedGpu, ...], list[Finding]]:
    """The GPUs that a run may get, those it must not, and a finding for each of the latter."""
    usable: list[GpuView] = []
    excluded: list[ExcludedGpu] = []
    findings: list[Finding] = []
    for gpu in merged_gpus(facts):
        problem = problem_with_gpu(facts, gpu)
        if problem:
            findings.append(_finding_about(gpu, problem))
            excluded.append(_excluded(gpu, problem.code, problem.cause))
        elif not gpu.visible:
            excluded.append(_excluded(gpu, *_why_not_shown(facts, blocking)))
        elif blocking:
            excluded.append(_excluded(gpu, blocking[0].code, blocking[0].cause))
        elif _torch_sees_none(facts, gpu):
            excluded.append(_excluded(gpu, "unexplained", "torch does not see it"))
        else:
            usable.append(gpu)
    full = {gpu.uuid: problem for gpu in usable if (problem := nearly_full(gpu))}
    findings += [_finding_about(gpu, full[gpu.uuid]) for gpu in usable if gpu.uuid in full]
    if len(full) == len(usable):
        findings = [_with_severity(finding, ERROR) for finding in findings]
    elif any(gpu.uuid.startswith("MIG-") for gpu in usable):
        # That a whole GPU is cut into slices is how it should be where one of them is used.
        findings = [finding for finding in findings if finding.code != "gpu.mig"]
    return tuple(_usable(gpu) for gpu in sorted(usable, key=_worst_last)), tuple(excluded), findings


def _finding_about(gpu: GpuView, problem: GpuProblem) -> Finding:
    return Finding(
        code=problem.code,
        severity=WARNING,
        cause=f"{gpu.called} {problem.cause}",
        evidence=problem.evidence,
        fix=problem.fix,
    )


def _excluded(gpu: GpuView, code: str, cause: str) -> ExcludedGpu:
    return ExcludedGpu(index=gpu.index, uuid=gpu.uuid, name=gpu.name, code=code, cause=cause)


def _why_not_shown(facts: DeviceFacts, blocking: list[Finding]) -> tuple[str, str]:
    if blocking:
        return blocking[0].code, blocking[0].cause
    if "CUDA_VISIBLE_DEVICES" in facts.environment:
        return "visible.hidden", f"hidden by CUDA_VISIBLE_DEVICES={facts.environment['CUDA_VISIBLE_DEVICES']!r}"
    return "visible.hidden", "the driver does not show it to this process"


def _torch_sees_none(facts: DeviceFacts, gpu: GpuView) -> bool:
    return gpu.smoke is None and facts.torch is not None and facts.torch.is_available is False


def _worst_last(gpu: GpuView) -> tuple[int, tuple[bool, int]]:
    return -gpu.free_mib, in_order(gpu.index)


def _usable(gpu: GpuView) -> UsableGpu:
    return UsableGpu(
        index=gpu.index,
        uuid=gpu.uuid,
        name=gpu.name,
        capability=gpu.capability,
        memory_mib=gpu.memory_mib,
        free_mib=gpu.free_mib,
    )


def _with_severity(finding: Finding, severity: Severity) -> Finding:
    return Finding(
        code=finding.code, severity=severity, cause=finding.cause, evidence=finding.evidence, fix=finding.fix
    )


def _shared(facts: DeviceFacts, usable: tuple[UsableGpu, ...]) -> list[Finding]:
    """Usable GPUs on which somebody computes already."""
    chosen = {gpu.uuid for gpu in usable}
    return [
        Finding(
            code="gpu.shared",
            severity=INFO,
            cause=f"{gpu.called} is shared with {named(gpu.nvml.processes)}",
            evidence=(f"{gpu.free_mib} of {gpu.memory_mib} MiB are free",),
            fix="choose another GPU with device.ids if the run needs it whole",
        )
        for gpu in merged_gpus(facts)
        if gpu.uuid in chosen and gpu.nvml and gpu.nvml.processes and not nearly_full(gpu)
    ]


def _unexplained(facts: DeviceFacts) -> Finding:
    return Finding(
        code="unexplained",
        severity=ERROR,
        cause="the GPUs cannot be used, and no known cause fits",
        evidence=(
            f"driver {facts.system.driver_loaded or 'unknown'}, torch {facts.packages.torch}, "
            f"{len(facts.system.pci_gpus)} GPUs on the PCI bus, {len(facts.system.device_nodes)} device nodes",
            *raw_codes(facts),
        ),
        fix="`launcher doctor --json` has all that was seen; `nvidia-smi` and `dmesg | grep -i nvrm` may say more",
    )


def _verdict(fatal: list[Finding], usable: tuple[UsableGpu, ...], reasons: list[Finding]) -> str:
    if fatal:
        return "detectron2 cannot train here: " + "; ".join(finding.cause for finding in fatal)
    if not usable:
        return f"detectron2 will run on the CPU: {reasons[0].cause}"
    return can_train_on(usable)
