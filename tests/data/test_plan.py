"""What follows from the data: class counts, settings, names that are only registered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from launcher.config.keys import Keys
from launcher.config.known_datasets import find_registered
from launcher.config.request import DatasetKind, DatasetRequest, SplitRequest, ValRequest
from launcher.config.values import from_plain, to_plain
from launcher.data.facts import DatasetFacts, RegisteredFacts, inspect_dataset
from launcher.data.plan import DatasetPlan, plan_dataset
from launcher.errors import DataError
from tests.data.examples import KEYS, coco_content, keys_with, request_for, write_fruits

FRUITS = Path(__file__).parents[2].parent / "shared" / "data" / "fruits_nuts"


def plan(dataset: DatasetRequest, keys: Keys = KEYS, overrides: tuple[str, ...] = ()) -> DatasetPlan:
    return plan_dataset(request_for(dataset, keys, overrides), inspect_dataset(dataset, keys))


def settings_of(planned: DatasetPlan) -> dict[str, Any]:
    return {adjustment.setting: adjustment.planned for adjustment in planned.adjustments}


def test_the_models_class_counts_are_set_from_the_file_and_the_reason_is_given(tmp_path: Path):
    dataset = write_fruits(tmp_path)
    keys = keys_with(MODEL__ROI_HEADS__NUM_CLASSES=80, MODEL__POINT_HEAD={"NUM_CLASSES": 80})

    planned = plan(dataset, keys)

    assert settings_of(planned) == {"MODEL.ROI_HEADS.NUM_CLASSES": 2, "MODEL.POINT_HEAD.NUM_CLASSES": 2}
    assert planned.adjustments[0].asked == 80
    assert planned.adjustments[0].reason == "fruits_train has 2 classes"


@pytest.mark.parametrize("prefix", ["", "+", "++"])
def test_another_class_count_on_the_command_line_is_refused(tmp_path: Path, prefix: str):
    dataset = write_fruits(tmp_path)
    keys = keys_with(MODEL__ROI_HEADS__NUM_CLASSES=5)

    with pytest.raises(DataError, match=r"class count does not match: MODEL\.ROI_HEADS\.NUM_CLASSES=5.*2 classes"):
        plan(dataset, keys, overrides=(f"{prefix}MODEL.ROI_HEADS.NUM_CLASSES=5",))


@pytest.mark.parametrize(
    ("architecture", "adjusted"),
    [
        ("GeneralizedRCNN", {"MODEL.ROI_HEADS.NUM_CLASSES"}),
        ("RetinaNet", {"MODEL.RETINANET.NUM_CLASSES"}),
        ("MyDetector", {"MODEL.ROI_HEADS.NUM_CLASSES", "MODEL.RETINANET.NUM_CLASSES"}),
    ],
)
def test_only_class_counts_that_the_model_reads_are_set(tmp_path: Path, architecture: str, adjusted: set[str]):
    keys = keys_with(
        MODEL__META_ARCHITECTURE=architecture, MODEL__ROI_HEADS__NUM_CLASSES=80, MODEL__RETINANET__NUM_CLASSES=80
    )

    assert settings_of(plan(write_fruits(tmp_path), keys)).keys() == adjusted


def test_the_right_class_count_on_the_command_line_is_fine(tmp_path: Path):
    dataset = write_fruits(tmp_path)

    assert plan(dataset, overrides=("MODEL.ROI_HEADS.NUM_CLASSES=2",)).adjustments == ()


def test_run_length_masks_ask_for_the_bitmask_format(tmp_path: Path):
    dataset = write_fruits(tmp_path)
    content = coco_content()
    content["annotations"][1]["segmentation"] = {"size": [30, 40], "counts": [63, 8, *[22, 8] * 9, 859]}
    (tmp_path / "train.json").write_text(json.dumps(content))

    assert settings_of(plan(dataset)) == {"INPUT.MASK_FORMAT": "bitmask"}
    assert settings_of(plan(dataset, keys_with(INPUT__MASK_FORMAT="bitmask"))) == {}
    assert settings_of(plan(dataset, keys_with(MODEL__MASK_ON=False))) == {}


def test_without_a_validation_file_nothing_is_evaluated(tmp_path: Path):
    import dataclasses

    dataset = dataclasses.replace(write_fruits(tmp_path), val=ValRequest())

    planned = plan(dataset)

    assert settings_of(planned) == {"DATASETS.TEST": []}
    assert [split.name for split in planned.splits] == ["fruits_train"]


def test_relative_paths_are_made_absolute_from_where_the_command_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_fruits(tmp_path)
    monkeypatch.chdir(tmp_path)
    dataset = DatasetRequest(
        kind=DatasetKind.coco_json,
        name="fruits",
        root="data",
        train=SplitRequest(json="train.json", images="./train"),
        val=ValRequest(json="val.json", images="train/../val"),
    )

    planned = plan(dataset)

    assert [split.images for split in planned.splits] == [str(tmp_path / "train"), str(tmp_path / "val")]
    assert planned.environment == {"DETECTRON2_DATASETS": str(tmp_path / "data")}


def make_files(root: Path, name: str) -> None:
    entry = find_registered(name)
    assert entry is not None
    for need in entry.needs:
        path = root / need
        path.parent.mkdir(parents=True, exist_ok=True)
        if need.endswith("/"):
            path.mkdir(exist_ok=True)
            (path / "something").touch()
        else:
            path.touch()


def names(train: list[str], test: list[str], **values: Any) -> dict[str, Any]:
    return keys_with(DATASETS__TRAIN=train, DATASETS__TEST=test, **values)


def test_a_registered_data_set_that_is_there_sets_the_class_counts(tmp_path: Path):
    make_files(tmp_path, "voc_2007_trainval")
    make_files(tmp_path, "voc_2007_test")

    planned = plan(DatasetRequest(root=str(tmp_path)), names(["voc_2007_trainval"], ["voc_2007_test"]))

    assert planned.splits == ()
    assert planned.environment == {"DETECTRON2_DATASETS": str(tmp_path)}
    assert settings_of(planned) == {"MODEL.ROI_HEADS.NUM_CLASSES": 20}


def test_a_missing_registered_data_set_says_what_how_and_where_once_for_both_splits(tmp_path: Path):
    make_files(tmp_path, "coco_2017_val")

    with pytest.raises(DataError) as refusal:
        plan(DatasetRequest(root=str(tmp_path)), names(["coco_2017_train"], ["coco_2017_val", "coco_2014_val"]))

    message = str(refusal.value)
    assert message.count("cocodataset.org") == 1
    assert "coco_2017_train, coco_2014_val (COCO): missing" in message
    assert str(tmp_path / "coco/annotations/instances_train2017.json") in message
    assert "val2017.json" not in message
    assert "dataset.root=" in message
    assert "DETECTRON2_DATASETS" in message


def test_an_empty_folder_of_images_counts_as_missing(tmp_path: Path):
    make_files(tmp_path, "coco_2017_train")
    (tmp_path / "coco/train2017/something").unlink()

    with pytest.raises(DataError, match=r"missing .*coco/train2017/\. To get it"):
        plan(DatasetRequest(root=str(tmp_path)), names(["coco_2017_train"], []))


def test_packages_that_a_registered_data_set_needs_are_named():
    facts = DatasetFacts(
        root="/data",
        registered=(
            RegisteredFacts(name="lvis_v1_train", known=True, missing=(), missing_packages=("lvis",)),
            RegisteredFacts(name="lvis_v1_val", known=True, missing=(), missing_packages=("lvis",)),
        ),
    )

    with pytest.raises(DataError, match=r"lvis_v1_train, lvis_v1_val: needs .*pip install lvis\."):
        plan_dataset(request_for(DatasetRequest(), names(["lvis_v1_train"], ["lvis_v1_val"])), facts)


def test_a_name_nobody_knows_is_a_notice_with_the_nearest_names(tmp_path: Path):
    make_files(tmp_path, "coco_2017_train")

    planned = plan(DatasetRequest(root=str(tmp_path)), names(["coco_2017_train"], ["coco_2017_vall"]))

    (notice,) = planned.notices
    assert "coco_2017_vall" in notice
    assert "did you mean coco_2017_val" in notice


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (["coco_2017_train", "voc_2007_train"], [], r"mixes .*coco_2017_train has 80, voc_2007_train has 20"),
        (["coco_2017_train"], ["voc_2007_test"], r"DATASETS\.TEST names voc_2007_test with 20 classes.*has 80"),
    ],
)
def test_data_sets_with_different_classes_do_not_go_together(
    tmp_path: Path, train: list[str], test: list[str], message: str
):
    for name in (*train, *test):
        make_files(tmp_path, name)

    with pytest.raises(DataError, match=message):
        plan(DatasetRequest(root=str(tmp_path)), names(train, test))


def test_a_registered_data_set_refuses_another_class_count_on_the_command_line(tmp_path: Path):
    make_files(tmp_path, "coco_2017_train")
    keys = names(["coco_2017_train"], [], MODEL__ROI_HEADS__NUM_CLASSES=3)

    with pytest.raises(DataError, match=r"MODEL\.ROI_HEADS\.NUM_CLASSES=3, but coco_2017_train has 80 classes"):
        plan(DatasetRequest(root=str(tmp_path)), keys, overrides=("MODEL.ROI_HEADS.NUM_CLASSES=3",))


def test_facts_survive_json(tmp_path: Path):
    facts = inspect_dataset(write_fruits(tmp_path), names(["fruits_train", "coco_2017_train"], []))

    assert facts.registered[0].missing
    assert from_plain(DatasetFacts, json.loads(json.dumps(to_plain(facts)))) == facts


@pytest.mark.skipif(not FRUITS.is_dir(), reason="needs the photographs of ../shared/data/fruits_nuts")
def test_the_facts_of_real_photographs_come_out_right():
    dataset = DatasetRequest(
        kind=DatasetKind.coco_json,
        name="fruits",
        train=SplitRequest(json=str(FRUITS / "train.json"), images=str(FRUITS / "images")),
        val=ValRequest(json=str(FRUITS / "val.json"), images=str(FRUITS / "images")),
    )
    facts = inspect_dataset(dataset, KEYS)
    planned = plan_dataset(request_for(dataset), facts)

    assert [(coco.num_images, coco.objects.num) for coco in facts.coco] == [(13, 121), (5, 44)]
    assert [name for _, name in facts.coco[0].categories] == ["date", "fig", "hazelnut"]
    assert settings_of(planned) == {"MODEL.ROI_HEADS.NUM_CLASSES": 3}
    assert settings_of(planned)["MODEL.ROI_HEADS.NUM_CLASSES"] == 3
    assert planned.notices == ()
