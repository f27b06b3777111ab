"""Which checkpoints of a run stay. Decisions only: nothing is removed here."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from launcher.config.request import BestMode, CheckpointSettings


@dataclass(frozen=True, kw_only=True)
class Best:
    """The best checkpoint so far."""

    metric: str
    value: float
    iteration: int


def checkpoints_to_remove(iterations: Collection[int], keep_last: int, *, needed: Collection[int] = ()) -> list[int]:
    """The numbered checkpoints to remove, oldest first; 0 keeps all, and `needed` ones stay anyway."""
    if keep_last == 0:
        return []
    return [iteration for iteration in sorted(iterations)[:-keep_last] if iteration not in needed]


def better(
    metrics: Mapping[str, float | None], iteration: int, settings: CheckpointSettings, best: Best | None
) -> Best | None:
    """The new best when these metrics are it, else None."""
    value = metrics.get(settings.keep_best) if settings.keep_best else None
    if value is None or not math.isfinite(value):
        return None
    now = Best(metric=settings.keep_best, value=value, iteration=iteration)
    if best is None or best.metric != now.metric or best.iteration == iteration:
        return now  # the same iteration again: its checkpoint was lost or damaged, and this is the new one
    improves = value > best.value if settings.best_mode is BestMode.max else value < best.value
    return now if improves else None
