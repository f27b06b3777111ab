from __future__ import annotations

import math

import pytest

from launcher.config.request import BestMode, CheckpointSettings
from launcher.run.retention import Best, better, checkpoints_to_remove

KEEP_AP = CheckpointSettings(keep_best="bbox/AP")
KEEP_LOSS = CheckpointSettings(keep_best="loss", best_mode=BestMode.min)


@pytest.mark.parametrize(
    ("keep_last", "gone"),
    [(0, []), (1, [9, 19, 29]), (2, [9, 19]), (4, []), (9, [])],
)
def test_the_newest_stay_and_zero_keeps_all(keep_last: int, gone: list[int]):
    assert checkpoints_to_remove([29, 9, 39, 19], keep_last) == gone


def test_what_is_needed_stays_whatever_its_age():
    assert checkpoints_to_remove([9, 19, 29, 39], 1, needed={19}) == [9, 29]


@pytest.mark.parametrize(
    ("settings", "before", "value", "is_better"),
    [
        (KEEP_AP, None, 0.0, True),
        (KEEP_AP, 30.0, 30.1, True),
        (KEEP_AP, 30.0, 30.0, False),
        (KEEP_AP, 30.0, 29.0, False),
        (KEEP_AP, 30.0, math.nan, False),
        (KEEP_AP, None, math.nan, False),
        (KEEP_LOSS, 1.0, 0.9, True),
        (KEEP_LOSS, 1.0, 1.1, False),
        (KEEP_LOSS, 1.0, -math.inf, False),
    ],
)
def test_better_is_what_the_mode_says(
    settings: CheckpointSettings, before: float | None, value: float, is_better: bool
):
    metric = settings.keep_best
    best = None if before is None else Best(metric=metric, value=before, iteration=9)

    now = better({metric: value, "other": 1.0}, 19, settings, best)

    assert now == (Best(metric=metric, value=value, iteration=19) if is_better else None)


def test_another_metric_starts_over_and_the_same_iteration_counts_again():
    best = Best(metric="segm/AP", value=99.0, iteration=9)
    same = Best(metric="bbox/AP", value=30.0, iteration=19)

    assert better({"bbox/AP": 1.0}, 19, KEEP_AP, best) is not None
    assert better({"bbox/AP": 30.0}, 19, KEEP_AP, same) == same


@pytest.mark.parametrize("metrics", [{}, {"segm/AP": 3.0}, {"bbox/AP": None}])
def test_without_the_metric_nothing_is_better(metrics: dict):
    assert better(metrics, 19, KEEP_AP, None) is None
    assert better({"bbox/AP": 1.0, "": 2.0}, 19, CheckpointSettings(), None) is None
