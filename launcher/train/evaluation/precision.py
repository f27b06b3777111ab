"""Precision, recall and what follows from them, of matches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from launcher.run.evaluation import BestF1
from launcher.train.evaluation.matches import IOU_THRESHOLDS, ClassMatches, Matches

RECALLS = np.linspace(0.0, 1.0, 101)
"""Where COCO evaluation reads the precision."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Of one class at an IoU of 0.5, over falling scores: one point for each detection that counts."""

    score: np.ndarray
    precision: np.ndarray
    recall: np.ndarray


def precision_at_recalls(one: ClassMatches) -> np.ndarray | None:
    """(thresholds, recalls), as pycocotools gives it; None where no object counts."""
    if one.num_objects == 0:
        return None
    order = np.argsort(-one.score, kind="mergesort")
    found, counts = one.found[:, order], ~one.ignored[:, order]
    true = np.cumsum(found, axis=1).astype(float)
    false = np.cumsum(~found & counts, axis=1).astype(float)
    return np.array([_read(tp, fp, one.num_objects) for tp, fp in zip(true, false, strict=True)])


def _read(true: np.ndarray, false: np.ndarray, num_objects: int) -> np.ndarray:
    recall = true / num_objects
    precision = true / (false + true + np.spacing(1))
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(recall, RECALLS, side="left")
    reached = places < len(recall)
    values = np.zeros(len(RECALLS))
    values[reached] = best_from_here[places[reached]]
    return values


def average_precision(one: ClassMatches, iou: float | None = None) -> float | None:
    """In percent, over all IoU thresholds or at one of them; None where no object counts."""
    precision = precision_at_recalls(one)
    if precision is None:
        return None
    chosen = precision if iou is None else precision[np.isclose(IOU_THRESHOLDS, iou)]
    return float(np.mean(chosen.ravel()) * 100)


def mean_average_precision(matches: Matches) -> float | None:
    """In percent, the mean over the classes that have objects; None where none has."""
    precisions = [found for one in matches.classes if (found := precision_at_recalls(one)) is not None]
    return float(np.mean(precisions) * 100) if precisions else None


def curve(one: ClassMatches) -> Curve:
    counts = ~one.ignored[0]
    score, found = one.score[counts], one.found[0][counts]
    order = np.argsort(-score, kind="mergesort")
    true = np.cumsum(found[order])
    return Curve(
        score=score[order],
        precision=true / np.arange(1, len(true) + 1),
        recall=true / max(1, one.num_objects),
    )


def best_f1(*classes: ClassMatches) -> BestF1 | None:
    """The score threshold at which detections of these classes, taken together, have the best F1 at an IoU of 0.5.

    The highest such threshold; None where no object counts or none was found.
    """
    num_objects = sum(one.num_objects for one in classes)
    counts = np.concatenate([~one.ignored[0] for one in classes] or [np.zeros(0, dtype=bool)])
    score = np.concatenate([one.score for one in classes] or [np.zeros(0)])[counts]
    found = np.concatenate([one.found[0] for one in classes] or [np.zeros(0, dtype=bool)])[counts]
    if num_objects == 0 or not found.any():
        return None
    order = np.argsort(-score, kind="stable")
    score, true = score[order], np.cumsum(found[order])
    shown = np.arange(1, len(true) + 1)
    f1 = 2 * true / (shown + num_objects)
    f1[:-1][score[:-1] == score[1:]] = 0  # a threshold takes all of the same score
    best = int(f1.argmax())
    return BestF1(
        score=float(score[best]),
        f1=float(f1[best]),
        precision=float(true[best] / shown[best]),
        recall=float(true[best] / num_objects),
    )
