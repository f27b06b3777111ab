"""Reports each evaluation of a training as soon as it is done. For rank 0."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from detectron2.engine import HookBase

from launcher.run.paths import RunPaths
from launcher.train.output.evaluations import draw_evaluated, report_evaluation
from launcher.train.state import TrainingState

logger = logging.getLogger(__name__)


class ReportEvaluations(HookBase):
    """After each evaluation a table on the screen, summary.json, charts, and the validation images with predictions.

    Nothing of that ends a training, whatever evaluators, data or models of somebody's own give.
    """

    def __init__(self, paths: RunPaths, images: int, state: TrainingState) -> None:
        """With `images` of 0 nothing is drawn."""
        self.paths = paths
        self.images = images
        self.state = state
        self._reported = state.evaluated.after

    def before_train(self) -> None:
        self.after_step()  # an evaluation may just have been made up for

    def after_step(self) -> None:
        evaluated = self.state.evaluated
        if evaluated.after <= self._reported:
            return
        self._reported = evaluated.after
        try:
            self._report(evaluated.results)
        except Exception:  # see above
            logger.warning("The evaluation could not be reported", exc_info=True)

    def _report(self, results: Mapping[str, Any]) -> None:
        cfg, trainer = self.trainer.cfg, self.trainer
        iteration, draws = self.state.evaluated.after, self.images > 0
        summaries = report_evaluation(results, cfg, self.paths, iteration=iteration, draws=draws)
        if not draws:
            return
        with trainer.evaluated_weights():
            mapper = trainer.build_mapper(cfg, False)
            image = draw_evaluated(summaries, cfg, trainer.model, mapper, self.images, self.paths)
        if image is not None:
            trainer.storage.put_image("predictions", image)
