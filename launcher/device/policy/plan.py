"""Which devices a run gets, and what has to change because of them. Decides only: no torch, no disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from launcher.config.adjustment import Adjustment
from launcher.config.asked import choice_of, count_of, listed
from launcher.config.batch import images_per_process, most_sharers, shared_batch, sharing_problem, why_not_shared
from launcher.config.keys import Keys
from launcher.config.request import DeviceChoice, DeviceRequest, OnMissing, Scaling
from launcher.device.bfloat16 import Bfloat16Facts
from launcher.device.diagnosis import Diagnosis, ExcludedGpu, Finding, UsableGpu, gpu_label
from launcher.device.policy import changes
from launcher.device.policy.choice import (
    able_together,
    best_of,
    is_mixed,
    named_gpus,
    without_unwanted,
)
from launcher.device.policy.cpu_precision import CpuPrecision, precision_on_cpu, without_training
from launcher.device.policy.notices import notices_of_diagnosis
from launcher.device.policy.why import Why, as_asked, because_excluded, because_of, why_no_gpu
from launcher.errors import DeviceUnavailableError, RequestError

TO_RUN_ANYWAY = "To run on what is available, set device.choice=auto device.on_missing=fall_back."
ONE_INSTANCE = "a MIG instance trains alone, because CUDA shows a process at most one"
MPS = "detectron2 has no support for Apple's MPS"


@dataclass(frozen=True, kw_only=True)
class DevicePlan:
    """The devices of one run and the surroundings that its worker process gets."""

    kind: str
    """cuda, cpu or mps: becomes MODEL.DEVICE."""
    asked: str
    """The choice as asked, for example `auto`."""
    reason: str
    """Why this kind: one clause such as `no NVIDIA GPU in this machine`, or the names of the GPUs chosen."""
    gpu_uuids: tuple[str, ...]
    num_processes: int
    """Of this node: one per GPU; on the CPU as many as `device.count`."""
    environment: Mapping[str, str | None]
    """Set (or, for None, removed) in the worker's environment on top of the launcher's own."""
    hide_driver: bool
    """Put empty driver libraries first on LD_LIBRARY_PATH: the real driver hangs or crashes every process."""
    adjustments: tuple[Adjustment, ...]
    default_environment: Mapping[str, str] = field(default_factory=dict)
    """Set in the worker's environment only where the launcher's own has no such variable."""
    precision: str = ""
    """The data type of mixed precision, float16 or bfloat16; empty without it."""
    deformable_by: str = ""
    """`torchvision` where it replaces detectron2's deformable convolutions."""
    roi_align_by: str = ""
    """`sparse sums` where they replace torchvision's ROIAlign."""
    notices: tuple[str, ...] = ()
    """What is worth knowing and no setting of its own."""


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What every decision below looks at."""

    asked: DeviceRequest
    keys: Keys
    batch: int | None
    """The batch that is split equally between the processes, if it is fixed."""
    diagnosis: Diagnosis
    """Without the GPUs that this run is not to have."""
    trains: bool
    bfloat16: Bfloat16Facts | None
    begun_in: str | None

    @property
    def nodes(self) -> int:
        return self.diagnosis.num_nodes


def plan_devices(
    asked: DeviceRequest,
    keys: Keys,
    diagnosis: Diagnosis,
    *,
    avoid: Mapping[str, str] = MappingProxyType({}),
    scaling: Scaling = Scaling.keep_batch,
    trains: bool = True,
    bfloat16: Bfloat16Facts | None = None,
    begun_in: str | None = None,
) -> DevicePlan:
    """Choose the devices of one run and what has to change because of them.

    `avoid` names GPUs by UUID that this run must not get, each with a clause that continues its name, such as `failed
    in attempt 1`. What does not train splits no batch. `bfloat16` is what was measured on this CPU, for mixed precision
    there; a run that resumes has `begun_in` a type on the CPU, empty for float32, and keeps it.

    Raises:
        RequestError: a GPU is named that is not here, the batch cannot be split between all GPUs, or this launcher is
            one of several.
        DeviceUnavailableError: GPUs were insisted on and there are too few, or the model needs what is not there.
    """
    launchers, nodes = diagnosis.num_launchers, diagnosis.num_nodes
    if problem := problem_with_start(diagnosis.started_by, launchers=launchers, nodes=nodes, trains=trains):
        raise RequestError(problem)
    _check_installation(diagnosis)
    there = Situation(
        asked=asked,
        keys=keys,
        batch=shared_batch(keys, scaling) if trains else None,
        diagnosis=without_unwanted(diagnosis, asked, avoid),
        trains=trains,
        bfloat16=bfloat16,
        begun_in=begun_in,
    )
    choice = choice_of(asked, keys)
    if choice is DeviceChoice.cpu:
        reason = "as asked" if asked.choice is DeviceChoice.cpu else "MODEL.DEVICE=cpu asks for it"
        return _cpu_plan(there, as_asked(reason), fell_back=False)
    if choice is DeviceChoice.mps:
        return _instead_of_mps(there)
    return _cuda_plan(there)


def wants_gpus(asked: DeviceRequest, keys: Keys) -> bool:
    """Whether this request could use a GPU at all, so that trying them is worth the seconds."""
    return choice_of(asked, keys) not in (DeviceChoice.cpu, DeviceChoice.mps)


ONE_PER_NODE = {
    "srun": "srun --nodes={nodes} --ntasks-per-node=1 --kill-on-bad-exit=1 launcher train ... device.count={count}",
    "torchrun": "torchrun --nnodes={nodes} --nproc-per-node=1 -m launcher train ... device.count={count}",
}


def problem_with_start(started_by: str, *, launchers: int, nodes: int, trains: bool) -> str:
    """Why so many launchers on so many nodes are not what one run needs; empty where they are."""
    if launchers <= 1 or (trains and launchers == nodes):
        return ""
    if not trains and nodes > 1:
        return (
            f"{started_by} started launchers on {nodes} nodes, but only a training runs on several. "
            "Evaluate and predict on one node, with all of its GPUs: device.count=all."
        )
    if nodes > 1:
        line = ONE_PER_NODE[started_by].format(nodes=nodes, count=-(-launchers // nodes))
        return (
            f"{started_by} started {launchers} launchers on {nodes} nodes. Start one on each node, which "
            f"starts the processes of that node: {line}"
        )
    return (
        f"{started_by} started {launchers} launchers, and each would train the whole run "
        "into the same folder. Start the launcher once per run; it starts its own processes: "
        f"device.count={launchers}."
    )


def _check_installation(diagnosis: Diagnosis) -> None:
    if diagnosis.fatal:
        problems = (f"{finding.cause}. To fix it: {finding.fix}." for finding in diagnosis.fatal)
        raise DeviceUnavailableError("\n".join(problems))


def _check_needs(kind: str, there: Situation) -> None:
    if problems := list(changes.unmet_needs(kind, there.keys, there.diagnosis)):
        raise DeviceUnavailableError("\n".join(problems))


def _fewer_workers(there: Situation, num_processes: int) -> Iterator[Adjustment]:
    images = images_per_process(there.keys, there.batch, num_processes * there.nodes)
    return changes.fewer_workers(there.keys, there.diagnosis, num_processes, images)


def _check_shared(there: Situation, num_processes: int) -> None:
    """Of several nodes; for one node the settings alone say it."""
    if there.nodes > 1 and (problem := sharing_problem(there.batch, num_processes, nodes=there.nodes)):
        raise RequestError(problem)


def _network(asked: DeviceRequest) -> dict[str, str]:
    names = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
    return dict.fromkeys(names, asked.interface) if asked.interface else {}


# GPUs


def _cuda_plan(there: Situation) -> DevicePlan:
    asked = there.asked
    named, excluded = named_gpus(asked, there.diagnosis)
    if not named:
        return _cpu_or_refuse(
            there, because_excluded(excluded) if asked.ids and excluded else why_no_gpu(there.diagnosis)
        )
    number = count_of(asked) or len(asked.ids)
    pool = named if number == 1 else able_together(named)
    wanted = number or len(pool)
    if wanted > 1 and len(pool) > 1 and (silence := _silence(there.diagnosis)):
        if _insists(asked):
            raise DeviceUnavailableError(f"device.count={asked.count}, but {silence.cause}. To fix it: {silence.fix}.")
        return _gpu_plan(there, best_of(pool, 1), named, because_of(silence, there.diagnosis))
    fewer = _why_fewer(named, excluded, pool)
    if _insists(asked) and len(pool) < wanted:
        raise DeviceUnavailableError(_too_few(there, pool, fewer.clause))
    if _insists(asked) and (problem := sharing_problem(there.batch, wanted, len(pool), nodes=there.nodes)):
        raise RequestError(f"device.count={asked.count} takes {wanted} GPUs: {problem}")
    chosen = best_of(pool, most_sharers(there.batch, min(wanted, len(pool)), nodes=there.nodes))
    _check_shared(there, len(chosen))
    unshared = why_not_shared(there.batch, len(pool) * there.nodes) if len(chosen) < len(pool) else ""
    why = "; ".join(filter(None, (fewer.clause, unshared)))
    usable = f"{_number_of_gpus(len(named))} usable"
    return _gpu_plan(there, chosen, named, replace(fewer, clause=f"{usable}: {why}" if why else usable))


def _number_of_gpus(number: int) -> str:
    return "1 GPU is" if number == 1 else f"{number} GPUs are"


def _silence(diagnosis: Diagnosis) -> Finding | None:
    """What keeps GPUs from training together."""
    return next((finding for finding in diagnosis.findings if finding.code.startswith("nccl.")), None)


def _gpu_plan(there: Situation, chosen: Sequence[UsableGpu], usable: Sequence[UsableGpu], fewer: Why) -> DevicePlan:
    _check_needs("cuda", there)
    asked, keys = there.asked, there.keys
    precision = changes.precision_on(chosen, asked.precision, keys)
    deformable_by = changes.deformable_by("cuda", keys, there.diagnosis)
    uuids = tuple(gpu.uuid for gpu in chosen)
    count = tuple(changes.adjust_count(asked, len(chosen), fewer.clause, usable=len(usable)))
    adjustments = (
        *count,
        *changes.adjust_device(keys, "cuda", "GPUs are chosen with device.ids; the run sees only its own"),
        *changes.adjust_precision(chosen, asked.precision, precision),
        *_fewer_workers(there, len(chosen)),
    )
    return DevicePlan(
        kind="cuda",
        asked=asked.choice.value,
        reason=_names(chosen) + _how_many_of_list(asked, chosen),
        gpu_uuids=uuids,
        num_processes=len(chosen),
        environment={
            "CUDA_VISIBLE_DEVICES": ",".join(uuids),
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
            **_network(asked),
        },
        hide_driver=False,
        adjustments=adjustments,
        precision=precision,
        deformable_by=deformable_by,
        notices=(
            *notices_of_diagnosis(
                there.diagnosis, asked, keys.with_(adjustments), with_gpus=True, told=fewer if count else None
            ),
            *_notices_of_mixture(chosen),
            *changes.notices_of_precision(asked.precision, precision),
            *changes.notices_of_deformable("cuda", deformable_by),
        ),
    )


def _names(gpus: Sequence[UsableGpu]) -> str:
    return ", ".join(f"{gpu_label(gpu.index, gpu.uuid)} {gpu.name}" for gpu in gpus)


def _how_many_of_list(asked: DeviceRequest, chosen: Sequence[UsableGpu]) -> str:
    return f" ({len(chosen)} of device.ids={listed(asked.ids)})" if len(chosen) < len(asked.ids) else ""


def _why_fewer(usable: Sequence[UsableGpu], excluded: Sequence[ExcludedGpu], pool: Sequence[UsableGpu]) -> Why:
    """What keeps GPUs out of the pool."""
    why = because_excluded(excluded)
    instances = ONE_INSTANCE if len(pool) < len(usable) else ""
    return replace(why, clause="; ".join(filter(None, (why.clause, instances))))


def _notices_of_mixture(chosen: Sequence[UsableGpu]) -> Iterator[str]:
    if is_mixed(chosen):
        yield f"the GPUs are not alike ({_names(chosen)}): training runs at the pace of the slowest; device.ids selects"


def _insists(asked: DeviceRequest) -> bool:
    """Whether to refuse where there are fewer GPUs than asked for."""
    if asked.on_missing is OnMissing.by_choice:
        return asked.choice is DeviceChoice.cuda
    return asked.on_missing is OnMissing.refuse


def _cpu_or_refuse(there: Situation, why: Why) -> DevicePlan:
    was_allocated = there.asked.on_missing is OnMissing.by_choice and there.diagnosis.gpus_allocated
    if _insists(there.asked) or was_allocated:
        raise DeviceUnavailableError(_refusal(there, why))
    return _cpu_plan(there, why, fell_back=True)


def _refusal(there: Situation, why: Why) -> str:
    if there.asked.choice is DeviceChoice.cuda:
        what = "device.choice=cuda requires a GPU"
    elif there.asked.on_missing is OnMissing.refuse:
        what = "device.on_missing=refuse requires a GPU"
    else:
        what = "this job was allocated GPUs"
    repair = f"To fix it: {why.fix}. " if why.fix else ""
    return f"{what}, but {why.clause}. {repair}{TO_RUN_ANYWAY}"


def _too_few(there: Situation, pool: Sequence[UsableGpu], why: str) -> str:
    usable = ", ".join(gpu_label(gpu.index, gpu.uuid) for gpu in pool)
    return (
        f"device.count={there.asked.count}, but only {len(pool)} usable ({usable})"
        + (f": {why}" if why else "")
        + f". Set device.count={most_sharers(there.batch, len(pool))}, "
        + "or add device.on_missing=fall_back to run on what is available."
    )


# The CPU


def _instead_of_mps(there: Situation) -> DevicePlan:
    if there.asked.on_missing is not OnMissing.fall_back:
        raise DeviceUnavailableError(
            f"device.choice=mps, but {MPS}. Set device=cpu, or add device.on_missing=fall_back."
        )
    return _cpu_plan(there, as_asked(MPS), fell_back=True)


def _cpu_plan(there: Situation, why: Why, *, fell_back: bool) -> DevicePlan:
    _check_needs("cpu", there)
    asked, keys, num_cpus = there.asked, there.keys, there.diagnosis.num_cpus
    num_processes = _cpu_processes(there, fell_back=fell_back)
    _check_shared(there, num_processes)
    deformable_by = changes.deformable_by("cpu", keys, there.diagnosis)
    precision = _precision_on_cpu(there)
    roi_align_by = changes.roi_align_by(keys)
    adjustments = (
        *changes.adjust_count(asked, num_processes, _why_count_on_cpu(asked)),
        *changes.without_ids(asked, why.clause),
        *changes.adjust_device(keys, "cpu", why.clause),
        *precision.adjustments,
        *changes.without_sync_norms(keys, num_processes * there.nodes),
        *_fewer_workers(there, num_processes),
    )
    return DevicePlan(
        kind="cpu",
        asked=asked.choice.value,
        reason=why.clause,
        gpu_uuids=(),
        num_processes=num_processes,
        # Hides the GPUs from everything that honours it, and makes torch ask NVML rather than call cuInit.
        environment={"CUDA_VISIBLE_DEVICES": "", "PYTORCH_NVML_BASED_CUDA_CHECK": "1", **_network(asked)},
        hide_driver=there.diagnosis.driver_is_dangerous,
        adjustments=adjustments,
        default_environment=_threads(num_cpus, num_processes),
        precision=precision.planned,
        deformable_by=deformable_by,
        roi_align_by=roi_align_by,
        notices=(
            *notices_of_diagnosis(
                there.diagnosis, asked, keys.with_(adjustments), with_gpus=wants_gpus(asked, keys), told=why
            ),
            *precision.notices,
            *changes.notices_of_roi_align(roi_align_by),
            *changes.notices_of_deformable("cpu", deformable_by),
        ),
    )


def _precision_on_cpu(there: Situation) -> CpuPrecision:
    if not there.trains:
        return without_training(there.keys)
    return precision_on_cpu(there.keys, there.asked.precision, there.bfloat16, begun_in=there.begun_in)


def _cpu_processes(there: Situation, *, fell_back: bool) -> int:
    count = count_of(there.asked) or 1
    if fell_back and there.diagnosis.num_cpus:
        # A count meant for GPUs must not start more processes than there are CPUs to run them.
        return most_sharers(there.batch, min(count, there.diagnosis.num_cpus), nodes=there.nodes)
    return count


def _why_count_on_cpu(asked: DeviceRequest) -> str:
    if asked.count == "all":
        return "one process uses all CPUs"
    return "at most one process per CPU, and the batch split equally"


def _threads(num_cpus: int, num_processes: int) -> dict[str, str]:
    # Several processes that each start a thread per CPU spend their time waiting for each other.
    if num_processes > 1 and num_cpus:
        return {"OMP_NUM_THREADS": str(max(1, num_cpus // num_processes))}
    return {}
