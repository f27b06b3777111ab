"""What a sweep is, and where its jobs stand. Data only: looks at no disk."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from launcher.config.request import BestMode

SWEEP_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run of a sweep."""

    number: int
    """In the order in which the jobs came to be, from 0."""
    overrides: tuple[str, ...]
    """Of this job alone: what is swept, with its values, and the seed where points are repeated."""
    folder: str
    """Its run folder, below that of the sweep."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """One command that makes several runs, as sweep.json has it. Where they stand is in their folders alone."""

    version: int
    folder: Path
    command: str
    """As last typed, for a shell."""
    fixed: tuple[str, ...]
    """The overrides that all jobs share, as typed."""
    swept: tuple[str, ...]
    """The keys that differ from job to job."""
    sweeper: str
    """`grid`, `search` or the name of another of Hydra's sweepers."""
    metric: str
    """That the jobs are compared by; empty is the main one of each."""
    mode: BestMode
    seed: int | None
    """Of all jobs; None where SEED itself is swept."""
    seeds: int
    """How often each point is run, with seeds that follow `seed`."""
    jobs: tuple[Job, ...]

    def folder_of(self, job: Job) -> Path:
        return self.folder / job.folder


class JobState(Enum):
    """What a job is at; exactly one of them."""

    planned = "planned"
    """Nothing of it has begun."""
    queued = "queued"
    """Slurm has it, for the first time or once more."""
    running = "running"
    stopped = "stopped"
    """Interrupted; it resumes from its last checkpoint."""
    finished = "finished"
    failed = "failed"
    pruned = "pruned"
    """Ended by a search, which expected nothing of it any more."""


WAITS = (JobState.planned, JobState.queued)
"""Of a job that has not begun."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where one job stands, by the files of its folder."""

    job: Job
    state: JobState
    code: str
    """Of what made it fail, empty otherwise."""
    iterations: int
    """Done so far."""
    total: int | None
    """Iterations of the whole training; None where nobody knows."""
    metric: str
    """The name of the one it is compared by; empty before the first evaluation."""
    value: float | None
    """Latest value of that metric; None where there is no finite one."""
    metrics: Mapping[str, float]
    """Latest evaluation, without what is NaN or Inf."""
    seconds: float
    """For which it ran, all attempts together."""
    iteration_s: float | None
    """Median of the latest iterations; None before the first ones, or where it does not run."""
    device: str
    would_fail_again: bool
    """Of a failure: the same command would end in the same way."""
    in_slurm: str
    """Its job in Slurm's queue, such as `17_3 PENDING (Priority)`; empty where it has none, or Slurm was not asked."""

    @property
    def left_s(self) -> float | None:
        """Until its last iteration, without evaluations; None where nobody knows."""
        if self.iteration_s is None or self.total is None:
            return None
        return max(self.total - self.iterations, 0) * self.iteration_s


def rank_key(standing: Standing, mode: BestMode) -> tuple[float, int]:
    """Sorts the best first; those without a value last, in their order."""
    if standing.value is None:
        return math.inf, standing.job.number
    return (-standing.value if mode is BestMode.max else standing.value), standing.job.number
