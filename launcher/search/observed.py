"""What a search knows of its jobs, as values. No optuna."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from launcher.config.request import BestMode
from launcher.search.space import Point


class Stage(Enum):
    """How far a job is, as a sampler sees it."""

    running = "running"
    """Or to be run: it has no value yet."""
    complete = "complete"
    pruned = "pruned"
    failed = "failed"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One evaluation of a job."""

    iterations: int
    """Done before it."""
    value: float
    """NaN where the metric was no number."""


Curve = Sequence[Measured]


@dataclass(frozen=True, kw_only=True)
class Observed:
    """One job."""

    number: int
    point: Point
    stage: Stage
    value: float | None
    """Of the metric; None unless the job is complete."""
    curve: Curve
    """All evaluations so far, in their order."""


@dataclass(frozen=True, kw_only=True)
class Aim:
    """What is looked for."""

    metric: str
    mode: BestMode

    def is_better(self, one: float, other: float) -> bool:
        """Whether the first value is better than the second."""
        return one > other if self.mode is BestMode.max else one < other
