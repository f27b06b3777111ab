"""What was found, drawn on its image."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.data import Metadata
from detectron2.utils.visualizer import Visualizer
from PIL import Image

from launcher.files import beside
from launcher.train.prediction.results import names_of

logger = logging.getLogger(__name__)


def draw(pixels: np.ndarray, predicted: Mapping[str, Any], metadata: Metadata, threshold: float) -> np.ndarray:
    """An image, uint8 of shape (height, width, 3) in BGR, with its objects scored `threshold` or more, in BGR too.

    Boxes, masks, keypoints and names; of a panoptic or semantic model its segments.
    """
    canvas = Visualizer(pixels[:, :, ::-1], metadata)
    if "panoptic_seg" in predicted:
        numbers, segments = predicted["panoptic_seg"]
        canvas.draw_panoptic_seg(numbers, segments)
    elif "instances" in predicted:
        instances = predicted["instances"]
        canvas.draw_instance_predictions(instances[instances.scores >= threshold])
    elif "sem_seg" in predicted:
        canvas.draw_sem_seg(predicted["sem_seg"].argmax(dim=0))
    drawn: np.ndarray = canvas.output.get_image()[:, :, ::-1]
    return drawn


def drawing_of(file: str, files: Sequence[str], folder: Path) -> Path:
    """Where the drawing of an image goes: under its name, below the folder that all images lie below."""
    name = dict(zip(files, names_of(files), strict=True))[file]
    return folder / "images" / (name if name.lower().endswith((".jpg", ".jpeg")) else f"{name}.jpg")


def save(drawn: np.ndarray, file: Path) -> None:
    """As a JPEG, complete or not at all.

    Raises:
        OSError: it cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with beside(file) as draft:
        Image.fromarray(np.ascontiguousarray(drawn[:, :, ::-1])).save(draft, format="JPEG", quality=92)
        draft.replace(file)
