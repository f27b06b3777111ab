"""A learning rate that decays in steps of equal length, also in the last iteration.

After the last iteration detectron2 sets the rate of the one that would follow, and fvcore then looks for a step behind
the last: every training with SOLVER.LR_SCHEDULER_NAME=WarmupStepWithFixedGammaLR would end with an IndexError.
"""

from __future__ import annotations

from fvcore.common.param_scheduler import StepParamScheduler

_theirs = StepParamScheduler.__call__


def decay_to_the_end() -> None:
    """Let the schedulers of this process take the last step's rate at their end. For good: one run, one process."""
    StepParamScheduler.__call__ = value_at


def value_at(scheduler: StepParamScheduler, where: float) -> float:
    """The rate at that part of the training, from 0 to 1."""
    value: float = _theirs(scheduler, min(where, 1 - 2 * scheduler.WHERE_EPSILON))
    return value
