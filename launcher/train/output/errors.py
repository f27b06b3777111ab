"""A sheet of the worst errors of an evaluation, each cut out of its image: false positives, confusions and misses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.data import DatasetCatalog, detection_utils

from launcher.train.evaluation.confusion import ImagePairs
from launcher.train.evaluation.pairing import NONE
from launcher.train.output.canvas import FALSE, MISSED, Labelled, Style, paint
from launcher.train.output.fonts import class_label
from launcher.train.output.shapes import Shape
from launcher.train.output.sheet import Tile, captioned, headed, in_a_row, save_sheet
from launcher.train.samples.blame import is_about_the_image

EACH = 8
"""How many errors of each kind are shown."""
SIDE = 216  # pixels of a tile
AROUND = 0.6
"""How much of the image is shown around an object, in its own size."""
LEAST_CUT = 48  # pixels of the image
STYLE = Style(line=2, text=12, mask_opacity=0.35)


class Kind(Enum):
    """The value is the caption of its row."""

    false = "false positives, the surest first"
    confused = "taken for another class, the surest first"
    missed = "missed, the largest first"


@dataclass(frozen=True, kw_only=True)
class Error:
    kind: Kind
    image_id: Any
    weight: float
    """The larger, the worse."""
    detection: Mapping[str, Any] | None
    object: Mapping[str, Any] | None

    @property
    def box(self) -> np.ndarray:
        """Left, top, right, bottom of all that it is about."""
        boxes = np.array([one["bbox"] for one in (self.detection, self.object) if one is not None], dtype=float)
        return np.hstack([boxes[:, :2].min(axis=0), (boxes[:, :2] + boxes[:, 2:]).max(axis=0)])


def worst_errors(paired: Sequence[ImagePairs], most: int = EACH) -> dict[Kind, list[Error]]:
    """The worst of each kind: what was detected with the highest scores, what was missed with the largest boxes."""
    found: dict[Kind, list[Error]] = {kind: [] for kind in Kind}
    for image in paired:
        for error in _errors_of(image):
            found[error.kind].append(error)
    return {kind: sorted(errors, key=lambda one: -one.weight)[:most] for kind, errors in found.items()}


def _errors_of(image: ImagePairs) -> Iterator[Error]:
    pairs = image.pairs
    for index, detection in enumerate(image.detections):
        other = pairs.other_class[index]
        if other != NONE or pairs.is_false[index]:
            yield Error(
                kind=Kind.false if other == NONE else Kind.confused,
                image_id=image.image_id,
                weight=detection["score"],
                detection=detection,
                object=None if other == NONE else image.objects[other],
            )
    for one in image.missed:
        size = float(one["bbox"][2]) * float(one["bbox"][3])
        yield Error(kind=Kind.missed, image_id=image.image_id, weight=size, detection=None, object=one)


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """What a data set's ids mean."""

    files: Mapping[Any, str]
    """By image id."""
    classes: Mapping[int, tuple[int, str]]
    """By category id: its number and its name."""


def draw_worst(
    dataset: str, paired: Sequence[ImagePairs], categories: Sequence[Mapping[str, Any]], score: float, file: Path
) -> None:
    """Save the worst errors as a sheet with a row for each kind; without errors there is none."""
    ordered = sorted(categories, key=lambda one: one["id"])
    drawn = Drawn(
        files={record["image_id"]: record["file_name"] for record in DatasetCatalog.get(dataset)},
        classes={
            category["id"]: (index, class_label(str(category["name"]), index)) for index, category in enumerate(ordered)
        },
    )
    rows = [
        headed(in_a_row(tiles), f"{kind.value} (scores from {score:.2f})")
        for kind, errors in worst_errors(paired).items()
        if (tiles := [tile for error in errors if (tile := _tile(error, drawn)) is not None])
    ]
    save_sheet(rows, file)


def _tile(error: Error, drawn: Drawn) -> Tile | None:
    """None where the image cannot be read."""
    file = drawn.files[error.image_id]
    try:
        image = detection_utils.read_image(file, "RGB")
    except Exception as reason:  # what unreadable bytes raise in image libraries has no common ground
        if not is_about_the_image(reason):
            raise
        return None
    left, top, right, bottom = cut_around(error.box, image.shape[1], image.shape[0])
    objects = _objects_of(error, drawn, np.array([left, top], dtype=float))
    tile = paint(image[top:bottom, left:right], objects, scale=SIDE / max(bottom - top, right - left), style=STYLE)
    return captioned(_squared(tile), Path(file).name)


def cut_around(box: np.ndarray, width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of a square around a box, as far as the image has one."""
    left, top, right, bottom = box
    side = max(LEAST_CUT, (1 + 2 * AROUND) * max(right - left, bottom - top))
    across, down = (min(round(side), limit) for limit in (width, height))
    x = min(max(0, round((left + right - across) / 2)), width - across)
    y = min(max(0, round((top + bottom - down) / 2)), height - down)
    return x, y, x + across, y + down


def _objects_of(error: Error, drawn: Drawn, corner: np.ndarray) -> list[Labelled]:
    """What is drawn, in pixels from `corner` on: the detection, or what was missed."""
    one = error.detection or error.object or {}
    index, name = drawn.classes[one["category_id"]]
    box = np.array(one["bbox"], dtype=float)
    corners = box[:2] + box[2:] * ((0, 0), (1, 0), (1, 1), (0, 1)) - corner
    shape = Shape(
        class_index=index,
        score=one.get("score"),
        corners=corners,
        mask=None,
        keypoints=None,
        is_crowd=False,
        is_stuff=False,
    )
    if error.detection is None:
        return [Labelled(shape=shape, label=name, fault=MISSED)]
    true = FALSE if error.object is None else f"is {drawn.classes[error.object['category_id']][1]}"
    return [Labelled(shape=shape, label=f"{name} {one['score']:.2f}", fault=true)]


def _squared(tile: Tile) -> Tile:
    squared = np.full((SIDE, SIDE, 3), 255, dtype=np.uint8)
    squared[: tile.shape[0], : tile.shape[1]] = tile[:SIDE, :SIDE]
    return squared
