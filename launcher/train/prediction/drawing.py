"""What was found, drawn on its image."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.data import Metadata
from PIL import Image

from launcher.files import beside
from launcher.train.output.drawing import draw as draw_on
from launcher.train.output.drawing import names_of as names_in
from launcher.train.prediction.results import names_of

logger = logging.getLogger(__name__)


def draw(pixels: np.ndarray, predicted: Mapping[str, Any], metadata: Metadata, threshold: float) -> np.ndarray:
    """An image, uint8 of shape (height, width, 3) in BGR, with its objects scored `threshold` or more, in BGR too.

    Boxes, masks, keypoints and names; of a panoptic or semantic model its segments.
    """
    image = np.ascontiguousarray(pixels[:, :, ::-1])
    return draw_on(image, predicted, names_in(metadata), threshold)[:, :, ::-1]


def drawings_of(files: Sequence[str], folder: Path) -> dict[str, Path]:
    """Where the drawing of each image goes: under its name, below the folder that all images lie below."""
    return {file: folder / "images" / _as_jpeg(name) for file, name in zip(files, names_of(files), strict=True)}


def _as_jpeg(name: str) -> str:
    return name if name.lower().endswith((".jpg", ".jpeg")) else f"{name}.jpg"


def save(drawn: np.ndarray, file: Path) -> None:
    """As a JPEG, complete or not at all.

    Raises:
        OSError: it cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with beside(file) as draft:
        Image.fromarray(np.ascontiguousarray(drawn[:, :, ::-1])).save(draft, format="JPEG", quality=92)
        draft.replace(file)
