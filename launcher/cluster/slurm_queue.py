"""What Slurm says of the jobs of several runs, asked at once and seldom: its controller serves a whole site."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

from launcher.cluster.slurm import JobState, look_at_jobs
from launcher.cluster.states import submission_of, waits, with_job
from launcher.run.paths import RunPaths
from launcher.run.submission import read_submission
from launcher.run.summary import RunSummary

EVERY_S = 10.0
Look = Callable[[Collection[str]], "Mapping[str, JobState] | None"]


class SlurmQueue:
    """The queue as it was when it was last asked."""

    def __init__(
        self, *, every_s: float = EVERY_S, look: Look = look_at_jobs, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._every_s = every_s
        self._look = look
        self._now = now
        self._asked_at: float | None = None
        self._asked: frozenset[str] = frozenset()
        self._jobs: Mapping[str, JobState] = {}
        self.answers = True
        """Whether Slurm did when it was last asked."""

    def refresh(self, runs: Iterable[Path]) -> None:
        """Ask about the jobs of these runs, unless that was done a moment ago."""
        if self._asked_at is not None and self._now() - self._asked_at < self._every_s:
            return
        asked = frozenset(job for run in runs if (job := job_of(run)))
        found = self._look(asked)
        self.answers = found is not None
        self._asked, self._jobs = (asked, found) if found is not None else (frozenset(), {})
        self._asked_at = self._now()

    def expire(self) -> None:
        """Ask again next time: something has changed."""
        self._asked_at = None

    def has(self, run: Path) -> bool | None:
        """Whether the run's job waits or runs; None where nobody knows."""
        job = job_of(run)
        return self._has(job, run) if job in self._asked else None

    def waits(self, run: Path) -> bool:
        """Whether the run's job has yet to start, also once more."""
        job = job_of(run)
        return self._has(job, run) and waits(self._jobs[job])

    def text_of(self, run: Path) -> str:
        """`17_3 PENDING (Priority)`; empty where it is not known to wait or run."""
        job = job_of(run)
        return f"{job} {self._jobs[job]}" if self._has(job, run) else ""

    def _has(self, job: str, run: Path) -> bool:
        return job in self._jobs and self._jobs[job].is_of(run)

    def with_job(self, run: RunSummary, now: float) -> RunSummary:
        """The run with the state that follows from that of its job."""
        submission = submission_of(run)
        is_asked = submission is not None and submission.job_id in self._asked
        return with_job(run, submission, self._jobs if is_asked else None, now)


def job_of(run: Path) -> str:
    """The id of the job that was submitted for a run last; empty where none was."""
    submission = read_submission(RunPaths(run))
    return submission.job_id if submission is not None else ""
