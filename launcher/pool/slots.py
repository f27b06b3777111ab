"""How many jobs run at once, and on what. Decides only."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from launcher.device.diagnosis import UsableGpu, gpu_label
from launcher.device.policy.choice import find_gpu
from launcher.errors import DeviceUnavailableError, RequestError
from launcher.pool.settings import Asked, listed


@dataclass(frozen=True, kw_only=True)
class There:
    """What this machine has for jobs."""

    gpus: tuple[UsableGpu, ...]
    """That can be used, whoever has them now."""
    others: tuple[tuple[int | None, str], ...]
    """Index and UUID of those that cannot."""
    why_not: str
    """Why there are no more, a clause; empty where nothing is wrong."""
    allocated: bool
    """A scheduler or container runtime allocated GPUs: the CPU is no substitute then."""
    num_cpus: int


@dataclass(frozen=True, kw_only=True)
class Slots:
    """What jobs may run on."""

    gpus: tuple[UsableGpu, ...]
    """Empty for jobs on the CPU."""
    gpus_per_job: int
    size: int
    """Jobs at once."""
    threads: int
    """Of each job, where nobody says otherwise."""
    notice: str = ""
    """What is otherwise than asked."""


def plan_slots(asked: Asked, there: There, *, threads: int | None = None) -> Slots:
    """What the jobs run on; `threads` are asked for by the environment.

    Raises:
        DeviceUnavailableError: GPUs were asked for that are not there.
        RequestError: an entry names no GPU of this machine, or several.
    """
    if asked.devices == "cpu":
        return _on_cpu(asked, there, threads, notice="")
    gpus = there.gpus if asked.devices == "auto" else _named(asked, there)
    if not gpus and not there.allocated:
        # Only `auto` gets here: what is named and cannot be used is refused.
        _refuse_several_per_job(asked, there)
        why = f"{asked.prefix}devices=auto: no GPU can be used ({there.why_not}), so the jobs run on the CPU"
        return _on_cpu(asked, there, threads, notice=why)
    if len(gpus) < asked.gpus_per_job:
        raise DeviceUnavailableError(_too_few(asked, there, len(gpus)))
    fit = len(gpus) // asked.gpus_per_job
    size = min(fit, asked.max_parallel or fit)
    return Slots(
        gpus=gpus,
        gpus_per_job=asked.gpus_per_job,
        size=size,
        threads=threads or max(1, there.num_cpus // size),
    )


def choose_gpus(slots: Slots, *, busy: Collection[str], taken: Collection[str]) -> tuple[UsableGpu, ...] | None:
    """The GPUs for one more job: neither `busy` with a job of ours nor `taken` by others; None where too few are left.

    Of one model where that is possible, because a job trains at the pace of its slowest GPU.
    """
    free = [gpu for gpu in slots.gpus if gpu.uuid not in busy and gpu.uuid not in taken]
    of_one_model = ([gpu for gpu in free if gpu.name == first.name] for first in free)
    enough = next((gpus for gpus in (*of_one_model, free) if len(gpus) >= slots.gpus_per_job), None)
    return tuple(enough[: slots.gpus_per_job]) if enough else None


def describe_place(gpus: Sequence[UsableGpu], threads: int) -> str:
    """`GPU 0`, `GPU 0+1`, `CPU, 2 threads`."""
    if not gpus:
        return f"CPU, {threads} thread{'' if threads == 1 else 's'}"
    if all(gpu.index is not None for gpu in gpus):
        return "GPU " + "+".join(str(gpu.index) for gpu in gpus)
    return " + ".join(gpu_label(gpu.index, gpu.uuid) for gpu in gpus)


def _on_cpu(asked: Asked, there: There, threads: int | None, notice: str) -> Slots:
    """With the threads that the environment asks for, or the cores divided; the same for one job as for many.

    Sums are split among threads, so a number that followed from how many jobs there are would give other bits.
    """
    size = asked.max_parallel or max(1, there.num_cpus // (threads or 1))
    each = threads or max(1, there.num_cpus // size)
    return Slots(gpus=(), gpus_per_job=0, size=size, threads=each, notice=notice)


def _named(asked: Asked, there: There) -> tuple[UsableGpu, ...]:
    known = [*((gpu.index, gpu.uuid) for gpu in there.gpus), *there.others]
    if not known:
        raise DeviceUnavailableError(_none_here(asked, there))
    found = [find_gpu(entry, known) for entry in asked.devices]
    names = ", ".join(uuid if index is None else f"{index} ({uuid})" for index, uuid in known)
    if problems := [problem for _, problem in found if problem]:
        raise RequestError(f"{asked.prefix}devices={listed(asked.devices)}: {'; '.join(problems)}. There are: {names}.")
    uuids = [uuid for uuid, _ in found]
    if len(set(uuids)) < len(uuids):
        raise RequestError(f"{asked.prefix}devices={listed(asked.devices)} names a GPU twice. Name each GPU once.")
    usable = {gpu.uuid: gpu for gpu in there.gpus}
    if any(uuid not in usable for uuid in uuids):
        raise DeviceUnavailableError(_none_here(asked, there))
    return tuple(usable[uuid] for uuid in uuids)


def _refuse_several_per_job(asked: Asked, there: There) -> None:
    if asked.gpus_per_job > 1:
        raise DeviceUnavailableError(_too_few(asked, there, 0))


def _none_here(asked: Asked, there: There) -> str:
    usable = f"usable here: {_names(there)}" if there.gpus else "no GPU can be used here"
    why = f" ({there.why_not})" if there.why_not else ""
    return (
        f"{asked.prefix}devices={listed(asked.devices)} is asked for, but {usable}{why}. "
        f"Use {asked.prefix}devices=auto for what there is, or {asked.prefix}devices=cpu."
    )


def _too_few(asked: Asked, there: There, number: int) -> str:
    why = f" ({there.why_not})" if there.why_not else ""
    most = f"{asked.prefix}gpus_per_job={number}" if number else f"{asked.prefix}gpus_per_job=1"
    return (
        f"{asked.prefix}gpus_per_job={asked.gpus_per_job} is asked for, but {number} GPU{'' if number == 1 else 's'} "
        f"can be used{why}. Use {most}, or {asked.prefix}devices=cpu with {asked.prefix}gpus_per_job=1."
    )


def _names(there: There) -> str:
    return ", ".join(gpu_label(gpu.index, gpu.uuid) for gpu in there.gpus)
