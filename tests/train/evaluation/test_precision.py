from __future__ import annotations

import numpy as np
import pytest

from launcher.train.evaluation.matches import IOU_THRESHOLDS, ClassMatches
from launcher.train.evaluation.precision import average_precision, best_f1, curve


def of_class(*detections: tuple[float, str], objects: int) -> ClassMatches:
    """Detections by score, each "found", "false" or "ignored" at every threshold."""
    kinds = np.array([kind for _, kind in detections], dtype=object)
    every = np.ones((len(IOU_THRESHOLDS), 1), dtype=bool)
    return ClassMatches(
        category_id=1,
        name="cat",
        image=np.zeros(len(detections), dtype=np.int64),
        score=np.array([score for score, _ in detections]),
        found=every & (kinds == "found"),
        ignored=every & (kinds == "ignored"),
        objects=np.array([objects]),
    )


@pytest.mark.parametrize(
    ("detections", "objects", "score", "f1"),
    [
        ([(0.9, "found"), (0.8, "false")], 1, 0.9, 1.0),
        ([(0.9, "false"), (0.8, "found")], 1, 0.8, 2 / 3),
        ([(0.9, "found"), (0.8, "found"), (0.7, "false")], 2, 0.8, 1.0),
        # A threshold cannot tell equal scores apart.
        ([(0.9, "found"), (0.9, "false")], 1, 0.9, 2 / 3),
        ([(0.9, "ignored"), (0.8, "found")], 1, 0.8, 1.0),
        # Of equally good ones the highest.
        ([(0.9, "found"), (0.5, "found"), (0.4, "false"), (0.3, "false")], 2, 0.5, 1.0),
    ],
)
def test_the_best_f1_is_at_the_score_where_precision_and_recall_balance(
    detections: list[tuple[float, str]], objects: int, score: float, f1: float
):
    best = best_f1(of_class(*detections, objects=objects))

    assert best is not None
    assert (best.score, best.f1) == (score, pytest.approx(f1))


@pytest.mark.parametrize(("detections", "objects"), [([], 3), ([(0.9, "false")], 3), ([(0.9, "false")], 0)])
def test_where_nothing_was_found_there_is_no_best_threshold(detections: list[tuple[float, str]], objects: int):
    assert best_f1(of_class(*detections, objects=objects)) is None


def test_classes_taken_together_share_a_threshold():
    sure = of_class((0.9, "found"), (0.3, "false"), objects=1)
    unsure = of_class((0.6, "found"), (0.2, "false"), objects=1)

    best = best_f1(sure, unsure)

    assert best is not None
    assert (best.score, best.f1, best.precision, best.recall) == (0.6, 1, 1, 1)


def test_ap_of_a_class_is_in_percent_and_none_without_objects():
    assert average_precision(of_class((0.9, "found"), objects=1)) == pytest.approx(100)
    assert average_precision(of_class((0.9, "found"), objects=1), 0.5) == pytest.approx(100)
    assert average_precision(of_class((0.9, "false"), objects=0)) is None


def test_a_curve_falls_through_the_scores_and_leaves_out_what_counts_neither_way():
    points = curve(of_class((0.5, "false"), (0.9, "found"), (0.7, "ignored"), objects=2))

    assert points.score.tolist() == [0.9, 0.5]
    assert points.precision.tolist() == [1, 0.5]
    assert points.recall.tolist() == [0.5, 0.5]
