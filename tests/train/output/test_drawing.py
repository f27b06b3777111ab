from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import Boxes, BoxMode, Instances
from PIL import Image

from launcher.train.output.canvas import PALETTE, Labelled, colour_of, paint, text_on
from launcher.train.output.drawing import Names, _not_too_many, draw, draw_predictions, judged
from launcher.train.output.shapes import shapes_of_annotations, shapes_of_instances

NAMES = Names(things=("cat", "dog"), stuff=("sky",), skeleton=((0, 1),))
GRAY = np.full((60, 80, 3), 128, dtype=np.uint8)


def instances(
    *found: tuple[tuple[float, float, float, float], int, float],
) -> Instances:
    boxes, classes, scores = zip(*found, strict=True) if found else ((), (), ())
    return Instances(
        (60, 80),
        pred_boxes=Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)),
        pred_classes=torch.tensor(classes, dtype=torch.int64),
        scores=torch.tensor(scores, dtype=torch.float32),
    )


def annotation(left: float, top: float, right: float, bottom: float, category: int = 0, **more: Any) -> dict[str, Any]:
    box = [left, top, right, bottom]
    return {"bbox": box, "bbox_mode": BoxMode.XYXY_ABS, "category_id": category, "iscrowd": 0, **more}


def test_a_prediction_is_drawn_on_a_copy_in_the_colours_of_its_classes():
    image = np.full((60, 300, 3), 128, dtype=np.uint8)

    drawn = draw(image, {"instances": instances(((5, 25, 35, 55), 0, 0.9), ((205, 25, 235, 55), 1, 0.9))}, NAMES, 0.5)

    assert (image == 128).all()
    assert drawn.shape == image.shape
    left, right = ({tuple(pixel) for pixel in half.reshape(-1, 3).tolist()} for half in np.split(drawn, 2, axis=1))
    assert (PALETTE[0] in left, PALETTE[1] in left) == (True, False)
    assert (PALETTE[0] in right, PALETTE[1] in right) == (False, True)


def test_nothing_found_leaves_the_image_as_it_is():
    assert (draw(GRAY, {"instances": instances(((5, 25, 35, 55), 0, 0.4))}, NAMES, 0.5) == GRAY).all()


def test_every_class_has_a_colour_of_its_own_on_which_its_name_can_be_read():
    def brightness(colour: tuple[int, int, int]) -> float:
        return sum(part * weight for part, weight in zip(colour, (0.299, 0.587, 0.114), strict=True))

    colours = [colour_of(index) for index in range(80)]

    assert len(set(colours)) == 80
    assert min(abs(brightness(colour) - brightness(text_on(colour))) for colour in colours) > 100


def test_keypoints_are_joined_where_both_are_shown():
    (shape,) = shapes_of_annotations(
        {"annotations": [annotation(5, 5, 75, 55, keypoints=[20, 30, 2, 60, 30, 2, 40, 50, 0])]}, (60, 80)
    )

    drawn = paint(GRAY, [Labelled(shape=shape, label="", fault="")], skeleton=((0, 1), (1, 2)))

    assert tuple(drawn[30, 40]) == PALETTE[0]
    assert tuple(drawn[40, 50]) == (128, 128, 128)  # halfway to the one that is not shown


def test_what_is_wrong_with_objects_and_detections_is_said_beside_them():
    truth = shapes_of_annotations(
        {
            "annotations": [
                annotation(0, 0, 10, 10),
                annotation(20, 0, 30, 10),
                annotation(40, 0, 50, 10, category=1),
                annotation(60, 0, 75, 50, iscrowd=1),
            ]
        },
        (60, 80),
    )
    found = shapes_of_instances(
        instances(
            ((0, 0, 10, 9), 0, 0.9),
            ((40, 0, 50, 10), 0, 0.8),
            ((0, 40, 10, 50), 1, 0.7),
            ((61, 5, 66, 10), 0, 0.6),
        ),
        0.5,
    )

    comparison = judged(truth, found, NAMES)

    assert [(one.label, one.fault) for one in comparison.objects] == [
        ("cat", ""),
        ("cat", "missed"),
        ("dog", "as cat"),
        ("cat", ""),
    ]
    assert [(one.label, one.fault) for one in comparison.detections] == [
        ("cat 0.90", ""),
        ("cat 0.80", "is dog"),
        ("dog 0.70", "false"),
        ("cat 0.60", ""),
    ]
    assert str(comparison) == "3 objects: 1 found, 1 missed, 1 as another class; false positives: 1"


def test_a_class_without_a_name_is_drawn_with_its_number():
    (shape,) = shapes_of_instances(instances(((0, 0, 10, 10), 7, 0.9)), 0.5)

    assert NAMES.of(shape) == "class 7"


@pytest.fixture
def registered(tmp_path: Path) -> Iterator[list[dict[str, Any]]]:
    """A data set of five images, which a test may change."""
    records = []
    for number in range(5):
        file = tmp_path / f"image {number}.png"
        Image.fromarray(GRAY).save(file)
        records.append(
            {
                "file_name": str(file),
                "image_id": number,
                "height": 60,
                "width": 80,
                "annotations": [annotation(9, 9, 30, 30)],
            }
        )
    DatasetCatalog.register("drawn", lambda: records)
    MetadataCatalog.get("drawn").set(thing_classes=["cat", "dog"])
    yield records
    DatasetCatalog.remove("drawn")
    MetadataCatalog.remove("drawn")


class Finds(torch.nn.Module):
    """Whatever it was made with, in every image."""

    def __init__(self, found: Any) -> None:
        super().__init__()
        self.found = found
        self.seen: list[str] = []

    def forward(self, batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
        self.seen += [Path(sample["file_name"]).name for sample in batch]
        assert not self.training
        return [{"instances": self.found} for _ in batch]


def predictions(model: Finds, file: Path, count: int = 2) -> np.ndarray | None:
    cfg: CfgNode = get_cfg()
    cfg.DATASETS.TEST = ("drawn",)
    return draw_predictions(cfg, model, lambda sample: sample, count, file)


@pytest.mark.usefixtures("registered")
def test_the_same_images_are_drawn_every_time_and_the_model_is_left_training(tmp_path: Path):
    model = Finds(instances(((9, 9, 30, 30), 0, 0.9)))
    model.train()

    images = [predictions(model, tmp_path / "predictions.png") for _ in range(2)]

    assert images[0] is not None
    assert (images[0] == images[1]).all()
    assert model.seen == ["image 0.png", "image 2.png"] * 2
    assert model.training
    with Image.open(tmp_path / "predictions.png") as written:
        assert (np.asarray(written).transpose(2, 0, 1) == images[0]).all()


def test_a_hundred_wrong_detections_leave_the_right_ones_to_be_seen():
    (shape,) = shapes_of_instances(instances(((9, 9, 30, 30), 0, 0.6)), 0.5)
    wrong, right = Labelled(shape=shape, label="dog", fault="false"), Labelled(shape=shape, label="cat", fault="")

    drawn = _not_too_many([*(replace(wrong) for _ in range(100)), right])

    assert len(drawn) == 31
    assert drawn[-1] is right


def test_an_unreadable_image_is_left_out(
    registered: list[dict[str, Any]], tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    Path(registered[0]["file_name"]).write_bytes(b"no image")
    model = Finds(instances())

    with caplog.at_level(logging.INFO):
        drawn = predictions(model, tmp_path / "predictions.png")

    assert drawn is not None
    assert model.seen == ["image 2.png"]
    assert "image 0.png is not drawn" in caplog.text


@pytest.mark.usefixtures("registered")
def test_a_folder_that_takes_no_file_is_reported_and_the_image_is_there_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "file").write_text("")

    drawn = predictions(Finds(instances()), tmp_path / "file" / "predictions.png")

    assert drawn is not None
    assert "predictions.png could not be written" in caplog.text


@pytest.mark.parametrize("name", ["日本語.png", "x" * 200 + ".png", "tab\tbell\x07.png"])
def test_any_file_name_can_be_written_below_its_image(registered: list[dict[str, Any]], tmp_path: Path, name: str):
    for record in registered:
        Path(record["file_name"]).rename(tmp_path / name)
        record["file_name"] = str(tmp_path / name)

    assert predictions(Finds(instances()), tmp_path / "predictions.png", count=1) is not None
