"""What a report shows, as values: plain text and numbers, nothing of HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from launcher.run.attempts import read_attempts
from launcher.run.paths import RunPaths
from launcher.sweep.curves import Curve, curve_of
from launcher.sweep.naming import settings_in
from launcher.sweep.report.importance import importance_of
from launcher.sweep.standing import main_metric_of
from launcher.sweep.table import best_of, command_of, keys_of, ranked
from launcher.sweep.values import JobState, Standing, Sweep


@dataclass(frozen=True, kw_only=True)
class ReportedJob:
    """One job of the sweep."""

    number: int
    """From 1, as in every table."""
    name: str
    settings: Mapping[str, str]
    """What differs from job to job, by key."""
    state: JobState
    value: float | None
    iterations: int
    seconds: float
    curve: Curve
    """Of the metric."""
    code: str
    """Of what made it fail, empty otherwise."""
    why: str
    """It failed, or was pruned; one sentence, empty otherwise."""

    @property
    def is_measured(self) -> bool:
        """It finished with a value, and so counts."""
        return self.state is JobState.finished and self.value is not None


@dataclass(frozen=True, kw_only=True)
class Report:
    """All of it."""

    name: str
    folder: str
    command: str
    metric: str
    """That jobs are compared by; empty where no job has been evaluated."""
    mode: str
    keys: tuple[str, ...]
    """The settings that differ."""
    jobs: tuple[ReportedJob, ...]
    """The best first."""
    best: str
    """The name of the best job that finished; empty before there is one."""
    best_command: str
    importance: Mapping[str, float]
    """By setting, the largest first; empty of too few jobs."""
    made_at: str
    """When the report was made, for people."""

    @property
    def measured(self) -> list[ReportedJob]:
        """The jobs that count."""
        return [job for job in self.jobs if job.is_measured]


def make_report(sweep: Sweep, found: Sequence[Standing], *, name: str, made_at: str) -> Report:
    """The report on a sweep whose jobs stand like that; reads what their evaluations gave."""
    metric = main_metric_of(found, sweep.metric)
    keys = tuple(keys_of(found))
    jobs = tuple(_reported(sweep, one, metric) for one in ranked(sweep, found))
    best = best_of(sweep, found)
    measured = [job for job in jobs if job.is_measured]
    columns = {key: [job.settings.get(key, "") for job in measured] for key in keys}
    return Report(
        name=name,
        folder=str(sweep.folder),
        command=sweep.command,
        metric=metric,
        mode=sweep.mode.value,
        keys=keys,
        jobs=jobs,
        best=best.job.folder if best is not None else "",
        best_command=command_of(sweep, best.job) if best is not None else "",
        importance=importance_of(columns, [job.value for job in measured if job.value is not None]),
        made_at=made_at,
    )


def _reported(sweep: Sweep, one: Standing, metric: str) -> ReportedJob:
    paths = RunPaths(sweep.folder_of(one.job))
    return ReportedJob(
        number=one.job.number + 1,
        name=one.job.folder,
        settings=settings_in(one.job.overrides),
        state=one.state,
        value=one.value if one.metric == metric else None,
        iterations=one.iterations,
        seconds=one.seconds,
        curve=curve_of(paths, metric) if metric else (),
        code=one.code,
        why=_why(paths) if one.state in (JobState.failed, JobState.pruned) else "",
    )


def _why(paths: RunPaths) -> str:
    attempts = read_attempts(paths)
    end = attempts[-1].end if attempts else None
    lines = end.explanation.strip().splitlines() if end is not None else []
    return lines[0] if lines else ""
