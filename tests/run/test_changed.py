from __future__ import annotations

from typing import Any

import pytest

from launcher.run.changed import Effect, changed_settings

BEFORE = {
    "SOLVER": {"MAX_ITER": 100, "STEPS": [50], "BASE_LR": 0.1, "IMS_PER_BATCH": 4, "AMP": {"ENABLED": False}},
    "MODEL": {"MASK_ON": True, "RETINANET": {"SCORE_THRESH_TEST": 0.1}},
    "DATASETS": {"TRAIN": ["a"], "TEST": ["b"]},
    "dataset": {"val": {"json": "t.json", "fraction": 0.2, "seed": 0}},
}


@pytest.mark.parametrize(
    ("setting", "now", "allowed", "effect"),
    [
        ("SOLVER.MAX_ITER", 200, [], Effect.applies),
        ("SOLVER.STEPS", [150], [], Effect.applies),
        ("SOLVER.AMP.ENABLED", True, [], Effect.applies),
        ("DATASETS.TEST", [], [], Effect.applies),
        ("MODEL.RETINANET.SCORE_THRESH_TEST", 0.2, [], Effect.applies),
        ("SOLVER.BASE_LR", 0.01, [], Effect.put_in),
        ("SOLVER.IMS_PER_BATCH", 8, [], Effect.refused),
        ("SOLVER.IMS_PER_BATCH", 8, ["SOLVER.IMS_PER_BATCH"], Effect.insisted),
        ("MODEL.MASK_ON", False, ["SOLVER"], Effect.refused),
        ("MODEL.MASK_ON", False, ["MODEL"], Effect.insisted),
        ("DATASETS.TRAIN", ["c"], [], Effect.refused),
        ("dataset.val.json", "v.json", [], Effect.applies),
        ("dataset.val.fraction", 0.3, [], Effect.refused),
        ("dataset.val.seed", 1, [], Effect.refused),
        ("dataset.val.seed", 1, ["dataset.val.seed"], Effect.insisted),
    ],
)
def test_every_changed_setting_has_a_declared_meaning(setting: str, now: Any, allowed: list[str], effect: Effect):
    *path, last = setting.split(".")
    changed: dict[str, Any] = {key: dict(value) for key, value in BEFORE.items()}
    node = changed
    for key in path:
        node[key] = dict(node[key])
        node = node[key]
    old, node[last] = node[last], now

    (only,) = changed_settings(BEFORE, changed, allowed)

    assert (only.setting, only.before, only.now, only.effect) == (setting, old, now, effect)


def test_what_stays_is_not_mentioned():
    assert changed_settings(BEFORE, BEFORE, []) == ()
