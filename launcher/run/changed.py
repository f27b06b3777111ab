"""What a changed setting means for a run that resumes. Decides only."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from launcher.run.identity import differences, is_within


class Effect(Enum):
    """Of a changed setting on a run that resumes."""

    applies = "applies from now on"
    put_in = "applies from now on, overriding the checkpoint"
    """The checkpoint has its own value, which is overridden."""
    insisted = "applies from now on (run.allow_changes)"
    refused = "another run"


OF_EVALUATION = ("dataset.val", "DATASETS.TEST", "TEST")
"""Settings that a model is evaluated with, beside every key that ends with `_TEST`."""
OF_DIVISION = ("dataset.val.fraction", "dataset.val.seed")
"""What validates, by these, does not train."""
# The schedule and precision: read anew by every attempt.
APPLY = (
    "SOLVER.MAX_ITER",
    "SOLVER.STEPS",
    "SOLVER.GAMMA",
    "SOLVER.LR_SCHEDULER_NAME",
    "SOLVER.NUM_DECAYS",
    "SOLVER.RESCALE_INTERVAL",
    "SOLVER.BASE_LR_END",
    "SOLVER.WARMUP_FACTOR",
    "SOLVER.WARMUP_ITERS",
    "SOLVER.WARMUP_METHOD",
    "SOLVER.CLIP_GRADIENTS",
    "SOLVER.AMP",
    "DATALOADER.PREFETCH_FACTOR",
)
# Kept in the optimizer's state, or in the schedule's.
PUT_IN = (
    "SOLVER.BASE_LR",
    "SOLVER.MOMENTUM",
    "SOLVER.NESTEROV",
    "SOLVER.WEIGHT_DECAY",
    "SOLVER.WEIGHT_DECAY_NORM",
    "SOLVER.WEIGHT_DECAY_BIAS",
    "SOLVER.BIAS_LR_FACTOR",
    "SOLVER.BACKBONE_MULTIPLIER",
)


@dataclass(frozen=True, kw_only=True)
class ChangedSetting:
    """A setting whose value was another in the previous attempt."""

    setting: str
    before: Any
    now: Any
    effect: Effect


def changed_settings(
    before: Mapping[str, Any], now: Mapping[str, Any], allowed: Collection[str]
) -> tuple[ChangedSetting, ...]:
    """What differs between two identities; `allowed` are keys, or nodes of keys, that the user insists on changing."""
    return tuple(
        ChangedSetting(setting=key, before=old, now=new, effect=_effect_of(key, allowed))
        for key, old, new in differences(before, now)
    )


def is_of_evaluation(key: str) -> bool:
    """Whether a setting changes what an evaluation gives, and nothing of the training."""
    if key in OF_DIVISION:
        return False
    return is_within(key, OF_EVALUATION) or key.endswith("_TEST")


def _effect_of(key: str, allowed: Collection[str]) -> Effect:
    if is_within(key, APPLY) or is_of_evaluation(key):
        return Effect.applies
    if is_within(key, PUT_IN):
        return Effect.put_in
    return Effect.insisted if is_within(key, allowed) else Effect.refused
