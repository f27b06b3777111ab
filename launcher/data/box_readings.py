"""Judges all boxes of a file together: what they fit as better than as [x, y, width, height] in pixels.

A single box seldom shows it. Of a sound file the first few boxes speak against every other reading, so it costs little.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from launcher.data.geometry import OTHER_READINGS, Size, is_number
from launcher.data.tally import Tally

_MIN_BOXES = 20
"""A file of fewer is not judged."""
_MIN_WITNESSES = 3
"""Boxes that fit as read otherwise and not as written."""
_WITNESSES_PER_MISFIT = 10
_MARGIN = 2.0
"""Pixels."""
_MIN_SHARE_OF_CORNERS = 0.05
"""Large boxes fit as corners too; read as written, many true corners reach far beyond."""
_MIN_SHARE_OF_CENTERS = 0.04
"""A few careless boxes beyond the edges are no reading of all of them."""
_MANY_BOXES = 100
_MAX_EXAMPLES = 3


class PlacedBox(NamedTuple):
    """A sound box in an image of known size."""

    label: str
    box: Sequence[float]
    size: Size
    area: Any
    """As the annotation has it, if it has one."""
    is_confirmed: bool
    """Whether the object's polygons fit it as [x, y, width, height]."""

    def shown(self) -> str:
        return f"{self.label}: {list(self.box)} in an image of {self.size[0]} x {self.size[1]}"


@dataclass(frozen=True, kw_only=True, eq=False)
class PlacedBoxes:
    """The sound boxes of a file, a row for each, and how the first few look."""

    rows: np.ndarray
    """x, y, width and height of the box, width and height of the image, area (NaN for none), whether confirmed."""
    examples: tuple[str, ...]
    unconfirmed_examples: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def of_parts(cls, parts: Sequence[PlacedBoxes]) -> PlacedBoxes:
        return cls(
            rows=np.concatenate([part.rows for part in parts]),
            examples=tuple(chain(*(part.examples for part in parts)))[:_MAX_EXAMPLES],
            unconfirmed_examples=tuple(chain(*(part.unconfirmed_examples for part in parts)))[:_MAX_EXAMPLES],
        )

    def unconfirmed(self) -> PlacedBoxes:
        examples = self.unconfirmed_examples
        return PlacedBoxes(rows=self.rows[self.rows[:, 7] == 0], examples=examples, unconfirmed_examples=examples)

    def of(self, rows: np.ndarray) -> PlacedBoxes:
        return PlacedBoxes(rows=self.rows[rows], examples=(), unconfirmed_examples=())

    @property
    def box(self) -> np.ndarray:
        """Four columns as rows, like `size`."""
        return self.rows[:, :4].T

    @property
    def size(self) -> np.ndarray:
        return self.rows[:, 4:6].T

    @property
    def area(self) -> np.ndarray:
        return self.rows[:, 6]

    @property
    def right(self) -> np.ndarray:
        return self.rows[:, 0] + self.rows[:, 2]

    @property
    def bottom(self) -> np.ndarray:
        return self.rows[:, 1] + self.rows[:, 3]


class BoxCollector:
    """Takes boxes down, in eight numbers each."""

    def __init__(self) -> None:
        self._numbers = array("d")
        self._examples: list[str] = []
        self._unconfirmed: list[str] = []

    def add(self, one: PlacedBox) -> None:
        area = one.area if is_number(one.area) else math.nan
        self._numbers.extend((*one.box, *one.size, area, one.is_confirmed))
        if len(self._examples) < _MAX_EXAMPLES:
            self._examples.append(one.shown())
        if len(self._unconfirmed) < _MAX_EXAMPLES and not one.is_confirmed:
            self._unconfirmed.append(one.shown())

    def result(self) -> PlacedBoxes:
        return PlacedBoxes(
            rows=np.array(self._numbers, np.float64).reshape(-1, 8),
            examples=tuple(self._examples),
            unconfirmed_examples=tuple(self._unconfirmed),
        )


def judge_boxes(boxes: PlacedBoxes, tally: Tally) -> None:
    """Note all boxes of a file under the one reading that they fit, if they fit one and not as written."""
    if len(boxes) < _MIN_BOXES:
        return
    unconfirmed = boxes.unconfirmed()
    code = _range_of(boxes) or _reading_of(boxes, _SWAPPED)
    if not code and len(unconfirmed) >= max(_MIN_BOXES, len(boxes) / 2):
        boxes, code = unconfirmed, _other_reading_of(unconfirmed)
    if code:
        tally.replace(code, boxes.examples, count=len(boxes))


def _range_of(boxes: PlacedBoxes) -> str:
    """Percent and thousandths fill their range and leave most of every image empty."""
    are_corners = bool(_fit_as("box.corners", boxes).all())
    for code, limit in (("box.percent", 100), ("box.thousandths", 1000)):
        if _fill(boxes.right, boxes.bottom, limit) and boxes.size.min() >= 2 * limit:
            return code
        if are_corners and _fill(boxes.box[2], boxes.box[3], limit) and boxes.size.min() >= 4 * limit:
            return code
    return "box.scaled" if _are_scaled(boxes) else ""


def _fill(right: np.ndarray, bottom: np.ndarray, limit: float) -> bool:
    """Whether all lie within so many pixels, and some reach nearly so far."""
    furthest_right, furthest_bottom = right.max(), bottom.max()
    return bool(
        max(furthest_right, furthest_bottom) <= 1.005 * limit and min(furthest_right, furthest_bottom) > 0.85 * limit
    )


def _are_scaled(boxes: PlacedBoxes) -> bool:
    """Whether they fill the same fraction of width and height, at most half, from the left top corner itself on."""
    (left, top, _, _), (wide, high) = boxes.box, boxes.size
    right, bottom = boxes.right, boxes.bottom
    if len(boxes) < _MANY_BOXES or not ((2 * right <= wide + _MARGIN) & (2 * bottom <= high + _MARGIN)).all():
        return False
    across, down = (right / wide).max(), (bottom / high).max()
    nearest = max((left / wide).min(), (top / high).min())
    return bool(min(across, down) > 0.9 * max(across, down) and nearest < 0.02 * min(across, down))


def _are_beyond_right(boxes: PlacedBoxes) -> np.ndarray:
    """By more than a careless hand has it."""
    beyond: np.ndarray = boxes.right - boxes.size[0] > np.maximum(_MARGIN, boxes.box[2] / 10)
    return beyond


def _are_beyond_bottom(boxes: PlacedBoxes) -> np.ndarray:
    beyond: np.ndarray = boxes.bottom - boxes.size[1] > np.maximum(_MARGIN, boxes.box[3] / 10)
    return beyond


def _fit_as(code: str, boxes: PlacedBoxes) -> np.ndarray:
    """Whether each, read so, is a rectangle inside of its image."""
    left, top, right, bottom = OTHER_READINGS[code](*boxes.box)
    across = (left >= -_MARGIN) & (left < right) & (right <= boxes.size[0] + _MARGIN)
    down = (top >= -_MARGIN) & (top < bottom) & (bottom <= boxes.size[1] + _MARGIN)
    fits: np.ndarray = across & down
    return fits


class _Reading(NamedTuple):
    code: str
    min_share: float = 0
    """Of all boxes, that must reach beyond as written."""


_SWAPPED = (_Reading("box.swapped"),)
"""Where polygons are swapped too, they confirm it."""
_OTHERWISE = (
    _Reading("box.corners", _MIN_SHARE_OF_CORNERS),
    _Reading("box.swapped_corners", _MIN_SHARE_OF_CORNERS),
    _Reading("box.centers", _MIN_SHARE_OF_CENTERS),
)
"""The narrower ones first."""


def _reading_of(boxes: PlacedBoxes, readings: Sequence[_Reading]) -> str:
    beyond = boxes.of(_are_beyond_right(boxes) | _are_beyond_bottom(boxes))
    if len(beyond) < _MIN_WITNESSES:
        return ""
    for code, min_share in readings:
        witnesses, misfits = _fit_as(code, beyond).sum(), (~_fit_as(code, boxes)).sum()
        if witnesses >= max(_MIN_WITNESSES, _WITNESSES_PER_MISFIT * misfits, min_share * len(boxes)):
            return code
    return ""


def _other_reading_of(boxes: PlacedBoxes) -> str:
    reaches_both_ways = _are_beyond_right(boxes).any() and _are_beyond_bottom(boxes).any()
    return (_reading_of(boxes, _OTHERWISE) if reaches_both_ways else "") or _by_areas(boxes)


def _by_areas(boxes: PlacedBoxes) -> str:
    """A true area beside corners gives them away, also where none reaches beyond its image."""
    left, top, right, bottom = boxes.box
    meant = (right - left) * (bottom - top)
    # NaN, for no area, compares as false.
    if not ((right > left) & (bottom > top) & (np.abs(boxes.area - meant) <= 0.01 * meant)).all():
        return ""
    return "box.corners" if (boxes.area < 0.9 * right * bottom).sum() >= _MIN_WITNESSES else ""
