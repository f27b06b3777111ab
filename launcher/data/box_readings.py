"""Judges all boxes of a file together: what they fit as better than as [x, y, width, height] in pixels.

A single box seldom shows it. Of a sound file the first few boxes speak against every other reading, so it costs little.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from launcher.data.geometry import Size, is_number
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
_MANY_BOXES = 100


class PlacedBox(NamedTuple):
    """A sound box in an image of known size."""

    label: str
    box: Sequence[float]
    size: Size
    area: Any
    """As the annotation has it, if it has one."""
    is_confirmed: bool
    """Whether the object's polygons fit it as [x, y, width, height]."""

    @property
    def right(self) -> float:
        return self.box[0] + self.box[2]

    @property
    def bottom(self) -> float:
        return self.box[1] + self.box[3]

    def as_corners(self) -> PlacedBox:
        """What it is where it is meant as [x1, y1, x2, y2]."""
        left, top, right, bottom = self.box
        return self._replace(box=[left, top, right - left, bottom - top])

    def shown(self) -> str:
        return f"{self.label}: {list(self.box)} in an image of {self.size[0]} x {self.size[1]}"


def judge_boxes(boxes: Sequence[PlacedBox], tally: Tally) -> None:
    """Note all boxes of a file under the one reading that they fit, if they fit one and not as written."""
    if len(boxes) < _MIN_BOXES:
        return
    code = _range_of(boxes) or _swapped(boxes)
    if not code:
        unconfirmed = [one for one in boxes if not one.is_confirmed]
        if len(unconfirmed) >= max(_MIN_BOXES, len(boxes) / 2):
            boxes, code = unconfirmed, _otherwise(unconfirmed) or _by_areas(unconfirmed)
    if code:
        tally.replace(code, [one.shown() for one in boxes[:3]], count=len(boxes))


def _range_of(boxes: Sequence[PlacedBox]) -> str:
    """Percent and thousandths fill their range and leave most of every image empty."""
    for code, limit in (("box.percent", 100), ("box.thousandths", 1000)):
        if _fill(boxes, limit, least_size=2 * limit) or (
            all(map(_fits_as_corners, boxes))
            and _fill([one.as_corners() for one in boxes], limit, least_size=4 * limit)
        ):
            return code
    return "box.scaled" if _are_scaled(boxes) else ""


def _fill_as_corners(boxes: Sequence[PlacedBox], limit: float, *, least_size: float) -> bool:
    return all(map(_fits_as_corners, boxes)) and _fill(
        [one.as_corners() for one in boxes], limit, least_size=least_size
    )


def _fill(boxes: Sequence[PlacedBox], limit: float, *, least_size: float) -> bool:
    """Whether all lie within so many pixels of images that are larger, and some reach nearly so far."""
    if not all(one.right <= 1.005 * limit and one.bottom <= 1.005 * limit for one in boxes):
        return False
    furthest = min(max(one.right for one in boxes), max(one.bottom for one in boxes))
    return furthest > 0.85 * limit and all(min(one.size) >= least_size for one in boxes)


def _are_scaled(boxes: Sequence[PlacedBox]) -> bool:
    """Whether they fill the same fraction of width and height, at most half, from the left top corner itself on."""
    if len(boxes) < _MANY_BOXES or not all(
        2 * one.right <= one.size[0] + _MARGIN and 2 * one.bottom <= one.size[1] + _MARGIN for one in boxes
    ):
        return False
    across, down = (max(end / length for end, length in ends) for ends in zip(*map(_ends, boxes), strict=True))
    nearest = max(min(one.box[0] / one.size[0] for one in boxes), min(one.box[1] / one.size[1] for one in boxes))
    return min(across, down) > 0.9 * max(across, down) and nearest < 0.02 * min(across, down)


def _ends(one: PlacedBox) -> tuple[tuple[float, float], tuple[float, float]]:
    return (one.right, one.size[0]), (one.bottom, one.size[1])


def _fits(left: float, top: float, right: float, bottom: float, size: Size) -> bool:
    """Whether it is a rectangle inside of an image."""
    return -_MARGIN <= left < right <= size[0] + _MARGIN and -_MARGIN <= top < bottom <= size[1] + _MARGIN


def _beyond(boxes: Sequence[PlacedBox], side: int) -> list[PlacedBox]:
    """Those that reach beyond the right (0) or lower (1) edge of their image by more than a careless hand has it."""
    outside = (one for one in boxes if one.box[side] + one.box[2 + side] > one.size[side] + _MARGIN)
    return [one for one in outside if one.box[side] + 0.9 * one.box[2 + side] > one.size[side]]


def _fits_as_corners(one: PlacedBox) -> bool:
    left, top, right, bottom = one.box
    return _fits(left, top, right, bottom, one.size)


def _fits_as_center(one: PlacedBox) -> bool:
    x, y, width, height = one.box
    return _fits(x - width / 2, y - height / 2, x + width / 2, y + height / 2, one.size)


def _fits_swapped(one: PlacedBox) -> bool:
    top, left, height, width = one.box
    return _fits(left, top, left + width, top + height, one.size)


def _fits_as_swapped_corners(one: PlacedBox) -> bool:
    top, left, bottom, right = one.box
    return _fits(left, top, right, bottom, one.size)


class _Reading(NamedTuple):
    code: str
    fits: Callable[[PlacedBox], bool]
    min_share: float = 0
    """Of all boxes, that must reach beyond as written."""


_SWAPPED = (_Reading("box.swapped", _fits_swapped),)
_OTHERWISE = (
    _Reading("box.corners", _fits_as_corners, _MIN_SHARE_OF_CORNERS),
    _Reading("box.swapped_corners", _fits_as_swapped_corners, _MIN_SHARE_OF_CORNERS),
    _Reading("box.centers", _fits_as_center),
)
"""The narrower ones first."""


def _swapped(boxes: Sequence[PlacedBox]) -> str:
    """Only the longer side of images shows it; polygons that are swapped too confirm the boxes."""
    return _reading_of(boxes, [*_beyond(boxes, 0), *_beyond(boxes, 1)], _SWAPPED)


def _otherwise(boxes: Sequence[PlacedBox]) -> str:
    """Only what shows on both edges: a careless hand may cross one."""
    right, lower = _beyond(boxes, 0), _beyond(boxes, 1)
    if not right or not lower:
        return ""
    return _reading_of(boxes, [*right, *lower], _OTHERWISE)


def _reading_of(boxes: Sequence[PlacedBox], beyond: Sequence[PlacedBox], readings: Sequence[_Reading]) -> str:
    if len(beyond) < _MIN_WITNESSES:
        return ""
    for code, fits, min_share in readings:
        witnesses = sum(map(fits, beyond))
        misfits = sum(not fits(one) for one in boxes)
        if witnesses >= max(_MIN_WITNESSES, _WITNESSES_PER_MISFIT * misfits, min_share * len(boxes)):
            return code
    return ""


def _by_areas(boxes: Sequence[PlacedBox]) -> str:
    """A true area beside corners gives them away, also where none reaches beyond its image."""
    if not all(map(_has_area_of_corners, boxes)):
        return ""
    witnesses = sum(one.area < 0.9 * one.box[2] * one.box[3] for one in boxes)
    return "box.corners" if witnesses >= _MIN_WITNESSES else ""


def _has_area_of_corners(one: PlacedBox) -> bool:
    left, top, right, bottom = one.box
    meant = (right - left) * (bottom - top)
    return is_number(one.area) and right > left and bottom > top and bool(abs(one.area - meant) <= 0.01 * meant)
