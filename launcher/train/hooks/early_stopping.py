"""Ends a training whose metric does not improve any more."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from detectron2.engine import HookBase

from launcher.config.request import BestMode, EarlyStoppingSettings
from launcher.config.values import to_plain
from launcher.run.outcome import EarlyStop, explain_early_stop
from launcher.train.state import TrainingState

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How a metric has done so far."""

    best: float | None = None
    evaluations: int = 0
    """In a row, up to the latest, without improvement."""
    judged_after: int = -1
    """The iteration after which the latest of them was due."""


def after_evaluation(standing: Standing, value: float, iteration: int, settings: EarlyStoppingSettings) -> Standing:
    """The standing after one more evaluation, due after `iteration`; NaN or Inf does not improve."""
    if math.isfinite(value) and (standing.best is None or _is_better(value, standing.best, settings)):
        return Standing(best=value, judged_after=iteration)
    return Standing(best=standing.best, evaluations=standing.evaluations + 1, judged_after=iteration)


def _is_better(value: float, best: float, settings: EarlyStoppingSettings) -> bool:
    gained = value - best if settings.mode is BestMode.max else best - value
    return gained > settings.min_delta


class EarlyStopping(HookBase):
    """Looks at the metrics of each evaluation, and ends the training after too many in a row without improvement.

    Every rank has the same metrics and so comes to the same end. Runs after the evaluation.
    """

    def __init__(self, settings: EarlyStoppingSettings, state: TrainingState) -> None:
        self.settings = settings
        self.state = state
        self.standing = Standing()
        self._has_complained = False

    def before_train(self) -> None:
        # An evaluation may just have been made up for, or the patience be less than in the attempt before.
        self.after_step()

    def after_step(self) -> None:
        evaluated = self.state.evaluated
        if evaluated.after > self.standing.judged_after:
            self._judge(evaluated.metrics, evaluated.after)
        if self.standing.evaluations >= self.settings.patience and not self.state.at_last_iteration:
            self._end()

    def _judge(self, metrics: Mapping[str, float], iteration: int) -> None:
        if self.settings.metric in metrics:
            self.standing = after_evaluation(self.standing, metrics[self.settings.metric], iteration, self.settings)
        elif not self._has_complained:
            self._has_complained = True
            logger.warning(
                "early_stopping.metric=%s has no effect: the evaluation gives %s",
                self.settings.metric,
                ", ".join(metrics) or "no metrics",
            )

    def _end(self) -> None:
        stop = EarlyStop(asked=self.settings, best=self.standing.best, evaluations=self.standing.evaluations)
        logger.info("%s", explain_early_stop(stop))
        self.state.stop_early(stop)

    def state_dict(self) -> dict[str, Any]:
        return {"judged_by": self._judged_by(), "standing": to_plain(self.standing)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the standing, unless another metric was looked at, or differently: then counting starts over."""
        if state["judged_by"] == self._judged_by():
            self.standing = Standing(**state["standing"])

    def _judged_by(self) -> dict[str, Any]:
        """All settings but the patience."""
        return {name: value for name, value in to_plain(self.settings).items() if name != "patience"}
