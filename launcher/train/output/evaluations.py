"""Shows what came of an evaluation, and writes it down beside its results. For rank 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from detectron2.config import CfgNode
from torch.nn import Module

from launcher.run.evaluation import EvaluationSummary
from launcher.run.paths import RunPaths
from launcher.show.evaluation import show_evaluation
from launcher.train.evaluation.report import SUMMARY, read_measured, write_report
from launcher.train.output.drawing import SCORE_SHOWN, draw_predictions
from launcher.train.output.logs import CONSOLE
from launcher.train.samples.mapped import Mapper


def report_evaluation(
    results: Mapping[str, Any], cfg: CfgNode, paths: RunPaths, *, iteration: int | None, draws: bool
) -> list[EvaluationSummary]:
    """Of each data set of DATASETS.TEST a table on the screen, summary.json and, if it draws, charts.

    `results` are as `Evaluation` has them; `iteration` is the one after which the model was evaluated, if known.
    """
    names = cfg.DATASETS.TEST
    by_dataset = {names[0]: results} if len(names) == 1 else results
    summaries = []
    for name in names:
        folder = paths.evaluation / name
        summary = write_report(
            name,
            by_dataset.get(name) or {},
            folder,
            measured=read_measured(name, folder),
            iteration=iteration,
            sigmas=cfg.TEST.KEYPOINT_OKS_SIGMAS,
            draws=draws,
        )
        show_evaluation(summary, CONSOLE, file=str(folder / SUMMARY))
        summaries.append(summary)
    return summaries


def draw_evaluated(
    summaries: Sequence[EvaluationSummary], cfg: CfgNode, model: Module, mapper: Mapper, count: int, paths: RunPaths
) -> np.ndarray | None:
    """Validation images with what was found, from the score on that the first confusion matrix has."""
    if count <= 0 or not summaries:
        return None
    threshold = SCORE_SHOWN if summaries[0].confusion is None else summaries[0].confusion.score
    return draw_predictions(cfg, model, mapper, count, paths.predictions, threshold=threshold)
