from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.data import DatasetCatalog, DatasetMapper, MetadataCatalog
from detectron2.data.datasets import register_coco_instances
from detectron2.evaluation import DatasetEvaluator
from detectron2.structures import Boxes, Instances
from PIL import Image

from launcher.train.evaluation.blank_images import BLANK_FOR, EvaluatorWithBlanks, MapperWithBlanks
from launcher.train.output.drawing import draw_inputs, draw_predictions
from launcher.train.trainer import Trainer

NAME = "blank_images_test"


@pytest.fixture
def broken(small_demo: Path, tmp_path: Path) -> Path:
    """The validation images of the demo; of the first only the beginning is left."""
    folder = tmp_path / "val"
    shutil.copytree(small_demo / "val", folder)
    first = folder / json.loads((small_demo / "val.json").read_text())["images"][0]["file_name"]
    first.write_bytes(first.read_bytes()[: first.stat().st_size // 2])
    return first


@pytest.fixture
def cfg(small_demo: Path, broken: Path) -> Iterator[CfgNode]:
    register_coco_instances(NAME, {}, str(small_demo / "val.json"), str(broken.parent))
    cfg = get_cfg()
    cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = (NAME,)
    cfg.INPUT.MASK_FORMAT = "bitmask"
    cfg.INPUT.MIN_SIZE_TEST = 64
    cfg.INPUT.MIN_SIZE_TRAIN = (64,)
    yield cfg
    DatasetCatalog.remove(NAME)
    MetadataCatalog.remove(NAME)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_truncated_image_is_loaded_as_a_blank_one_that_says_so(cfg: CfgNode, broken: Path, num_workers: int):
    cfg.DATALOADER.NUM_WORKERS = num_workers

    samples = [batch[0] for batch in Trainer.build_test_loader(cfg, NAME)]

    first, *others = samples
    assert first["file_name"] == str(broken)
    assert "truncated" in first[BLANK_FOR]
    assert first["image"].shape == (3, 64, 64)
    assert not first["image"].any()
    assert (first["height"], first["width"]) == (96, 96)
    assert not any(BLANK_FOR in other for other in others)
    assert all(other["image"].any() for other in others)


@pytest.mark.parametrize(("image_format", "channels"), [("RGB", 3), ("BGR", 3), ("L", 1)])
def test_a_missing_image_is_replaced_in_the_size_that_is_recorded(
    cfg: CfgNode, tmp_path: Path, image_format: str, channels: int
):
    cfg.INPUT.FORMAT = image_format
    record = {"file_name": str(tmp_path / "none.jpg"), "height": 100, "width": 200, "image_id": 7}

    sample = MapperWithBlanks(DatasetMapper(cfg, is_train=False))(record)

    assert sample is not None
    assert sample["image"].shape == (channels, 64, 128)
    assert (sample["image_id"], sample["file_name"]) == (7, record["file_name"])


def test_an_image_above_pillows_limit_is_replaced_by_a_blank_one_that_is_not(
    cfg: CfgNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    width, height = 4000, 2000
    Image.new("L", (width, height)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3_000_000)  # twice that is refused
    record = {
        "file_name": str(tmp_path / "large.png"),
        "width": width,
        "height": height,
        "sem_seg_file_name": str(tmp_path / "large.png"),
    }

    sample = MapperWithBlanks(DatasetMapper(cfg, is_train=False))(record)

    assert sample is not None
    assert "decompression bomb" in sample[BLANK_FOR]
    assert sample["image"].shape == (3, 64, 128)
    assert (sample["width"], sample["height"], sample["file_name"]) == (width, height, record["file_name"])


def test_a_lack_of_memory_is_not_taken_for_an_unreadable_image():
    def fail(record: dict[str, Any]) -> dict[str, Any]:
        if record["file_name"] == "a.jpg":
            raise OSError(errno.ENOMEM, "Cannot allocate memory")
        return record

    with pytest.raises(OSError, match="memory"):
        MapperWithBlanks(fail)({"file_name": "a.jpg"})


class Seen(DatasetEvaluator):
    """Counts what reaches it."""

    def __init__(self) -> None:
        self.counts: list[int] = []

    def process(self, inputs: Any, outputs: Any) -> None:
        self.counts += [len(output["instances"]) for output in outputs]

    def evaluate(self) -> dict[str, float]:
        return {"AP": 1.0}


def test_nothing_counts_as_detected_on_a_blank_image_and_each_is_reported():
    reported: list[tuple[str, str]] = []
    seen = Seen()
    evaluator = EvaluatorWithBlanks(seen, lambda file, reason: reported.append((file, reason)))
    found = Instances((9, 9), pred_boxes=Boxes(torch.ones(3, 4)), scores=torch.ones(3))
    inputs = [{"file_name": "bad.jpg", BLANK_FOR: "truncated"}, {"file_name": "good.jpg"}]

    evaluator.process(inputs, [{"instances": found}, {"instances": found}])

    assert seen.counts == [0, 3]
    assert reported == [("bad.jpg", "truncated")]
    assert evaluator.evaluate() == {"AP": 1.0}


class FindsNothing(torch.nn.Module):
    def forward(self, batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
        size = batch[0]["height"], batch[0]["width"]
        nothing = Instances(size, pred_boxes=Boxes(torch.zeros(0, 4)), scores=torch.zeros(0))
        nothing.pred_classes = torch.zeros(0, dtype=torch.int64)
        return [{"instances": nothing}]


def test_drawings_leave_out_what_cannot_be_read(cfg: CfgNode, broken: Path, tmp_path: Path):
    shown = _drawn(cfg, tmp_path)
    Image.new("RGB", (96, 96)).save(broken)
    repaired = _drawn(cfg, tmp_path)

    assert [_tiles(image) for image in repaired] == [2, 4]
    assert [_tiles(image) for image in shown] == [1, 2]


def _drawn(cfg: CfgNode, folder: Path) -> list[np.ndarray | None]:
    return [
        draw_inputs(cfg, DatasetMapper(cfg, is_train=True), 2, folder / "inputs.png"),
        draw_predictions(cfg, FindsNothing(), DatasetMapper(cfg, is_train=False), 2, folder / "predictions.png"),
    ]


def _tiles(image: np.ndarray | None) -> int:
    assert image is not None
    return round(image.shape[2] / 446)  # a tile and the gap beside it


def test_truth_is_drawn_also_where_some_objects_are_without_a_mask(cfg: CfgNode, tmp_path: Path):
    mixed = DatasetCatalog.get(NAME)[1]
    without = {**mixed["annotations"][0], "bbox": [10.0, 10.0, 30.0, 30.0]}
    del without["segmentation"]
    records = [{**mixed, "annotations": [mixed["annotations"][0], without]}]
    with_all = [{**mixed, "annotations": [mixed["annotations"][0]]}]

    drawn = []
    for chosen in (records, with_all):
        DatasetCatalog.remove(NAME)
        DatasetCatalog.register(NAME, lambda chosen=chosen: chosen)
        mapper = DatasetMapper(cfg, is_train=False)
        drawn.append(draw_predictions(cfg, FindsNothing(), mapper, 2, tmp_path / "predictions.png"))

    assert [_tiles(image) for image in drawn] == [2, 2]
    assert (drawn[0] != drawn[1]).any()  # the other object has been drawn as well
