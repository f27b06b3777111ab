"""How far a training is: what its trainer and hooks know of each other, each part with one owner who changes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from launcher.run.outcome import EarlyStop


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """Where the evaluations of a training stand."""

    after: int = -1
    """The iteration after which the latest complete one was due; -1 before the first."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """What it gave, flat: `bbox/AP` and the like. Every rank has them."""
    results: Mapping[str, Any] = field(default_factory=dict)
    """As the evaluators gave them, where this attempt evaluated. Rank 0 has them; no checkpoint does."""
    missing: bool = False
    """A later one was stopped or failed before its end. The next attempt begins with it."""

    def metrics_after(self, iteration: int) -> Mapping[str, float]:
        """The metrics of an evaluation after this very iteration; none when the latest was another."""
        return self.metrics if self.after == iteration else {}


@dataclass(kw_only=True)
class TrainingState:
    """How far a training is, in all attempts together.

    The trainer has one and counts in it; hooks get it when they are made. It is part of every checkpoint, but for what
    concerns the attempt alone.
    """

    max_iter: int
    start: int = 0
    """Iterations that were done when this attempt began."""
    iterations_done: int = 0
    """Counted by the trainer."""
    images_seen: int = 0
    """Counted by the trainer."""
    evaluated: Evaluated = field(default_factory=Evaluated)
    """Replaced by the hook that evaluates."""
    unreadable: Mapping[str, str] = field(default_factory=dict)
    """Images of DATASETS.TEST that this attempt could not read, by file, and why. From the hook that evaluates."""
    data_wait: float | None = None
    """Fraction of this attempt's time that went by until batches were there. From the hook that measures it."""
    written_until: int = -1
    """The last iteration whose metrics are written. Moved by the hook that writes them."""
    stopping: bool = False
    """All ranks agreed that this iteration is the last one of the attempt."""
    stopped_early: EarlyStop | None = None
    """All ranks agreed that the training ends before its last iteration. Set by the hook that decides so."""

    @property
    def last_iteration(self) -> int:
        """The index of the latest iteration; -1 before the first."""
        return self.iterations_done - 1

    @property
    def at_last_iteration(self) -> bool:
        return self.iterations_done >= self.max_iter

    @property
    def at_end(self) -> bool:
        """No iteration is left to do."""
        return self.at_last_iteration or self.stopped_early is not None

    @property
    def finished(self) -> bool:
        return self.at_end and not self.evaluated.missing

    def count_iteration(self, images: int) -> None:
        self.iterations_done += 1
        self.images_seen += images

    def stop_early(self, why: EarlyStop) -> None:
        self.stopped_early = why
        self.stopping = True

    def miss_evaluation(self) -> None:
        self.evaluated = replace(self.evaluated, missing=True)

    def state_dict(self) -> dict[str, Any]:
        """In plain values, under the names that checkpoints have had from the beginning."""
        return {
            "images_seen": self.images_seen,
            "written_until": self.written_until,
            "evaluation_missing": self.evaluated.missing,
            "evaluated": {"after": self.evaluated.after, "metrics": dict(self.evaluated.metrics)},
        }

    def load_state_dict(self, state: Mapping[str, Any], *, iterations_done: int, images_per_iteration: int) -> None:
        """Also of a checkpoint that detectron2 wrote, which says less."""
        self.start = self.iterations_done = iterations_done
        self.images_seen = state.get("images_seen", iterations_done * images_per_iteration)
        self.written_until = state.get("written_until", self.last_iteration)
        evaluated = state.get("evaluated", {"after": -1, "metrics": {}})
        self.evaluated = Evaluated(
            after=evaluated["after"], metrics=evaluated["metrics"], missing=state.get("evaluation_missing", False)
        )
