"""What models draw while they train (VIS_PERIOD): many small images become one sheet, and one tag."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

NUMBERED = re.compile(r"(.+) \(\d+\)")
"""How detectron2 names the images of a series: one for each mask of an iteration."""
GROUP = "while training"
MOST_TILES = 64
GAP = 2  # pixels

Drawn = tuple[str, Any, int]
"""Name, image of shape (3, height, width), iteration: as detectron2's EventStorage has them."""


def in_sheets(images: Sequence[Drawn]) -> Iterator[Drawn]:
    """The images in their order, but of each series one sheet in place of its first."""
    series: dict[tuple[str, int], list[Any]] = {}
    for name, image, iteration in images:
        if found := NUMBERED.fullmatch(name):
            series.setdefault((found[1], iteration), []).append(image)
        else:
            yield _tag_of(name), image, iteration
    for (name, iteration), tiles in series.items():
        yield _tag_of(name), sheet_of(tiles[:MOST_TILES]), iteration


def _tag_of(name: str) -> str:
    """Those that detectron2 draws say what is where, in words that make no group."""
    return f"{GROUP}/{' '.join(name.split())}" if name.startswith("Left: ") else name


def sheet_of(tiles: Sequence[Any]) -> np.ndarray:
    """Tiles in rows, on black."""
    arrays = [_as_array(tile) for tile in tiles]
    height, width = (max(array.shape[axis] for array in arrays) + GAP for axis in (1, 2))
    columns = math.ceil(math.sqrt(len(arrays) * height / width))
    rows = math.ceil(len(arrays) / columns)
    sheet = np.zeros((3, rows * height, columns * width), dtype=arrays[0].dtype)
    for index, array in enumerate(arrays):
        top, left = index // columns * height, index % columns * width
        sheet[:, top : top + array.shape[1], left : left + array.shape[2]] = array
    return sheet


def _as_array(image: Any) -> np.ndarray:
    return image.detach().cpu().numpy() if isinstance(image, torch.Tensor) else np.asarray(image)
