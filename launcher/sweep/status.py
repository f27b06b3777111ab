"""What a sweep does now, in words."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

from launcher.cluster.slurm_queue import SlurmQueue, job_of
from launcher.run.found import called
from launcher.run.holder import holder_of
from launcher.show.runs import period_text
from launcher.show.status import UNKNOWN
from launcher.sweep.standing import DONE, standings_in_queue
from launcher.sweep.table import best_of, plain_sweep, sweep_table
from launcher.sweep.text import title_of, value_text
from launcher.sweep.values import JobState, Standing, Sweep

AT_WORK = (JobState.running, JobState.queued)


def is_at_work(sweep: Sweep, found: list[Standing]) -> bool:
    """Whether its controller lives, or a job that outlived it does, or Slurm has one."""
    return holder_of(sweep.folder) is not None or any(one.state in AT_WORK or one.in_slurm for one in found)


def may_be_at_work(sweep: Sweep, found: list[Standing], queue: SlurmQueue) -> bool:
    """Whether Slurm, which does not answer, may have one of its jobs."""
    left = (sweep.folder_of(one.job) for one in found if one.state not in DONE)
    return not queue.answers and any(job_of(folder) for folder in left)


def status_text(sweep: Sweep, found: list[Standing], queue: SlurmQueue) -> str:
    """Everything about it that fits on a page."""
    return "\n".join(_lines(sweep, found, queue))


def status_line(sweep: Sweep, found: list[Standing], queue: SlurmQueue) -> str:
    """The same in one line."""
    running = [one for one in found if one.state is JobState.running]
    shown = [f"{one.job.folder} {one.iterations}/{one.total}" for one in running if one.total is not None]
    unknown = f"; {UNKNOWN}" if may_be_at_work(sweep, found, queue) else ""
    return f"{title_of(found)}{unknown}{': ' if shown else ''}{', '.join(shown[:4])}"


def status_json(sweep: Sweep) -> str:
    """For a program."""
    found = standings_in_queue(sweep, SlurmQueue(), time.time())
    return json.dumps({**plain_sweep(sweep, found), "is_at_work": is_at_work(sweep, found)}, indent=2)


def _lines(sweep: Sweep, found: list[Standing], queue: SlurmQueue) -> Iterator[str]:
    holder = holder_of(sweep.folder)
    yield f"sweep: {called(sweep.folder)}"
    yield f"  {title_of(found)}; all together they ran for {period_text(sum(one.seconds for one in found))}"
    if holder is not None:
        yield f"  run by {holder}"
    elif any(one.in_slurm for one in found):
        yield "  nobody follows it; the same command does, and writes its summary at the end"
    elif may_be_at_work(sweep, found, queue):
        yield f"  {UNKNOWN}, so which of its jobs Slurm has is unknown; states are those of their folders"
    elif any(one.state is JobState.running for one in found):
        yield "  its controller has ended; the jobs that run come to their end by themselves"
    if (best := best_of(sweep, found)) is not None:
        yield f"  best so far: {best.job.folder}  {best.metric} {value_text(best)}"
    yield ""
    yield sweep_table(sweep, found)
    if any(one.state in (JobState.planned, JobState.stopped) for one in found) and holder is None:
        yield ""
        yield f"continue with: {sweep.command}"
