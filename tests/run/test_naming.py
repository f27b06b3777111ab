"""Names that people recognise, the same for the same settings."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from launcher.config.keys import Keys
from launcher.config.request import DatasetKind, DatasetRequest, RunRequest, SplitRequest
from launcher.run.naming import LONGEST_NAME, group_of, name_of, shortest_key
from tests.values import TYPED, a_request

KEYS = Keys({
    "VERSION": 2,
    "MODEL": {
        "META_ARCHITECTURE": "GeneralizedRCNN",
        "WEIGHTS": "",
        "ROI_HEADS": {"NUM_CLASSES": 80},
        "RETINANET": {"NUM_CLASSES": 80},
        "FPN": {"NORM": ""},
        "ANCHOR": {"FPN": {"X": 1}},
    },
    "SOLVER": {"BASE_LR": 0.1, "BASE_LR_END": 0.0, "STEPS": [1], "IMS_PER_BATCH": 16},
    "DATASETS": {"TRAIN": ["coco_2017_train"], "TEST": []},
    "TEST": {"EVAL_PERIOD": 0},
})  # fmt: skip


def asking(*overrides: str, experiment: str = "", **dataset: Any) -> RunRequest:
    typed = dataclasses.replace(TYPED, experiment=experiment, overrides=overrides)
    return a_request(KEYS, typed=typed, dataset=DatasetRequest(**dataset))


def named(*overrides: str, experiment: str = "x", **dataset: Any) -> str:
    settings = dict(text.split("=", 1) for text in overrides)
    return name_of(settings, asking(*overrides, experiment=experiment, **dataset)).text


def own(json: str, name: str = "custom") -> dict[str, Any]:
    return {"kind": DatasetKind.coco_json, "name": name, "train": SplitRequest(json=json, images="images")}


MASK_RCNN = "model=COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x"


@pytest.mark.parametrize(
    ("request_", "group"),
    [
        (asking(MASK_RCNN, experiment="coco"), "coco"),
        (asking(MASK_RCNN, **own("/data/fruits/train.json")), "mask_rcnn_R_50_FPN_3x-fruits"),
        (asking(f"{MASK_RCNN}.yaml", **own("/data/x.json", name="pets")), "mask_rcnn_R_50_FPN_3x-pets"),
        (asking("model=COCO-Detection__retinanet_R_50_FPN_1x", "dataset=voc"), "retinanet_R_50_FPN_1x-voc"),
        (asking(), "GeneralizedRCNN-coco_2017"),
    ],
)
def test_a_group_is_the_experiment_or_model_and_data(request_: RunRequest, group: str):
    assert group_of(request_) == group


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("/data/fruits/train.json", "fruits"),
        ("/data/fruits_train.json", "fruits"),
        ("/data/fruits/annotations/instances_train2017.json", "fruits"),
        ("/home/me/pet photos/train/_annotations.coco.json", "pet_photos"),
        ("/data/train.json", "custom"),
        ("/data/apples-v2/labels/instances_default.json", "default"),
    ],
)
def test_a_data_set_that_nobody_named_is_named_after_its_place(file: str, name: str):
    assert group_of(asking(**own(file))) == f"GeneralizedRCNN-{name}"


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ((), "default"),
        (("SOLVER.IMS_PER_BATCH=4", "SOLVER.BASE_LR=0.01"), "BASE_LR=0.01,IMS_PER_BATCH=4"),
        (("SOLVER.STEPS=[60, 80]",), "STEPS=60+80"),
        (("MODEL.ROI_HEADS.NUM_CLASSES=3",), "ROI_HEADS.NUM_CLASSES=3"),
        (('MODEL.WEIGHTS=""',), "WEIGHTS=none"),
        (("MODEL.WEIGHTS=/a/b/model_final.pth",), "WEIGHTS=model_final"),
        (("solver=cosine", MASK_RCNN), "model=mask_rcnn_R_50_FPN_3x,solver=cosine"),
        (("ema.decay=0.999",), "ema.decay=0.999"),
    ],
)
def test_a_run_is_named_after_what_was_changed(overrides: tuple[str, ...], name: str):
    assert named(*overrides) == name


def test_what_the_group_says_and_where_data_lies_is_not_said_again():
    overrides = (MASK_RCNN, "dataset=coco_json", "dataset.train.json=/d/fruits/a.json", "SOLVER.BASE_LR=1")

    assert named(*overrides, experiment="", **own("/d/fruits/a.json")) == "BASE_LR=1"
    assert named(*overrides, experiment="e", **own("/d/fruits/train.json")) == (
        "BASE_LR=1,dataset=fruits,model=mask_rcnn_R_50_FPN_3x"
    )


@pytest.mark.parametrize(
    ("key", "short"),
    [
        ("SOLVER.BASE_LR", "BASE_LR"),
        ("MODEL.RETINANET.NUM_CLASSES", "RETINANET.NUM_CLASSES"),
        ("MODEL.FPN", "MODEL.FPN"),
        ("DATASETS.TEST", "DATASETS.TEST"),
        ("VERSION", "VERSION"),
        ("ema.decay", "ema.decay"),
    ],
)
def test_a_key_is_as_short_as_nobody_takes_it_for_another(key: str, short: str):
    assert shortest_key(key, KEYS) == short


@pytest.mark.parametrize(
    ("override", "other"),
    [
        ("SOLVER.STEPS=[[1,2],[3]]", "SOLVER.STEPS=[[1],[2,3]]"),
        ("SOLVER.STEPS=[1,2]", "SOLVER.STEPS=1+2"),
        (f"X={'a' * 200}", f"X={'a' * 201}"),
        ("X=a b", "X=a_b"),
        ("X='k=v, w'", "X=k_v_w"),
    ],
)
def test_a_name_that_loses_something_has_a_digest(override: str, other: str):
    assert named(override) != named(other)


@pytest.mark.parametrize("override", ["A.B=[1,2]", 'X="k=v, w"', "Y=" + "long" * 100, "Z={a: [b]}", "A=$(rm)", "B=é"])
def test_a_name_needs_no_quotes_in_a_shell(override: str):
    name = named(override)

    assert 0 < len(name) <= LONGEST_NAME + len("-12345678")
    assert all(character.isascii() and (character.isalnum() or character in "._+-=,") for character in name)


def test_only_a_name_that_leaves_out_a_place_can_be_another_runs_too():
    def is_complete(override: str) -> bool:
        return name_of(dict([override.split("=", 1)]), asking(experiment="x")).is_complete

    assert is_complete("SOLVER.BASE_LR=1")
    assert not is_complete("MODEL.WEIGHTS=/a/x.pth")
    assert not is_complete(MASK_RCNN)


def test_a_place_that_is_typed_relatively_is_where_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "fruits").mkdir()
    monkeypatch.chdir(tmp_path / "fruits")

    assert group_of(asking(**own("train.json"))) == "GeneralizedRCNN-fruits"
