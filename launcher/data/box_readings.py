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

    def shown(self) -> str:
        return f"{self.label}: {list(self.box)} in an image of {self.size[0]} x {self.size[1]}"


def judge_boxes(boxes: Sequence[PlacedBox], tally: Tally) -> None:
    """Note all boxes of a file under the one reading that they fit, if they fit one and not as written."""
    if len(boxes) < _MIN_BOXES:
        return
    unconfirmed = [one for one in boxes if not one.is_confirmed]
    code = _range_of(boxes) or _reading_of(boxes, _SWAPPED)
    if not code and len(unconfirmed) >= max(_MIN_BOXES, len(boxes) / 2):
        boxes, code = unconfirmed, _other_reading_of(unconfirmed)
    if code:
        tally.replace(code, [one.shown() for one in boxes[:3]], count=len(boxes))


def _range_of(boxes: Sequence[PlacedBox]) -> str:
    """Percent and thousandths fill their range and leave most of every image empty."""
    for code, limit, least_size in (("box.percent", 100, 200), ("box.thousandths", 1000, 1500)):
        if all(one.right <= 1.005 * limit and one.bottom <= 1.005 * limit for one in boxes):
            furthest = min(max(one.right for one in boxes), max(one.bottom for one in boxes))
            is_large = all(min(one.size) >= least_size for one in boxes)
            if is_large and furthest > 0.85 * limit:
                return code
    return "box.scaled" if _are_scaled(boxes) else ""


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


def _is_beyond_right(one: PlacedBox) -> bool:
    """By more than a careless hand has it."""
    return one.right - one.size[0] > max(_MARGIN, one.box[2] / 10)


def _is_beyond_bottom(one: PlacedBox) -> bool:
    return one.bottom - one.size[1] > max(_MARGIN, one.box[3] / 10)


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
"""Where polygons are swapped too, they confirm it."""
_OTHERWISE = (
    _Reading("box.corners", _fits_as_corners, _MIN_SHARE_OF_CORNERS),
    _Reading("box.swapped_corners", _fits_as_swapped_corners, _MIN_SHARE_OF_CORNERS),
    _Reading("box.centers", _fits_as_center),
)
"""The narrower ones first."""


def _reading_of(boxes: Sequence[PlacedBox], readings: Sequence[_Reading]) -> str:
    beyond = [one for one in boxes if _is_beyond_right(one) or _is_beyond_bottom(one)]
    if len(beyond) < _MIN_WITNESSES:
        return ""
    for code, fits, min_share in readings:
        witnesses = sum(map(fits, beyond))
        misfits = sum(not fits(one) for one in boxes)
        if witnesses >= max(_MIN_WITNESSES, _WITNESSES_PER_MISFIT * misfits, min_share * len(boxes)):
            return code
    return ""


def _other_reading_of(boxes: Sequence[PlacedBox]) -> str:
    reaches_both_ways = any(map(_is_beyond_right, boxes)) and any(map(_is_beyond_bottom, boxes))
    return (_reading_of(boxes, _OTHERWISE) if reaches_both_ways else "") or _by_areas(boxes)


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
