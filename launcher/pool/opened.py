"""Makes a pool, after a look at what this machine has, and runs batches of jobs in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hydra.core.utils import JobReturn

from launcher.launch.claims import claims_folder
from launcher.pool.batch import Batch
from launcher.pool.context import Context
from launcher.pool.gpus import look_for_devices
from launcher.pool.ledger import Ledger
from launcher.pool.lines import Lines
from launcher.pool.pool import Pool, say
from launcher.pool.settings import Asked
from launcher.pool.slots import describe_place, plan_slots


def open_pool(context: Context, asked: Asked, environ: Mapping[str, str], *, logs: Path) -> Pool:
    """A pool on this machine.

    Raises:
        DeviceUnavailableError: the devices asked for are not there.
        RequestError: an entry names no GPU of this machine, or several.
    """
    slots = plan_slots(asked, look_for_devices(asked, environ), threads=_threads_in(environ))
    if slots.notice:
        say(slots.notice)
    if not slots.gpus:
        jobs = "1 job at a time" if slots.size == 1 else f"{slots.size} jobs at a time, each"
        say(f"{jobs} on the {describe_place((), slots.threads)}")
    return Pool(context, asked, slots, environ=environ, claims=claims_folder(), logs=logs)


def run_batch(
    jobs: Sequence[Sequence[str]], first: int, ledger: Ledger | None, open_: Callable[[], Pool]
) -> list[JobReturn]:
    """The returns of these jobs; the pool is opened only where one of them is to run.

    Raises:
        DeviceUnavailableError: the devices asked for are not there, or others have them all.
    """
    batch = Batch(jobs, first, ledger if ledger is not None else Lines(say))
    if not batch.is_done:
        pool = open_()
        if not batch.waits:  # what earlier jobs of the sweep have of the GPUs gets free
            pool.refuse_taken()
        with pool:
            batch.run(pool)
    return batch.returns


def _threads_in(environ: Mapping[str, str]) -> int | None:
    text = environ.get("OMP_NUM_THREADS", "")
    return int(text) if text.isascii() and text.isdigit() and int(text) > 0 else None
