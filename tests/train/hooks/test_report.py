from __future__ import annotations

import contextlib
import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from detectron2.config import get_cfg
from detectron2.utils.events import EventStorage

from launcher.run.paths import RunPaths
from launcher.train.hooks.report import ReportEvaluations
from launcher.train.state import Evaluated, TrainingState

DRAWN = np.zeros((3, 4, 4), dtype=np.uint8)


def reporting(folder: Path, state: TrainingState, *datasets: str, images: int = 0) -> ReportEvaluations:
    hook = ReportEvaluations(RunPaths(folder), images, state)
    cfg = get_cfg()
    cfg.DATASETS.TEST = datasets or ("val",)
    trainer: Any = SimpleNamespace(
        cfg=cfg,
        storage=EventStorage(0),
        model=None,
        build_mapper=lambda *_: None,
        evaluated_weights=contextlib.nullcontext,
    )
    hook.trainer = trainer
    return hook


def evaluated_after(iteration: int, results: dict[str, Any]) -> Evaluated:
    return Evaluated(after=iteration, metrics={}, results=results)


def test_each_evaluation_is_reported_once(tmp_path: Path):
    state = TrainingState(max_iter=9)
    hook = reporting(tmp_path, state)
    hook.before_train()
    summary = tmp_path / "evaluation" / "val" / "summary.json"
    assert not summary.exists()

    state.evaluated = evaluated_after(3, {"bbox": {"AP": 40.0}})
    hook.after_step()
    first = json.loads(summary.read_text())
    summary.unlink()
    hook.after_step()
    assert not summary.exists()
    state.evaluated = evaluated_after(7, {"bbox": {"AP": 41.0}})
    hook.after_step()

    assert (first["iteration"], first["tasks"]["bbox"]["metrics"]) == (3, {"AP": 40.0})
    assert json.loads(summary.read_text())["iteration"] == 7


def test_what_was_evaluated_before_this_attempt_is_not_reported_again(tmp_path: Path):
    state = TrainingState(max_iter=9, evaluated=Evaluated(after=3, metrics={"bbox/AP": 40.0}))
    hook = reporting(tmp_path, state)

    hook.before_train()

    assert not (tmp_path / "evaluation").exists()


def test_each_data_set_has_a_summary_of_its_own(tmp_path: Path):
    state = TrainingState(max_iter=9)
    hook = reporting(tmp_path, state, "one", "two")

    state.evaluated = evaluated_after(3, {"one": {"bbox": {"AP": 1.0}}, "two": {"bbox": {"AP": 2.0}}})
    hook.after_step()

    read = [json.loads((tmp_path / "evaluation" / name / "summary.json").read_text()) for name in ("one", "two")]
    assert [one["tasks"]["bbox"]["metrics"]["AP"] for one in read] == [1.0, 2.0]


@pytest.mark.parametrize(("images", "drawn"), [(0, []), (2, ["predictions", "predictions"])])
def test_predictions_are_drawn_after_each_evaluation_for_tensorboard_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: int, drawn: list[str]
):
    monkeypatch.setattr("launcher.train.output.evaluations.draw_predictions", lambda *_, **__: DRAWN)
    state = TrainingState(max_iter=9)
    hook = reporting(tmp_path, state, images=images)

    for iteration in (3, 7):
        state.evaluated = evaluated_after(iteration, {"bbox": {"AP": 40.0}})
        hook.after_step()

    trainer: Any = hook.trainer
    assert [name for name, *_ in trainer.storage._vis_data] == drawn


@pytest.mark.parametrize("results", [{"bbox": {"AP": object()}}, {"bbox": None}, {"val": 3}, None])
def test_whatever_an_evaluator_of_somebodys_own_gives_the_training_continues(tmp_path: Path, results: Any):
    state = TrainingState(max_iter=9)
    hook = reporting(tmp_path, state)

    state.evaluated = evaluated_after(3, results)
    hook.after_step()

    assert hook._reported == 3


def test_a_model_that_cannot_be_drawn_ends_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def fail(*_: object, **__: object) -> None:
        raise KeyError("instances")

    monkeypatch.setattr("launcher.train.output.evaluations.draw_predictions", fail)
    state = TrainingState(max_iter=9)
    hook = reporting(tmp_path, state, images=2)

    state.evaluated = evaluated_after(3, {"bbox": {"AP": 40.0}})
    with caplog.at_level(logging.WARNING):
        hook.after_step()

    assert caplog.messages == ["The evaluation could not be reported"]
    assert (tmp_path / "evaluation" / "val" / "summary.json").exists()
