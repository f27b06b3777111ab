"""Whether two models differ on a data set: AP of each class with a bootstrap confidence interval of the difference.

Everything is matched once. A bootstrap sample draws as many images as there are, with replacement, the same for both
models, and AP follows from the matches of its images, each as often as it was drawn (tests/train/evaluation/
test_compare.py checks that against pycocotools on the drawn images).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from launcher.run.evaluation import Comparison, Difference
from launcher.train.evaluation.matches import IOU_THRESHOLDS, ClassMatches, match
from launcher.train.evaluation.precision import RECALLS, average_precision, mean_average_precision

SAMPLES = 1000
CONFIDENCE = 0.95
AT_ONCE = 2_000_000
"""Numbers that are worked on at once; they bound the memory."""
ENOUGH = 0.5
"""The part of the samples that must have objects of a class."""


def compare(
    ground_truth: Mapping[str, Any],
    a: Sequence[Mapping[str, Any]],
    b: Sequence[Mapping[str, Any]],
    *,
    task: str = "bbox",
    sigmas: Sequence[float] = (),
    samples: int = SAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compare two sets of detections in COCO's results format; the same arguments give the same intervals."""
    of_a, of_b = (match(ground_truth, found, task, sigmas=sigmas) for found in (a, b))
    drawn = draw_images(len(of_a.image_ids), samples, seed)
    resampled = [np.stack([resampled_ap(one, drawn) for one in of.classes]) for of in (of_a, of_b)]
    differences = resampled[1] - resampled[0]
    return Comparison(
        task=task,
        images=len(of_a.image_ids),
        samples=samples,
        confidence=CONFIDENCE,
        seed=seed,
        overall=_difference(
            "all classes",
            sum(one.num_objects for one in of_a.classes),
            (mean_average_precision(of_a), mean_average_precision(of_b)),
            _mean_over_classes(differences),
        ),
        classes=tuple(
            _difference(one.name, one.num_objects, (average_precision(one), average_precision(other)), of_samples)
            for one, other, of_samples in zip(of_a.classes, of_b.classes, differences, strict=True)
        ),
    )


def draw_images(num_images: int, samples: int, seed: int) -> np.ndarray:
    """(samples, images): how often each image is in each sample."""
    # RandomState and not Generator: numpy promises that its numbers never change.
    return np.random.RandomState(seed).multinomial(num_images, np.full(num_images, 1 / num_images), size=samples)


def resampled_ap(one: ClassMatches, drawn: np.ndarray) -> np.ndarray:
    """AP of a class in each sample, percent; NaN where the sample has no object of it."""
    order = np.argsort(-one.score, kind="mergesort")
    ever_found = np.flatnonzero(one.found[:, order].any(axis=0))
    order = order[: ever_found[-1] + 1 if len(ever_found) else 0]  # what follows the last one found changes nothing
    image, found, ignored = one.image[order], one.found[:, order], one.ignored[:, order]
    return np.concatenate(
        [_ap_of(some[:, image], found, ignored, some @ one.objects) for some in _in_parts(drawn, len(order))]
    )


def _in_parts(drawn: np.ndarray, num_detections: int) -> Iterator[np.ndarray]:
    rows = max(1, AT_ONCE // max(1, num_detections))
    for start in range(0, len(drawn), rows):
        yield drawn[start : start + rows]


def _ap_of(times: np.ndarray, found: np.ndarray, ignored: np.ndarray, num_objects: np.ndarray) -> np.ndarray:
    """`times` (samples, detections) says how often each detection is there."""
    shown = np.cumsum(times, axis=1)
    total = np.zeros(len(times))
    for of_threshold, not_counted in zip(found, ignored, strict=True):
        places, left_out = np.flatnonzero(of_threshold), np.flatnonzero(not_counted)
        true = np.cumsum(times[:, places], axis=1)
        counted = shown[:, places] - _so_far(times[:, left_out])[:, np.searchsorted(left_out, places)]
        total += _area(true, counted, num_objects)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(num_objects > 0, 100 * total / len(IOU_THRESHOLDS), np.nan)


def _so_far(times: np.ndarray) -> np.ndarray:
    """Before each column, and after the last, the sum of those before it."""
    return np.pad(np.cumsum(times, axis=1), ((0, 0), (1, 0)))


def _area(true: np.ndarray, counted: np.ndarray, num_objects: np.ndarray) -> np.ndarray:
    """The mean precision at COCO's recalls, of the points at which an object is found: the others are never read."""
    precision = true / (counted + np.spacing(1))
    best_from_here = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    recall = true / np.maximum(1, num_objects)[:, None]
    reached = np.searchsorted(RECALLS, recall, side="right")
    return np.asarray((best_from_here * np.diff(reached, axis=1, prepend=0)).sum(axis=1) / len(RECALLS))


def _mean_over_classes(differences: np.ndarray) -> np.ndarray:
    """Over those that a sample has objects of."""
    known = np.isfinite(differences)
    number = known.sum(axis=0)
    total = np.where(known, differences, 0).sum(axis=0)
    return np.where(number > 0, total / np.maximum(1, number), np.nan)


def _difference(name: str, objects: int, ap: tuple[float | None, float | None], of_samples: np.ndarray) -> Difference:
    known = of_samples[np.isfinite(of_samples)]
    if len(known) < ENOUGH * len(of_samples):
        return Difference(name=name, objects=objects, a=ap[0], b=ap[1], low=None, high=None)
    low, high = np.quantile(known, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Difference(name=name, objects=objects, a=ap[0], b=ap[1], low=float(low), high=float(high))
