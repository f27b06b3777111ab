"""Shows what came of each evaluation, and writes it down beside its results. For rank 0."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from detectron2.engine import HookBase

from launcher.run.evaluation import EvaluationSummary
from launcher.run.paths import RunPaths
from launcher.show.evaluation import show_evaluation
from launcher.train.evaluation.report import SUMMARY, read_measured, write_report
from launcher.train.output.drawing import SCORE_SHOWN, draw_predictions
from launcher.train.output.logs import CONSOLE
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
        names = self.trainer.cfg.DATASETS.TEST
        by_dataset = {names[0]: results} if len(names) == 1 else results
        summaries = [self._report_on(name, by_dataset.get(name) or {}) for name in names]
        if self.images > 0 and summaries:
            self._draw(_threshold_of(summaries[0]))

    def _report_on(self, dataset: str, results: Mapping[str, Any]) -> EvaluationSummary:
        folder = self.paths.evaluation / dataset
        summary = write_report(
            dataset,
            results,
            folder,
            measured=read_measured(dataset, folder),
            iteration=self.state.evaluated.after,
            sigmas=self.trainer.cfg.TEST.KEYPOINT_OKS_SIGMAS,
            draws=self.images > 0,
        )
        show_evaluation(summary, CONSOLE, file=folder / SUMMARY)
        return summary

    def _draw(self, threshold: float) -> None:
        cfg = self.trainer.cfg
        mapper = self.trainer.build_mapper(cfg, False)
        with self.trainer.evaluated_weights():
            image = draw_predictions(
                cfg, self.trainer.model, mapper, self.images, self.paths.predictions, threshold=threshold
            )
        if image is not None:
            self.trainer.storage.put_image("predictions", image)


def _threshold_of(summary: EvaluationSummary) -> float:
    """The one of the confusion matrix, so that both show the same errors."""
    return SCORE_SHOWN if summary.confusion is None else summary.confusion.score
