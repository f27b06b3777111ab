"""Registering splits with the real detectron2."""

from __future__ import annotations

import json
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
