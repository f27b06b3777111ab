"""What an evaluation comes to: the evaluator's own numbers, and per class what else can be said of its detections."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from launcher.config.metrics import PER_CLASS
from launcher.run.evaluation import (
    VERSION,
    ClassScores,
    ConfusionSummary,
    Counts,
    EvaluationSummary,
    TaskSummary,
)
from launcher.train.evaluation.confusion import Confusion
from launcher.train.evaluation.matches import ClassMatches, Matches
from launcher.train.evaluation.pairing import PAIRED_FROM
from launcher.train.evaluation.precision import average_precision, best_f1


def summarize(
    dataset: str,
    results: Mapping[str, Any],
    *,
    iteration: int | None,
    matches: Mapping[str, Matches],
    counts: Counts | None,
    confusion: Confusion | None,
) -> EvaluationSummary:
    """Put together what is known of one data set.

    Args:
        results: the evaluators', by task: {"bbox": {"AP": 40.0, "AP-cat": 50.0}}.
        matches: by task, as far as there are any.
    """
    return EvaluationSummary(
        version=VERSION,
        dataset=dataset,
        iteration=iteration,
        counts=counts,
        tasks={
            task: _summarize_task(task, metrics, matches.get(task))
            for task, metrics in results.items()
            if isinstance(metrics, Mapping)
        },
        confusion=None if confusion is None else _in_pairs(confusion),
    )


def counts_of(ground_truth: Mapping[str, Any], detections: Sequence[Mapping[str, Any]]) -> Counts:
    annotations = ground_truth.get("annotations", ())
    crowds = sum(bool(one.get("iscrowd", 0)) for one in annotations)
    return Counts(
        images=len(ground_truth["images"]),
        objects=len(annotations) - crowds,
        crowds=crowds,
        detections=len(detections),
    )


def _summarize_task(task: str, metrics: Mapping[str, Any], matches: Matches | None) -> TaskSummary:
    numbers = {key: _number(value) for key, value in metrics.items() if isinstance(value, int | float | np.number)}
    by_class = _by_class(numbers, PER_CLASS.get(task, ()))
    return TaskSummary(
        metrics={key: value for key, value in numbers.items() if not key.startswith(PER_CLASS.get(task, ()))},
        classes=_classes_by_name(by_class) if matches is None else _classes_of(matches, by_class),
        best_f1=None if matches is None else best_f1(*matches.classes),
    )


def _by_class(metrics: Mapping[str, float | None], prefixes: Sequence[str]) -> dict[str, dict[str, float | None]]:
    """From detectron2's `AP-cat` and the like: {"cat": {"AP": ...}}."""
    by_class: dict[str, dict[str, float | None]] = {}
    for key, value in metrics.items():
        for prefix in prefixes:
            if key.startswith(prefix):
                by_class.setdefault(key.removeprefix(prefix), {})[prefix.rstrip("-")] = value
    return by_class


def _classes_by_name(by_class: Mapping[str, Mapping[str, float | None]]) -> tuple[ClassScores, ...]:
    return tuple(
        ClassScores(name=name, objects=None, metrics=metrics, best_f1=None) for name, metrics in by_class.items()
    )


def _classes_of(matches: Matches, by_class: Mapping[str, Mapping[str, float | None]]) -> tuple[ClassScores, ...]:
    """With the evaluator's AP where it gives one; of a single class it does not."""
    return tuple(
        ClassScores(
            name=one.name,
            objects=one.num_objects,
            metrics={
                "AP": average_precision(one),
                "AP50": average_precision(one, 0.5),
                **(by_class.get(one.name, {}) if is_unique else {}),
            },
            best_f1=best_f1(one),
        )
        for one, is_unique in _with_uniqueness(matches)
    )


def _with_uniqueness(matches: Matches) -> list[tuple[ClassMatches, bool]]:
    """Of classes of the same name detectron2 gives the AP of the last one only."""
    times = Counter(one.name for one in matches.classes)
    return [(one, times[one.name] == 1) for one in matches.classes]


def _number(value: Any) -> float | None:
    """JSON has no NaN."""
    return float(value) if math.isfinite(value) else None


def _in_pairs(confusion: Confusion) -> ConfusionSummary:
    names = (*confusion.names, "")
    return ConfusionSummary(
        score=confusion.score,
        iou=PAIRED_FROM,
        pairs=tuple(
            (names[true], names[predicted], int(confusion.counts[true, predicted]))
            for true, predicted in np.argwhere(confusion.counts)
        ),
    )
