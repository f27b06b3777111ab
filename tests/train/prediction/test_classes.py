from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from detectron2.data import Metadata, MetadataCatalog

from launcher.errors import DataError
from launcher.train.prediction.classes import (
    check_same_classes,
    class_names,
    dataset_ids,
    find_classes,
    read_classes,
    write_classes,
)
from tests.train.prediction.models import small_cfg

COCO = "coco_2017_train"


def test_what_a_training_keeps_is_what_its_data_set_said(tmp_path: Path):
    write_classes("coco_2017_train_panoptic_separated", tmp_path / "classes.json")

    kept, said = read_classes(tmp_path / "classes.json"), MetadataCatalog.get("coco_2017_train_panoptic_separated")

    assert kept.thing_classes == said.thing_classes
    assert kept.stuff_classes == said.stuff_classes
    assert kept.thing_dataset_id_to_contiguous_id == said.thing_dataset_id_to_contiguous_id
    assert dataset_ids(kept)[79] == 90
    assert dataset_ids(kept, "stuff") == dataset_ids(said, "stuff")


def test_names_are_those_of_the_run_before_those_of_the_data_set(tmp_path: Path):
    (tmp_path / "classes.json").write_text(json.dumps({"thing_classes": ["apple", "pear"]}))
    cfg = small_cfg("box", MODEL__ROI_HEADS__NUM_CLASSES=2)

    assert class_names(find_classes(str(tmp_path / "classes.json"), cfg, "")) == ("apple", "pear")
    assert class_names(find_classes("", small_cfg("box"), ""))[:2] == ("person", "bicycle")


def test_without_either_the_annotations_name_them_in_the_order_of_their_ids(tmp_path: Path):
    categories = [{"id": 7, "name": "pear"}, {"id": 3, "name": "apple"}]
    (tmp_path / "a.json").write_text(json.dumps({"categories": categories}))
    cfg = small_cfg("RetinaNet", MODEL__RETINANET__NUM_CLASSES=2, DATASETS__TRAIN=("nobody_knows",))

    metadata = find_classes("", cfg, str(tmp_path / "a.json"))

    assert class_names(metadata) == ("apple", "pear")
    assert dataset_ids(metadata) == {0: 3, 1: 7}


@pytest.mark.parametrize(
    "changes",
    [{"DATASETS__TRAIN": ("nobody_knows",)}, {"DATASETS__TRAIN": (COCO,)}],
    ids=["nothing is known", "of another number of classes"],
)
def test_names_that_cannot_be_the_models_are_not_given(changes: dict[str, object], caplog: pytest.LogCaptureFixture):
    cfg = small_cfg("box", MODEL__ROI_HEADS__NUM_CLASSES=3, **changes)

    metadata = find_classes("", cfg, "")

    assert class_names(metadata) == ("0", "1", "2")
    assert dataset_ids(metadata) == {}
    assert ("has 3 classes, and 80 are named by coco_2017_train" in caplog.text) == (COCO in changes["DATASETS__TRAIN"])  # type: ignore[operator]


@pytest.mark.parametrize("content", ["{", "null", '{"thing_dataset_id_to_contiguous_id": {"a": 0}}'])
def test_a_damaged_file_of_classes_is_named_with_what_to_do(tmp_path: Path, content: str):
    (tmp_path / "classes.json").write_text(content)

    with pytest.raises(DataError, match=r"classes\.json .* cannot be read .* Restore it, or remove it"):
        read_classes(tmp_path / "classes.json")


@pytest.fixture
def other() -> Iterator[Metadata]:
    yield MetadataCatalog.get("other_classes_of_a_test")
    MetadataCatalog.remove("other_classes_of_a_test")


@pytest.mark.parametrize(
    ("theirs", "why"),
    [
        (["pear", "apple"], "class 0 was 'apple' in the training and is 'pear' here"),
        (["apple"], "2 in the training, 1 here"),
    ],
)
def test_a_data_set_with_other_classes_than_the_trainings_measures_nothing(
    other: Metadata, theirs: Sequence[str], why: str
):
    other.thing_classes = theirs

    with pytest.raises(DataError, match=why):
        check_same_classes(Metadata(thing_classes=["apple", "pear"]), other.name)


@pytest.mark.parametrize("ours", [["apple", "pear"], None])
def test_the_same_classes_or_none_that_are_known_are_measured(other: Metadata, ours: Sequence[str] | None):
    other.thing_classes = ["apple", "pear"]

    check_same_classes(Metadata(thing_classes=ours), other.name)

    assert other.thing_classes == ["apple", "pear"]
