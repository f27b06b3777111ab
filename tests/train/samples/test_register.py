"""Registering splits with the real detectron2."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import pytest

from launcher.data.plan import CocoSplit
from launcher.errors import DataError

detectron2_data = pytest.importorskip("detectron2.data", reason="needs detectron2")


@pytest.fixture
def split(tmp_path: Path):
    content = {
        "info": {},
        "images": [{"id": 7, "file_name": "a.jpg", "width": 40, "height": 30}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 5, "bbox": [1, 2, 3, 4], "area": 12, "iscrowd": 0},
        ],
        "categories": [{"id": 9, "name": "fig"}, {"id": 5, "name": "date"}],
    }
    (tmp_path / "train.json").write_text(json.dumps(content))
    made = CocoSplit(
        name="catalog_test_train",
        json=str(tmp_path / "train.json"),
        images=str(tmp_path),
        keypoint_names=("left_end", "right_end"),
        keypoint_flip_map=(("left_end", "right_end"),),
    )
    yield made
    if made.name in detectron2_data.DatasetCatalog:
        detectron2_data.DatasetCatalog.remove(made.name)
        detectron2_data.MetadataCatalog.remove(made.name)


def test_a_registered_split_loads_with_its_classes_and_is_evaluated_as_coco(split: CocoSplit):
    from launcher.train.samples.register import register_datasets

    register_datasets([split])
    records = detectron2_data.DatasetCatalog.get(split.name)

    metadata = detectron2_data.MetadataCatalog.get(split.name)
    assert [record["image_id"] for record in records] == [7]
    assert metadata.thing_classes == ["date", "fig"]
    assert metadata.evaluator_type == "coco"
    assert metadata.keypoint_names == ["left_end", "right_end"]
    assert metadata.keypoint_flip_map == [("left_end", "right_end")]


def test_registering_the_same_split_again_changes_nothing(split: CocoSplit):
    from launcher.train.samples.register import register_datasets

    register_datasets([split])
    register_datasets([split])

    assert len(detectron2_data.DatasetCatalog.get(split.name)) == 1


def test_a_name_that_is_taken_by_other_data_is_refused(split: CocoSplit, tmp_path: Path):
    from launcher.train.samples.register import register_datasets

    register_datasets([split])
    other = CocoSplit(name=split.name, json=str(tmp_path / "other.json"), images=split.images)

    with pytest.raises(DataError, match=r"catalog_test_train.*taken.*dataset\.name"):
        register_datasets([other])


@pytest.mark.parametrize(
    ("planned", "is_refused"),
    [(("date", "fig"), False), (("fig", "date"), True), (("date",), True)],
)
def test_data_of_the_users_code_must_have_the_classes_that_were_planned_for(planned: tuple[str, ...], is_refused: bool):
    from launcher.train.samples.register import check_own_datasets

    metadata = detectron2_data.MetadataCatalog
    detectron2_data.DatasetCatalog.register("catalog_test_own", list)
    metadata.get("catalog_test_own").thing_classes = ["date", "fig"]
    try:
        with pytest.raises(DataError, match="the same ones on every import") if is_refused else nullcontext():
            check_own_datasets({"catalog_test_own": planned})
    finally:
        detectron2_data.DatasetCatalog.remove("catalog_test_own")
        metadata.remove("catalog_test_own")


def test_data_that_the_users_code_registers_no_more_is_refused():
    from launcher.train.samples.register import check_own_datasets

    with pytest.raises(DataError, match="catalog_test_gone is registered with 0 classes"):
        check_own_datasets({"catalog_test_gone": ("fig",)})
