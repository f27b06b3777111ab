"""Writes down what came of an evaluation: summary.json, charts, and a sheet of the worst errors, beside the results."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from detectron2.data import MetadataCatalog

from launcher.config.values import write_json
from launcher.data.truth import read_truth
from launcher.run.evaluation import EvaluationSummary
from launcher.train.evaluation.coco import RESULTS_FILE
from launcher.train.evaluation.confusion import Confusion, ImagePairs, confusion_of, pair_images
from launcher.train.evaluation.matches import Matches, match, tasks_in
from launcher.train.evaluation.precision import best_f1, mean_average_precision
from launcher.train.evaluation.summary import counts_of, summarize
from launcher.train.output.errors import draw_worst

logger = logging.getLogger(__name__)

SUMMARY = "summary.json"
DEFAULT_SCORE = 0.5
"""The threshold of errors where no object was found, so that there is no best one."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A ground truth and the detections on it, in COCO's formats."""

    ground_truth: Mapping[str, Any]
    detections: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What follows from them."""

    measured: Measured
    matches: Mapping[str, Matches]
    """By task."""
    paired: Sequence[ImagePairs]
    confusion: Confusion


def read_measured(dataset: str, folder: Path) -> Measured | None:
    """What a COCO evaluation of a registered data set left in its folder; None where there was none."""
    annotations, results = MetadataCatalog.get(dataset).get("json_file", None), folder / RESULTS_FILE
    if annotations is None or not results.exists():
        return None
    ground_truth = read_truth(Path(annotations))
    if not ground_truth.get("annotations"):
        return None
    return Measured(ground_truth=ground_truth, detections=json.loads(results.read_text(encoding="utf-8")))


def write_report(
    dataset: str,
    results: Mapping[str, Any],
    folder: Path,
    *,
    measured: Measured | None,
    iteration: int | None = None,
    sigmas: Sequence[float] = (),
    draws: bool = True,
) -> EvaluationSummary:
    """Write summary.json and, of a COCO evaluation, its charts; what cannot be written is logged and left out.

    Args:
        dataset: its registered name.
        results: the evaluators', by task.
        folder: that of the evaluation, `evaluation/<data set>/`.
        measured: see `read_measured`.
        iteration: after which the model was evaluated, counted from 0.
        sigmas: of keypoints, where they are not COCO's.
        draws: charts and the sheet of errors too.
    """
    findings = None if measured is None else find(measured, results, sigmas)
    if measured is not None and findings is None:
        logger.warning(
            "The detections in %s do not have the AP that the evaluator gave: they are of another evaluation, or were "
            "measured in another way. Only the evaluator's numbers are reported",
            folder / RESULTS_FILE,
        )
    summary = summarize(
        dataset,
        results,
        iteration=iteration,
        matches={} if findings is None else findings.matches,
        counts=None if findings is None else counts_of(findings.measured.ground_truth, findings.measured.detections),
        confusion=None if findings is None else findings.confusion,
    )
    _write(summary, folder / SUMMARY)
    if findings is not None and draws:
        _draw_all(dataset, findings, folder)
    return summary


def find(measured: Measured, results: Mapping[str, Any], sigmas: Sequence[float] = ()) -> Findings | None:
    """What follows from detections; None where they are not those that gave the results."""
    truth, detections = measured.ground_truth, measured.detections
    tasks = [task for task in tasks_in(detections) if task in results]
    matches = {task: match(truth, detections, task, sigmas=sigmas) for task in tasks}
    if not all(_agree(found, results[task]) for task, found in matches.items()):
        return None
    score = threshold_of(matches)
    paired = pair_images(truth, detections, score)
    confusion = confusion_of(paired, truth["categories"], score)
    return Findings(measured=measured, matches=matches, paired=paired, confusion=confusion)


def _agree(matches: Matches, metrics: Mapping[str, Any]) -> bool:
    given, own = metrics.get("AP"), mean_average_precision(matches)
    if given is None or not math.isfinite(given):  # detectron2 gives NaN where nothing was detected
        return own is None or own == 0
    return own is not None and math.isclose(given, own, abs_tol=1e-6)


def threshold_of(matches: Mapping[str, Matches]) -> float:
    """The score with the best F1 over all classes; boxes are asked, as they are for the confusion matrix."""
    best = best_f1(*matches["bbox"].classes) if "bbox" in matches else None
    return DEFAULT_SCORE if best is None else best.score


def _write(summary: EvaluationSummary, file: Path) -> None:
    try:
        write_json(file, summary)
    except OSError as error:  # a full disk ends no training
        logger.warning("%s could not be written (%s)", file, error.strerror or error)


def _draw_all(dataset: str, findings: Findings, folder: Path) -> None:
    # matplotlib would be a tenth of what a training imports before its first iteration.
    from launcher.train.output.charts import draw_confusion, draw_curves

    for task, found in findings.matches.items():
        _draw(folder / f"precision_recall_{task}.png", partial(draw_curves, found))
    _draw(folder / "confusion.png", partial(draw_confusion, findings.confusion))
    categories = findings.measured.ground_truth["categories"]
    _draw(folder / "errors.png", partial(draw_worst, dataset, findings.paired, categories, findings.confusion.score))


def _draw(file: Path, draw: Callable[[Path], None]) -> None:
    try:
        draw(file)
    except Exception:  # of whatever is odd in somebody's data: an image less is no reason to end anything
        logger.warning("%s could not be drawn", file, exc_info=True)
