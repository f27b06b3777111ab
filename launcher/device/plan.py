"""Which devices a run gets, and what has to change because of them. Decides only: no torch, no disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from launcher.config.adjustment import Adjustment, look_up
from launcher.config.request import DeviceChoice, DeviceRequest, OnMissing
from launcher.device.diagnosis import Diagnosis, UsableGpu, called, in_order
from launcher.device.rules import FATAL_CODES
from launcher.errors import DeviceUnavailableError, RequestError

TO_RUN_ANYWAY = "To run on what there is, type device.choice=auto device.on_missing=fall_back."
MPS = "detectron2 has no support for Apple's MPS"
SYNC_NORMS = ("SyncBN", "nnSyncBN", "naiveSyncBN", "naiveSyncBN_N")
# detectron2's own synchronised norms use plain collectives, which gloo has; torch's insists on a GPU.
SYNC_NORMS_ON_CPU = ("naiveSyncBN", "naiveSyncBN_N")


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
    """One per GPU; on the CPU as many as `device.count`."""
    environment: Mapping[str, str | None]
    """Set (or, for None, removed) in the worker's environment on top of the launcher's own."""
    mask_driver: bool
    """Put zero-byte driver libraries first on LD_LIBRARY_PATH: the driver hangs or crashes whoever touches it."""
    adjustments: tuple[Adjustment, ...]
    default_environment: Mapping[str, str] = field(default_factory=dict)
    """Set in the worker's environment only where the launcher's own has no such variable."""


def plan_devices(asked: DeviceRequest, keys: Mapping[str, Any], diagnosis: Diagnosis) -> DevicePlan:
    """Choose the devices of one run and what has to change because of them.

    `keys` is detectron2's configuration, nested, as plain containers.

    Raises:
        RequestError: the device settings cannot mean anything here, or this launcher is one of several.
        DeviceUnavailableError: GPUs were insisted on and there are too few, or the model needs what is not there.
    """
    _check_request(asked, keys, diagnosis)
    _check_installation(diagnosis)
    choice = _choice(asked, keys)
    if choice is DeviceChoice.cpu:
        reason = "as asked" if asked.choice is DeviceChoice.cpu else "MODEL.DEVICE=cpu asks for it"
        return _cpu_plan(asked, keys, diagnosis, reason=reason, fell_back=False)
    if choice is DeviceChoice.mps:
        return _instead_of_mps(asked, keys, diagnosis)
    return _cuda_plan(asked, keys, diagnosis)


def wants_gpus(asked: DeviceRequest, keys: Mapping[str, Any]) -> bool:
    """Whether this request could use a GPU at all, so that trying them is worth the seconds."""
    return _choice(asked, keys) not in (DeviceChoice.cpu, DeviceChoice.mps)


def _choice(asked: DeviceRequest, keys: Mapping[str, Any]) -> DeviceChoice:
    """`auto` gives way to a MODEL.DEVICE that is not detectron2's default."""
    device = _value(keys, "MODEL.DEVICE", "cuda")
    if asked.choice is DeviceChoice.auto and device in ("cpu", "mps"):
        return DeviceChoice(device)
    return asked.choice


def _check_request(asked: DeviceRequest, keys: Mapping[str, Any], diagnosis: Diagnosis) -> None:
    problems = [*_problems_with_start(diagnosis), *_problems_with(asked, keys)]
    if problems:
        raise RequestError("\n".join(problems))


def _check_installation(diagnosis: Diagnosis) -> None:
    fatal = [finding for finding in diagnosis.findings if finding.code in FATAL_CODES]
    if fatal:
        raise DeviceUnavailableError("\n".join(f"{finding.cause}. To repair it: {finding.fix}." for finding in fatal))


def _problems_with_start(diagnosis: Diagnosis) -> Iterator[str]:
    if diagnosis.num_launchers > 1:
        yield (
            f"{diagnosis.started_by} started {diagnosis.num_launchers} launchers, and each would train the whole run "
            "into the same folder. Start the launcher once per run; it starts its own processes: "
            f"device.count={diagnosis.num_launchers}."
        )


def _problems_with(asked: DeviceRequest, keys: Mapping[str, Any]) -> Iterator[str]:
    if asked.count != "all" and _count(asked) is None:
        yield f"device.count={asked.count}: neither a whole number from 1 nor `all`. Type for example device.count=1."
    for entry in asked.ids:
        if not isinstance(entry, (int, str)) or isinstance(entry, bool) or entry == "":
            yield f"device.ids: {entry!r} is neither an index nor a UUID. Type for example device.ids=[0,1]."
    if len(set(map(str, asked.ids))) < len(asked.ids):
        yield _named_twice(asked)
    if asked.choice is DeviceChoice.cuda and _value(keys, "MODEL.DEVICE", "cuda") in ("cpu", "mps"):
        yield (
            f"device.choice=cuda contradicts MODEL.DEVICE={_value(keys, 'MODEL.DEVICE', '')}. "
            "Leave one of them out; device=cpu is the way to ask for the CPU."
        )
    if asked.choice is DeviceChoice.cpu and asked.ids:
        yield f"device.ids={_listed(asked.ids)} names GPUs, but device.choice=cpu. Leave one of them out."
    yield from _problems_with_batch(asked, keys)


def _problems_with_batch(asked: DeviceRequest, keys: Mapping[str, Any]) -> Iterator[str]:
    count = _count(asked)
    if count is not None and (problem := _batch_problem(keys, count)):
        yield f"device.count={count}: {problem}"


def _batch_problem(keys: Mapping[str, Any], num_processes: int, at_most: int | None = None) -> str:
    """detectron2 asserts that every process gets an equal share of the batch, and not an empty one."""
    batch = _batch_size(keys)
    if batch is None or batch % num_processes == 0:
        return ""
    batches = sorted({max(batch - batch % num_processes, num_processes), batch + num_processes - batch % num_processes})
    counts = [count for count in _divisors_near(batch, num_processes) if at_most is None or count <= at_most]
    return (
        f"SOLVER.IMS_PER_BATCH={batch} cannot be shared equally by {num_processes} processes. "
        f"Type SOLVER.IMS_PER_BATCH={' or '.join(map(str, batches))}, or device.count={' or '.join(map(str, counts))}."
    )


def _divisors_near(batch: int, count: int) -> list[int]:
    divisors = [number for number in range(1, batch + 1) if batch % number == 0]
    below = [number for number in divisors if number < count][-1:]
    return below + [number for number in divisors if number > count][:1]


def _batch_size(keys: Mapping[str, Any]) -> int | None:
    batch = _value(keys, "SOLVER.IMS_PER_BATCH", None)
    return batch if isinstance(batch, int) and batch > 0 else None


# GPUs


def _cuda_plan(asked: DeviceRequest, keys: Mapping[str, Any], diagnosis: Diagnosis) -> DevicePlan:
    pool, missing = _pool(asked, diagnosis)
    if not pool:
        return _cpu_or_refuse(asked, keys, diagnosis, missing or _why_no_gpu(diagnosis))
    wanted = _count(asked) or len(asked.ids) or len(pool)
    if len(pool) < wanted:
        if _insists(asked, diagnosis):
            raise DeviceUnavailableError(_too_few(asked, diagnosis, pool, missing))
        return _gpu_plan(asked, keys, diagnosis, pool[: _sharers(keys, len(pool))], pool)
    if problem := _batch_problem(keys, wanted, at_most=len(pool)):
        raise RequestError(f"device.count={asked.count} takes {wanted} GPUs: {problem}")
    return _gpu_plan(asked, keys, diagnosis, pool[:wanted], pool)


def _insists(asked: DeviceRequest, diagnosis: Diagnosis) -> bool:
    if asked.on_missing is OnMissing.by_choice:
        return asked.choice is DeviceChoice.cuda or diagnosis.gpus_promised
    return asked.on_missing is OnMissing.refuse


def _pool(asked: DeviceRequest, diagnosis: Diagnosis) -> tuple[tuple[UsableGpu, ...], str]:
    """The usable GPUs to choose from, best first, and what is wrong with those of `device.ids` that are missing.

    Raises:
        RequestError: an entry names no GPU of this machine, or more than one, or two entries name the same.
    """
    if not asked.ids:
        return diagnosis.usable_gpus, ""
    excluded = {gpu.uuid: gpu.cause for gpu in diagnosis.excluded_gpus}
    known: list[tuple[int | None, str]] = [(gpu.index, gpu.uuid) for gpu in diagnosis.usable_gpus]
    known += [(gpu.index, gpu.uuid) for gpu in diagnosis.excluded_gpus]
    if not known:
        return (), _why_no_gpu(diagnosis)
    named = [_named(entry, known) for entry in asked.ids]
    if problems := [problem for _, problem in named if problem]:
        there = ", ".join(uuid if index is None else f"{index} ({uuid})" for index, uuid in known)
        raise RequestError(f"device.ids={_listed(asked.ids)}: {'; '.join(problems)}. There are: {there}.")
    uuids = {uuid for uuid, _ in named}
    if len(uuids) < len(named):
        raise RequestError(_named_twice(asked))
    pool = tuple(gpu for gpu in diagnosis.usable_gpus if gpu.uuid in uuids)
    missing = [
        f"GPU {entry} {excluded[uuid]}" for entry, (uuid, _) in zip(asked.ids, named, strict=True) if uuid in excluded
    ]
    return pool, "; ".join(missing)


def _named(entry: Any, known: Sequence[tuple[int | None, str]]) -> tuple[str, str]:
    """The UUID that an entry of `device.ids` stands for, or what is wrong with it."""
    text = str(entry)
    beginnings = tuple(prefix + text.lower() for prefix in ("", "gpu-", "mig-"))
    if text.isascii() and text.isdigit():
        fits = [uuid for index, uuid in known if index == int(text)]
    else:
        fits = [uuid for _, uuid in known if uuid.lower().startswith(beginnings)]
    if len(fits) == 1:
        return fits[0], ""
    return "", f"{text} names no GPU here" if not fits else f"{text} fits {len(fits)} GPUs"


def _named_twice(asked: DeviceRequest) -> str:
    return f"device.ids={_listed(asked.ids)} names a GPU twice. Name each GPU once."


def _sharers(keys: Mapping[str, Any], at_most: int) -> int:
    """The largest number of processes that can share the batch equally."""
    batch = _batch_size(keys)
    return next(count for count in range(at_most, 0, -1) if batch is None or batch % count == 0)


def _gpu_plan(
    asked: DeviceRequest,
    keys: Mapping[str, Any],
    diagnosis: Diagnosis,
    best: Sequence[UsableGpu],
    pool: Sequence[UsableGpu],
) -> DevicePlan:
    chosen = sorted(best, key=lambda gpu: in_order(gpu.index))
    problems = list(_needs_unmet_on_gpu(keys, diagnosis))
    if problems:
        raise DeviceUnavailableError("\n".join(problems))
    names = ", ".join(f"{called(gpu.index, gpu.uuid)} {gpu.name}" for gpu in chosen)
    left = f" ({len(chosen)} of device.ids={_listed(asked.ids)})" if asked.ids and len(chosen) < len(asked.ids) else ""
    return DevicePlan(
        kind="cuda",
        asked=asked.choice.value,
        reason=names + left,
        gpu_uuids=tuple(gpu.uuid for gpu in chosen),
        num_processes=len(chosen),
        environment={
            "CUDA_VISIBLE_DEVICES": ",".join(gpu.uuid for gpu in chosen),
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        },
        mask_driver=False,
        adjustments=(
            *_adjusted_count(asked, len(chosen), f"{len(pool)} GPUs are usable"),
            *_adjusted_device(keys, "cuda", "the GPUs are chosen by device.ids; the run sees only its own"),
            *_fewer_workers(keys, diagnosis, len(chosen)),
        ),
    )


def _needs_unmet_on_gpu(keys: Mapping[str, Any], diagnosis: Diagnosis) -> Iterator[str]:
    codes = {finding.code for finding in diagnosis.findings}
    if not codes & {"detectron2.no_ops", "detectron2.ops_broken", "detectron2.ops_cpu_only"}:
        return
    if _deformable(keys):
        yield (
            f"MODEL.RESNETS.DEFORM_ON_PER_STAGE={_deformable(keys)} needs detectron2's compiled operators for CUDA, "
            "which are not installed. Build detectron2 from source, or set it to [False,False,False,False]."
        )


def _cpu_or_refuse(asked: DeviceRequest, keys: Mapping[str, Any], diagnosis: Diagnosis, reason: str) -> DevicePlan:
    if not _insists(asked, diagnosis):
        return _cpu_plan(asked, keys, diagnosis, reason=reason, fell_back=True)
    raise DeviceUnavailableError(_refusal(asked, diagnosis, reason))


def _refusal(asked: DeviceRequest, diagnosis: Diagnosis, reason: str) -> str:
    if asked.choice is DeviceChoice.cuda:
        what = "device.choice=cuda insists on a GPU"
    elif asked.on_missing is OnMissing.refuse:
        what = "device.on_missing=refuse insists on a GPU"
    else:
        what = "this job was promised GPUs"
    fixes = [finding.fix for finding in diagnosis.findings if finding.cause == reason]
    return f"{what}, but {reason}. " + "".join(f"To repair it: {fix}. " for fix in fixes[:1]) + TO_RUN_ANYWAY


def _too_few(asked: DeviceRequest, diagnosis: Diagnosis, pool: Sequence[UsableGpu], missing: str) -> str:
    excluded = missing or "; ".join(f"{called(gpu.index, gpu.uuid)} {gpu.cause}" for gpu in diagnosis.excluded_gpus)
    usable = ", ".join(called(gpu.index, gpu.uuid) for gpu in pool)
    return (
        f"device.count={asked.count}, but only {len(pool)} usable ({usable})"
        + (f": {excluded}" if excluded else "")
        + f". Type device.count={len(pool)}, or add device.on_missing=fall_back to run on what there is."
    )


def _why_no_gpu(diagnosis: Diagnosis) -> str:
    """The clause of the verdict that names the cause."""
    return diagnosis.verdict.partition(": ")[2] or diagnosis.verdict


# The CPU


def _instead_of_mps(asked: DeviceRequest, keys: Mapping[str, Any], diagnosis: Diagnosis) -> DevicePlan:
    if asked.on_missing is not OnMissing.fall_back:
        raise DeviceUnavailableError(
            f"device.choice=mps, but {MPS}. Type device=cpu, or add device.on_missing=fall_back."
        )
    return _cpu_plan(asked, keys, diagnosis, reason=MPS, fell_back=True)


def _cpu_plan(
    asked: DeviceRequest, keys: Mapping[str, Any], diagnosis: Diagnosis, *, reason: str, fell_back: bool
) -> DevicePlan:
    if _deformable(keys):
        raise DeviceUnavailableError(
            f"MODEL.RESNETS.DEFORM_ON_PER_STAGE={_deformable(keys)} cannot train on the CPU ({reason}): deformable "
            "convolutions have no backward pass there. Use a GPU, or set it to [False,False,False,False]."
        )
    num_processes = _cpu_processes(asked, keys, diagnosis, fell_back=fell_back)
    return DevicePlan(
        kind="cpu",
        asked=asked.choice.value,
        reason=reason,
        gpu_uuids=(),
        num_processes=num_processes,
        # Hides the GPUs from everything that asks politely, and makes torch ask NVML's way rather than call cuInit.
        environment={"CUDA_VISIBLE_DEVICES": "", "PYTORCH_NVML_BASED_CUDA_CHECK": "1"},
        mask_driver=diagnosis.driver_is_dangerous,
        adjustments=(
            *_adjusted_count(asked, num_processes, _why_count_on_cpu(asked)),
            *_without_ids(asked, reason),
            *_adjusted_device(keys, "cpu", reason),
            *_without_amp(keys),
            *_without_sync_norms(keys, num_processes),
            *_fewer_workers(keys, diagnosis, num_processes),
        ),
        default_environment=_threads(diagnosis, num_processes),
    )


def _cpu_processes(asked: DeviceRequest, keys: Mapping[str, Any], diagnosis: Diagnosis, *, fell_back: bool) -> int:
    count = _count(asked) or 1
    if fell_back and diagnosis.num_cpus:
        # A count meant for GPUs must not start more processes than there are CPUs to run them.
        return _sharers(keys, min(count, diagnosis.num_cpus))
    return count


def _why_count_on_cpu(asked: DeviceRequest) -> str:
    if asked.count == "all":
        return "one process uses all CPUs"
    return "no more processes than CPUs, and an equal share of the batch for each"


def _threads(diagnosis: Diagnosis, num_processes: int) -> dict[str, str]:
    # Several processes that each start a thread per CPU spend their time waiting for each other.
    if num_processes > 1 and diagnosis.num_cpus:
        return {"OMP_NUM_THREADS": str(max(1, diagnosis.num_cpus // num_processes))}
    return {}


def _without_ids(asked: DeviceRequest, reason: str) -> Iterator[Adjustment]:
    if asked.ids:
        yield Adjustment(setting="device.ids", asked=list(asked.ids), planned=[], reason=reason)


def _without_amp(keys: Mapping[str, Any]) -> Iterator[Adjustment]:
    if _value(keys, "SOLVER.AMP.ENABLED", False):
        yield Adjustment(
            setting="SOLVER.AMP.ENABLED",
            asked=True,
            planned=False,
            reason="automatic mixed precision as detectron2 does it needs CUDA",
        )


def _without_sync_norms(keys: Mapping[str, Any], num_processes: int) -> Iterator[Adjustment]:
    for setting, norm in _norms(keys):
        if num_processes == 1:
            planned, reason = "BN", "with one process there is nothing to synchronise"
        elif norm in SYNC_NORMS_ON_CPU:
            continue
        else:
            planned, reason = "naiveSyncBN", "torch's synchronised norm needs GPUs, detectron2's own does not"
        yield Adjustment(setting=setting, asked=norm, planned=planned, reason=reason)


def _norms(node: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from _norms(value, (*path, key))
        elif key.endswith("NORM") and isinstance(value, str) and value in SYNC_NORMS:
            yield ".".join((*path, key)), value


# Both


def _adjusted_count(asked: DeviceRequest, planned: int, reason: str) -> Iterator[Adjustment]:
    if asked.count == "all" and planned > 1:
        return
    if _count(asked) != planned:
        yield Adjustment(setting="device.count", asked=asked.count, planned=planned, reason=reason)


def _adjusted_device(keys: Mapping[str, Any], planned: str, reason: str) -> Iterator[Adjustment]:
    device = _value(keys, "MODEL.DEVICE", planned)
    if device != planned:
        yield Adjustment(setting="MODEL.DEVICE", asked=device, planned=planned, reason=reason)


def _fewer_workers(keys: Mapping[str, Any], diagnosis: Diagnosis, num_processes: int) -> Iterator[Adjustment]:
    """Every process has its own loader workers."""
    asked = _value(keys, "DATALOADER.NUM_WORKERS", 0)
    planned = max(1, diagnosis.num_cpus // num_processes)
    if isinstance(asked, int) and diagnosis.num_cpus and asked > planned:
        each = f" for {num_processes} processes" if num_processes > 1 else ""
        cpus = "1 CPU is" if diagnosis.num_cpus == 1 else f"{diagnosis.num_cpus} CPUs are"
        yield Adjustment(
            setting="DATALOADER.NUM_WORKERS", asked=asked, planned=planned, reason=f"{cpus} available{each}"
        )


def _deformable(keys: Mapping[str, Any]) -> list[bool]:
    stages = _value(keys, "MODEL.RESNETS.DEFORM_ON_PER_STAGE", [])
    return list(stages) if isinstance(stages, (list, tuple)) and any(stages) else []


def _count(asked: DeviceRequest) -> int | None:
    """The number asked for; None for `all` and for what is no number."""
    text = str(asked.count)
    return int(text) if text.isascii() and text.isdigit() and int(text) > 0 else None


def _listed(ids: Sequence[Any]) -> str:
    return "[" + ",".join(map(str, ids)) + "]"


def _value(keys: Mapping[str, Any], setting: str, default: Any) -> Any:
    try:
        return look_up(keys, setting)
    except (KeyError, TypeError):
        return default
