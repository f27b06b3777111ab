"""What is asked of a search, and what it knows of its jobs. Data only; no optuna."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from launcher.config.request import BestMode
from launcher.search.space import Point, Space
from launcher.sweep.curves import Curve

NO_PRUNER = "none"


class Stage(Enum):
    """How far a job is, as a sampler sees it."""

    running = "running"
    """Or to be run: it has no value yet."""
    complete = "complete"
    pruned = "pruned"
    failed = "failed"


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


@dataclass(frozen=True, kw_only=True)
class Proposing:
    """How points are proposed."""

    space: Space
    aim: Aim
    sampler: str
    """A name of `SAMPLERS`."""
    settings: Mapping[str, Any]
    """Of the sampler, beside its seed."""
    seed: int


@dataclass(frozen=True, kw_only=True)
class Pruning:
    """How jobs are judged."""

    pruner: str
    """A name of `PRUNERS`."""
    settings: Mapping[str, Any]

    @property
    def prunes(self) -> bool:
        return self.pruner != NO_PRUNER


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is searched, and for how long."""

    how: Proposing
    pruning: Pruning
    n_trials: int
    """All jobs together, those of earlier starts too."""
    first: Point | None
    """The point of job 0: the configuration as it is, where that lies in the space."""
    overrides_of: Callable[[Point], tuple[str, ...]]
    """All that a job of that point is given."""
