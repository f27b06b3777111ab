"""Which of the GPUs a run may have, and which of those are best for it. Decides only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from launcher.config.asked import listed, named_twice
from launcher.config.request import DeviceRequest
from launcher.device.diagnosis import Diagnosis, ExcludedGpu, UsableGpu, can_train_on, gpu_label, in_order
from launcher.errors import RequestError

IDLE = 0.1
"""A GPU counts as idle when at most this fraction of its memory is used; a desktop alone takes less."""


def without_unwanted(diagnosis: Diagnosis, asked: DeviceRequest, avoid: Mapping[str, str]) -> Diagnosis:
    """The diagnosis in which GPUs that work, but that this run is not to have, are excluded and named like others.

    `avoid` gives a reason for each UUID, a clause that continues the GPU's name.
    """
    reasons = {gpu.uuid: reason for gpu in diagnosis.usable_gpus if (reason := _unwanted(gpu, asked, avoid))}
    if not reasons:
        return diagnosis
    usable = tuple(gpu for gpu in diagnosis.usable_gpus if gpu.uuid not in reasons)
    unwanted = tuple(
        ExcludedGpu(index=gpu.index, uuid=gpu.uuid, name=gpu.name, code="policy", cause=reasons[gpu.uuid])
        for gpu in diagnosis.usable_gpus
        if gpu.uuid in reasons
    )
    excluded = (*diagnosis.excluded_gpus, *unwanted)
    verdict = diagnosis.verdict
    if not diagnosis.fatal:
        verdict = can_train_on(usable) if usable else f"detectron2 will run on the CPU: {describe_excluded(excluded)}"
    return replace(diagnosis, verdict=verdict, usable_gpus=usable, excluded_gpus=excluded)


def by_default(diagnosis: Diagnosis) -> Diagnosis:
    """As it is for a run that asks for nothing in particular."""
    return without_unwanted(diagnosis, DeviceRequest(), {})


def describe_excluded(excluded: Sequence[ExcludedGpu]) -> str:
    """`GPU 0 reports damaged memory; GPU 1 is taken by another launcher`, in the machine's order."""
    in_their_order = sorted(excluded, key=lambda gpu: in_order(gpu.index))
    return "; ".join(f"{gpu_label(gpu.index, gpu.uuid)} {gpu.cause}" for gpu in in_their_order)


def _unwanted(gpu: UsableGpu, asked: DeviceRequest, avoid: Mapping[str, str]) -> str:
    if gpu.uuid in avoid:
        return avoid[gpu.uuid]
    if not gpu.memory_mib:  # nobody could tell
        return ""
    has = f"has {gpu.free_mib / 1024:.1f} of {gpu.memory_mib / 1024:.1f} GiB free"
    if gpu.free_mib < asked.min_free_gib * 1024:
        return f"{has}, less than device.min_free_gib={asked.min_free_gib}"
    if _used_share(gpu) > asked.max_used:
        return f"{has}: more in use than device.max_used={asked.max_used}"
    return ""


def named_gpus(asked: DeviceRequest, diagnosis: Diagnosis) -> tuple[tuple[UsableGpu, ...], tuple[ExcludedGpu, ...]]:
    """Those of `device.ids` that can be used, and those that cannot; without a list all GPUs.

    Raises:
        RequestError: an entry names no GPU of this machine, or more than one, or two entries name the same.
    """
    if not asked.ids:
        return diagnosis.usable_gpus, diagnosis.excluded_gpus
    known: list[tuple[int | None, str]] = [(gpu.index, gpu.uuid) for gpu in diagnosis.usable_gpus]
    known += [(gpu.index, gpu.uuid) for gpu in diagnosis.excluded_gpus]
    if not known:
        return (), ()
    named = [find_gpu(entry, known) for entry in asked.ids]
    if problems := [problem for _, problem in named if problem]:
        there = ", ".join(uuid if index is None else f"{index} ({uuid})" for index, uuid in known)
        raise RequestError(f"device.ids={listed(asked.ids)}: {'; '.join(problems)}. There are: {there}.")
    uuids = {uuid for uuid, _ in named}
    if len(uuids) < len(named):
        raise RequestError(named_twice(asked))
    return (
        tuple(gpu for gpu in diagnosis.usable_gpus if gpu.uuid in uuids),
        tuple(gpu for gpu in diagnosis.excluded_gpus if gpu.uuid in uuids),
    )


def find_gpu(entry: Any, known: Sequence[tuple[int | None, str]]) -> tuple[str, str]:
    """The UUID that an index, or the beginning of a UUID, stands for, or what is wrong with it."""
    text = str(entry)
    beginnings = tuple(prefix + text.lower() for prefix in ("", "gpu-", "mig-"))
    if text.isascii() and text.isdigit():
        fits = [uuid for index, uuid in known if index == int(text)]
    else:
        fits = [uuid for _, uuid in known if uuid.lower().startswith(beginnings)]
    if len(fits) == 1:
        return fits[0], ""
    return "", f"{text} names no GPU here" if not fits else f"{text} fits {len(fits)} GPUs"


def able_together(pool: Sequence[UsableGpu]) -> tuple[UsableGpu, ...]:
    """Those of the pool that can train in one run: the whole GPUs, or the best MIG instance alone.

    CUDA shows a process one MIG instance at most, and no whole GPU beside it.
    """
    return tuple(gpu for gpu in pool if not gpu.is_mig_instance) or best_of(pool, 1)


def best_of(pool: Sequence[UsableGpu], number: int) -> tuple[UsableGpu, ...]:
    """So many GPUs of the pool, in the machine's order.

    Idle ones before busy ones; then of one model, because all train at the pace of the slowest; then whole ones before
    MIG instances; then the newest.
    """
    ranked = sorted(pool, key=_rank)
    of_one_model = [[gpu for gpu in ranked if gpu.name == name] for name in {gpu.name for gpu in pool}]
    sets = [gpus[:number] for gpus in (ranked, *of_one_model) if len(gpus) >= number]
    best = min(sets, key=lambda gpus: (sum(map(_is_busy, gpus)), is_mixed(gpus), [_rank(gpu) for gpu in gpus]))
    return tuple(sorted(best, key=lambda gpu: in_order(gpu.index)))


def is_mixed(gpus: Sequence[UsableGpu]) -> bool:
    return len({gpu.name for gpu in gpus}) > 1


def _rank(gpu: UsableGpu) -> tuple[bool, bool, tuple[int, int], int, tuple[bool, int]]:
    major, minor = gpu.capability
    return _is_busy(gpu), gpu.is_mig_instance, (-major, -minor), -gpu.free_mib, in_order(gpu.index)


def _is_busy(gpu: UsableGpu) -> bool:
    return _used_share(gpu) > IDLE


def _used_share(gpu: UsableGpu) -> float:
    return 1 - gpu.free_mib / gpu.memory_mib if gpu.memory_mib else 0.0
