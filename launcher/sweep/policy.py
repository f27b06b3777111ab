"""What is done with a job, by where it stands. Decides only."""

from __future__ import annotations

from enum import Enum

from launcher.config.request import Rerun
from launcher.sweep.values import JobState, Standing


class Turn(Enum):
    """What the same command does with a job."""

    run = "run"
    """From its beginning, or from its last checkpoint."""
    adopt = "adopt"
    """Another process is at it, or Slurm has it: it is waited for."""
    skip = "skip"
    """It has come to an end that counts."""


def turn_of(standing: Standing, rerun: Rerun) -> Turn:
    """Finished and pruned jobs count; what was interrupted resumes; a failure is repeated as `sweep.rerun` says."""
    match standing.state:
        case JobState.running | JobState.queued:
            return Turn.adopt
        case JobState.finished | JobState.pruned:
            return Turn.skip
        case JobState.failed:
            return Turn.run if is_repeated(standing, rerun) else Turn.skip
    return Turn.run


def is_repeated(standing: Standing, rerun: Rerun) -> bool:
    """Whether a failure is."""
    if rerun is Rerun.unfinished:
        return not standing.would_fail_again
    return rerun is Rerun.failed
