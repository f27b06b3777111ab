from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from detectron2.config import CfgNode
from PIL import Image

from launcher.train.prediction.batches import BatchPredictor, on_cpu
from launcher.train.prediction.classes import find_classes
from launcher.train.prediction.drawing import draw, drawings_of, save
from launcher.train.prediction.inputs import inputs_for
from launcher.train.prediction.model import build_for_inference
from launcher.train.trainer import Trainer
from tests.train.prediction.models import KINDS, draw_weights, photo, small_cfg


def predictor_of(cfg: CfgNode, folder: Path) -> BatchPredictor:
    draw_weights(cfg, folder / "weights.pth")
    return BatchPredictor(build_for_inference(Trainer, cfg, averaged=False), inputs_for(Trainer, cfg))


@pytest.mark.parametrize("data", [None, ("nobody_knows",)], ids=["with names", "without names"])
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_a_model_finds_is_drawn_on_the_image(kind: str, data: tuple[str, ...] | None, tmp_path: Path):
    cfg = small_cfg(kind, **({"DATASETS__TRAIN": data} if data else {}))
    predictor, image = predictor_of(cfg, tmp_path), photo()
    found = on_cpu(predictor.predict([predictor.inputs(image)])[0])

    drawn = draw(image, found, find_classes("", cfg, ""), 0.0)

    assert (drawn.shape, drawn.dtype) == (image.shape, np.uint8)
    assert (drawn != image).any()


def test_objects_below_the_threshold_are_not_drawn(tmp_path: Path):
    cfg = small_cfg("box")
    predictor, image = predictor_of(cfg, tmp_path), photo()
    found = on_cpu(predictor.predict([predictor.inputs(image)])[0])

    drawn = draw(image, found, find_classes("", cfg, ""), 1.01)

    assert np.abs(drawn.astype(int) - image).max() <= 1


def test_drawings_have_the_names_of_their_images_below_the_folder_of_all(tmp_path: Path):
    files = ["/photos/a.jpg", "/photos/sub/a.jpg", "/photos/a.png"]

    names = [str(drawing.relative_to(tmp_path)) for drawing in drawings_of(files, tmp_path).values()]

    assert names == ["images/a.jpg", "images/sub/a.jpg", "images/a.png.jpg"]


def test_a_drawing_is_saved_with_its_colors(tmp_path: Path):
    blue = np.zeros((20, 20, 3), np.uint8)
    blue[:, :, 0] = 250

    save(blue, tmp_path / "images/blue.jpg")

    with Image.open(tmp_path / "images/blue.jpg") as image:
        red, green, blue_again = image.getpixel((10, 10))  # type: ignore[misc]
    assert (red < 10, green < 10, blue_again > 240) == (True, True, True)
    assert [file.name for file in (tmp_path / "images").iterdir()] == ["blue.jpg"]
