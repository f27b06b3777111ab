"""Where the jobs of a sweep stand, by the files of their folders. Only reads."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from launcher.cluster.slurm_queue import SlurmQueue
from launcher.config.values import read_json_if_valid
from launcher.run import codes
from launcher.run.attempts import Attempt, read_attempts
from launcher.run.holder import holder_of
from launcher.run.outcome import Outcome, would_fail_again
from launcher.run.paths import RunPaths
from launcher.run.progress import read_pace
from launcher.run.summary import RunSummary, summary_of
from launcher.sweep.values import Job, JobState, Standing, Sweep

DONE = (JobState.finished, JobState.pruned)
"""Nothing follows that, whatever Slurm still says of the job."""


def standings(sweep: Sweep, now: float, queue: SlurmQueue | None = None) -> list[Standing]:
    """Of all jobs, in their order, with values of one metric, and by what the queue says, where one was asked."""
    return of_one_metric([standing_of(sweep, job, now, queue) for job in sweep.jobs], sweep.metric)


def standings_in_queue(sweep: Sweep, queue: SlurmQueue, now: float) -> list[Standing]:
    """The same, with Slurm asked about jobs that were submitted, if that was not done a moment ago."""
    queue.refresh(map(sweep.folder_of, sweep.jobs))
    return standings(sweep, now, queue)


def of_one_metric(found: Sequence[Standing], asked: str) -> list[Standing]:
    """Where jobs have other main metrics, as models for other tasks do, only values of the first one are compared."""
    metric = main_metric_of(found, asked)
    return [one if one.metric in ("", metric) else replace(one, value=one.metrics.get(metric)) for one in found]


def standing_of(sweep: Sweep, job: Job, now: float, queue: SlurmQueue | None = None) -> Standing:
    """The job at that time."""
    folder = sweep.folder_of(job)
    paths = RunPaths(folder)
    attempts = read_attempts(paths)
    run = summary_of(folder, attempts, holder_of(folder), now, sweep.metric)
    run = run if queue is None else queue.with_job(run, now)
    state = JobState(run.state.value)
    pace = read_pace(paths.metrics) if state is JobState.running else None
    return Standing(
        job=job,
        state=state,
        code=run.code,
        iterations=run.iterations,
        total=run.total,
        metric=run.score.metric if run.score else "",
        value=run.score.latest if run.score else None,
        metrics=_metrics_of(attempts),
        seconds=run.seconds,
        iteration_s=pace.iteration_s if pace is not None else None,
        device=run.device,
        would_fail_again=state is JobState.failed and _would_fail_again(run, paths, attempts),
        in_slurm=queue.text_of(folder) if queue is not None and state not in DONE else "",
    )


def has_outcome(folder: Path) -> bool:
    """Whether the latest attempt at the job in that folder came to an end that somebody wrote down."""
    attempts = read_attempts(RunPaths(folder))
    return bool(attempts) and attempts[-1].end is not None


def finite(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Those that are numbers, without NaN and Inf."""
    numbers = {name: value for name, value in metrics.items() if isinstance(value, int | float)}
    return {name: float(value) for name, value in numbers.items() if math.isfinite(value)}


def main_metric_of(found: Iterable[Standing], asked: str) -> str:
    """The metric by which a table is sorted: that is asked for, or the first that a job has; empty before that."""
    return asked or next((one.metric for one in found if one.metric), "")


def _metrics_of(attempts: Sequence[Attempt]) -> dict[str, float]:
    last = attempts[-1].end if attempts else None
    return finite(last.metrics) if last is not None else {}


def _would_fail_again(run: RunSummary, paths: RunPaths, attempts: Sequence[Attempt]) -> bool:
    if run.code == codes.DIVERGED:
        return True
    last, before = (
        read_json_if_valid(paths.attempt(attempts[at].number).outcome, Outcome) if len(attempts) >= -at else None
        for at in (-1, -2)
    )
    return last is not None and would_fail_again(last, before)
