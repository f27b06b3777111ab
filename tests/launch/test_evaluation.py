from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launcher.config.request import DatasetRequest, RunSettings, ValRequest
from launcher.config.task import EvaluateRequest
from launcher.errors import RequestError
from launcher.files import write_text
from launcher.launch.attempts import launch
from launcher.launch.inference import evaluation_instead
from launcher.run.changed import ChangedSetting, Effect
from launcher.run.identity import run_folder
from launcher.run.plan import Finished, New, Report, Resume, RunPlan
from launcher.run.resume import ResumePoint
from tests.launch.conducted import KEYS, World
from tests.values import TYPED, a_plan, a_request

WITH_TEST = {**KEYS, "DATASETS": {"TRAIN": ["some_train"], "TEST": ["some_val"]}}


def finished_plan(*settings: str, keys: Any = WITH_TEST, **parts: Any) -> RunPlan:
    changed = tuple(ChangedSetting(setting=name, before="a", now="b", effect=Effect.applies) for name in settings)
    report = Report(adjustments=(), warnings=(), notices=(), changed=changed)
    return a_plan(keys, folder="/runs/a", report=report, **{"start": Finished(stopped_early=None), **parts})


@pytest.mark.parametrize(
    "setting",
    [
        "dataset.val.json",
        "dataset.val.images",
        "DATASETS.TEST",
        "INPUT.MIN_SIZE_TEST",
        "TEST.AUG.ENABLED",
        "MODEL.ROI_HEADS.SCORE_THRESH_TEST",
    ],
)
def test_a_finished_run_with_another_evaluation_is_evaluated_in_a_folder_of_its_own(setting: str):
    request = a_request(WITH_TEST, run=RunSettings(name="a"))

    instead = evaluation_instead(request, finished_plan(setting))

    assert instead is not None
    assert instead.task == EvaluateRequest(run="/runs/a", checkpoint="", out="")
    assert instead.keys["MODEL.WEIGHTS"] == "/runs/a/checkpoints/model_final.pth"
    assert run_folder(instead).parent == Path("/runs/a/evaluations")


RESUMES = Resume(point=ResumePoint(path="x", next_iteration=3), damaged=(), may_reorder=False)
NO_TEST = {**KEYS, "DATASETS": {"TRAIN": ["some_train"], "TEST": []}}


@pytest.mark.parametrize(
    "plan",
    [
        pytest.param(finished_plan(), id="nothing changed"),
        pytest.param(finished_plan("SOLVER.GAMMA"), id="another schedule"),
        pytest.param(finished_plan("dataset.val.json", start=RESUMES), id="iterations are left"),
        pytest.param(finished_plan("DATASETS.TEST", keys=NO_TEST), id="validation off"),
    ],
)
def test_nothing_is_evaluated_instead_where_the_training_itself_answers(plan: RunPlan):
    assert evaluation_instead(a_request(WITH_TEST), plan) is None


@pytest.fixture
def request_for(tmp_path: Path) -> Any:
    for name in ("val.json", "weights.pth"):
        write_text(tmp_path / name, json.dumps(name))
    keys = {**WITH_TEST, "MODEL": {"DEVICE": "cuda", "WEIGHTS": str(tmp_path / "weights.pth")}}
    return a_request(
        keys,
        typed=replace(TYPED, task=EvaluateRequest(run="", checkpoint="", out="")),
        run=RunSettings(root=str(tmp_path / "outputs"), provenance=False),
        dataset=DatasetRequest(val=ValRequest(json=str(tmp_path / "val.json"), images=str(tmp_path))),
    )


def test_the_same_evaluation_is_done_once_and_again_when_its_annotations_have_changed(request_for: Any, tmp_path: Path):
    first = launch(request_for, World().session())
    again = launch(request_for, World().session())
    write_text(tmp_path / "val.json", "corrected")
    corrected = launch(request_for, World().session())

    assert isinstance(first.plan.start, New)
    assert isinstance(again.plan.start, Finished)
    assert corrected.plan.start == New(archives=True)


def test_an_evaluation_on_nothing_is_refused_and_says_how_to_name_a_data_set(request_for: Any):
    nothing = replace(request_for, keys=replace_test(request_for))

    with pytest.raises(RequestError, match=r"nothing to evaluate on: .*dataset\.val\.json=FILE"):
        launch(nothing, World().session())


def replace_test(request: Any) -> Any:
    return a_request({**request.keys.nested(), "DATASETS": {"TRAIN": ["some_train"], "TEST": []}}).keys
