"""Measures the boxes, masks and keypoints of annotations. Never decodes a mask."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from launcher.data.json_file import kind_of
from launcher.data.tally import Tally

_SLACK = 0.05
"""Of an image's side: objects that reach beyond by less are sound."""
_MIN_SLACK = 2.0
"""Pixels."""
_FAR = 10
"""Image sides: rasterising a polygon that reaches further may take all memory."""
_MIN_FAR = 10_000
_FITS = 0.3
"""Intersection over union of an object's box and its polygons' extents, from which on they belong together."""
_LARGEST = 1e15
"""Beyond, arrays of whole numbers overflow."""
_NUMBERS = {int, float}
_COMPRESSED = re.compile(r"[0-o]*")
"""The letters of a compressed RLE."""

Size = tuple[float, float]
"""Width and height; infinite where they are not known."""


@dataclass(frozen=True, kw_only=True)
class Extents:
    """A rectangle in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def area(self) -> float:
        return max(0.0, self.right - self.left) * max(0.0, self.bottom - self.top)

    def grown(self, pixels: float) -> Extents:
        return Extents(
            left=self.left - pixels, top=self.top - pixels, right=self.right + pixels, bottom=self.bottom + pixels
        )

    def reaches_beyond(self, size: Size) -> bool:
        """Whether more than a margin of it lies outside an image."""
        slack_x, slack_y = (max(_MIN_SLACK, _SLACK * side) if math.isfinite(side) else math.inf for side in size)
        return (
            self.left < -slack_x
            or self.top < -slack_y
            or self.right > size[0] + slack_x
            or self.bottom > size[1] + slack_y
        )

    def is_fraction(self, size: Size) -> bool:
        """Whether it can only be meant as a fraction of the image's size."""
        in_unit = min(self.left, self.top) >= 0 and max(self.right, self.bottom) <= 1.01
        return in_unit and min(size) > 4 and math.isfinite(max(size))


def is_number(value: object) -> bool:
    """Whether it is a number that can be a coordinate: not NaN, not infinite, not true or false."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _LARGEST


def _are_numbers(values: Sequence[Any]) -> bool:
    """As `is_number` for each, but without a call for each: files have millions of coordinates."""
    try:
        plain = set(map(type, values)) <= _NUMBERS and math.isfinite(sum(values))  # NaN and infinity stay in a sum
    except OverflowError:
        return False
    return plain and (not values or (min(values) >= -_LARGEST and max(values) <= _LARGEST))


def _is_float_or_small(value: object) -> bool:
    return isinstance(value, float) or is_number(value)


def overlap(one: Extents, other: Extents) -> float:
    """Intersection over union."""
    common = Extents(
        left=max(one.left, other.left),
        top=max(one.top, other.top),
        right=min(one.right, other.right),
        bottom=min(one.bottom, other.bottom),
    ).area
    union = one.area + other.area - common
    return common / union if common and union and math.isfinite(union) else 0.0


def check_box(box: Any, size: Size | None, label: str, tally: Tally) -> Extents | None:
    """Note what is wrong with a box in itself, and return where it is when nothing is."""
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_float_or_small, box)):
        tally.note("box.malformed", f"{label}: {_shown(box)}")
        return None
    if not (all(map(is_number, box)) and box[2] > 0 and box[3] > 0):
        tally.note("box.degenerate", f"{label}: {_shown(box)}")
        return None
    left, top, width, height = box
    found = Extents(left=left, top=top, right=left + width, bottom=top + height)
    if size and found.is_fraction(size):
        tally.note("box.fraction", f"{label}: {_shown(box)}")
    elif size and (left >= size[0] or top >= size[1] or found.right <= 0 or found.bottom <= 0):
        tally.note("box.outside", f"{label}: {_shown(box)} in an image of {_shown_size(size)}")
    elif size and found.reaches_beyond(size):
        code = "box.corners" if _fits_as_corners(box, size) else "box.beyond"
        tally.note(code, f"{label}: {_shown(box)} in an image of {_shown_size(size)}")
    return found


def _fits_as_corners(box: Sequence[float], size: Size) -> bool:
    left, top, right, bottom = box
    return 0 <= left < right <= size[0] + 1 and 0 <= top < bottom <= size[1] + 1


def kind_of_mask(segmentation: Any) -> str:
    """missing, malformed, rle, polygons, or no_polygon where detectron2's loader drops them all."""
    if not segmentation:
        return "missing"
    if isinstance(segmentation, Mapping):
        whole = isinstance(segmentation.get("counts"), (list, str)) and isinstance(segmentation.get("size"), list)
        return "rle" if whole else "malformed"
    if isinstance(segmentation, list) and all(isinstance(polygon, list) for polygon in segmentation):
        # The same test as detectron2's loader, which drops the whole object when no polygon passes.
        return "polygons" if any(map(_is_kept, segmentation)) else "no_polygon"
    return "malformed"


def _is_kept(polygon: Sequence[Any]) -> bool:
    return len(polygon) >= 6 and len(polygon) % 2 == 0


def check_rle(rle: Mapping[str, Any], size: Size | None, label: str, tally: Tally) -> None:
    """Note an RLE that is not of its image's size or holds what no RLE does."""
    lengths, counts = rle["size"], rle["counts"]
    if len(lengths) != 2 or not all(type(length) is int for length in lengths):
        tally.note("rle.malformed", f"{label}: size {_shown(lengths)}")
    elif size and math.isfinite(max(size)) and tuple(lengths) != (size[1], size[0]):
        swapped = ", which is [width, height] in place of [height, width]" if tuple(lengths) == size else ""
        tally.note("rle.size", f"{label}: size {_shown(lengths)} in an image of {_shown_size(size)}{swapped}")
    elif isinstance(counts, str):
        if not _COMPRESSED.fullmatch(counts):
            tally.note("rle.malformed", f"{label}: counts with letters that no compressed RLE has")
    elif not all(type(count) is int and 0 <= count < 2**32 for count in counts):
        tally.note("rle.malformed", f"{label}: counts that are no lengths of runs")
    elif (total := sum(counts)) != lengths[0] * lengths[1]:
        tally.note("rle.malformed", f"{label}: counts of {total} pixels in a size of {lengths[0] * lengths[1]} pixels")


def check_polygons(polygons: Sequence[Any], size: Size | None, box: Extents | None, label: str, tally: Tally) -> None:
    """Note polygons that hold no coordinates, or such as cannot be meant."""
    if wrong := next((place for place in map(_wrong_in, polygons) if place), ""):
        tally.note("polygon.malformed", f"{label}: {wrong}")
        return
    kept = [polygon for polygon in polygons if _is_kept(polygon)]
    if not kept:
        return
    if len(kept) < len(polygons):
        tally.note("polygon.left_out", label)
    found = _extents_of(kept)
    furthest = max(abs(found.left), abs(found.top), abs(found.right), abs(found.bottom))
    if furthest > (max(_MIN_FAR, _FAR * max(size)) if size and math.isfinite(max(size)) else 1e6):
        tally.note("polygon.far", f"{label}: a coordinate of {furthest:.6g}")
    elif size:
        _check_meaning(found, size, box, label, tally)


def _wrong_in(polygon: Sequence[Any]) -> str:
    """What is no finite number in a polygon; empty when all is."""
    if _are_numbers(polygon):
        return ""
    odd = next((value for value in polygon if not is_number(value)), polygon)
    if odd is polygon:
        return ""
    if isinstance(odd, list):
        return f"points as pairs such as {_shown(odd)}, where COCO has one flat list [x, y, x, y, ...]"
    return f"{kind_of(odd)} {_shown(odd)} in place of a coordinate"


def _extents_of(polygons: Iterable[Sequence[float]]) -> Extents:
    points = list(chain.from_iterable(polygons))  # every polygon has as many x as y
    across, down = points[::2], points[1::2]
    return Extents(left=min(across), top=min(down), right=max(across), bottom=max(down))


def _check_meaning(found: Extents, size: Size, box: Extents | None, label: str, tally: Tally) -> None:
    """What is said of the box already is not said of its polygons again."""
    where = f"{label}: x {found.left:.6g} to {found.right:.6g}, y {found.top:.6g} to {found.bottom:.6g}"
    if found.is_fraction(size):
        if not (box and box.is_fraction(size)):
            tally.note("polygon.fraction", where)
    elif box and overlap(found.grown(1), box.grown(1)) < _FITS:
        where += f"; its box: x {box.left:.6g} to {box.right:.6g}, y {box.top:.6g} to {box.bottom:.6g}"
        _note_misfit(found, size, box, where, tally)
    elif found.reaches_beyond(size) and not (box and box.reaches_beyond(size)):
        tally.note("polygon.beyond", f"{where} in an image of {_shown_size(size)}")


def _note_misfit(found: Extents, size: Size, box: Extents, where: str, tally: Tally) -> None:
    if box.reaches_beyond(size):
        return
    as_corners = Extents(left=box.left, top=box.top, right=box.right - box.left, bottom=box.bottom - box.top)
    tally.note("box.corners" if overlap(found, as_corners) > 0.8 else "polygon.not_in_box", where)


def check_keypoints(entry: Mapping[str, Any], size: Size | None, label: str, tally: Tally) -> int:
    """Note what is wrong with an annotation's keypoints, and return how many can be seen."""
    keypoints = entry.get("keypoints")
    if not keypoints:
        return 0
    if not isinstance(keypoints, list):
        tally.note("keypoints.malformed", f"{label}: {kind_of(keypoints)} {_shown(keypoints)} in place of a list")
        return 0
    wrong = next((value for value in keypoints if type(value) not in (int, float)), None)
    if wrong is not None or None in keypoints:
        tally.note("keypoints.malformed", f"{label}: {kind_of(wrong)} {_shown(wrong)} in place of a number")
        return 0
    if len(keypoints) % 3:
        tally.note("keypoints.odd", f"{label}: {len(keypoints)} numbers")
        return 0
    if not all(map(is_number, keypoints)):
        tally.note("keypoints.not_finite", label)
        return 0
    return _check_seen(entry, keypoints, size, label, tally)


def _check_seen(
    entry: Mapping[str, Any], keypoints: Sequence[float], size: Size | None, label: str, tally: Tally
) -> int:
    points = list(zip(keypoints[::3], keypoints[1::3], keypoints[2::3], strict=True))
    if strange := next((flag for _, _, flag in points if flag not in (0, 1, 2)), None):
        tally.note("keypoints.visibility", f"{label}: {_shown(strange)}")
    seen = [(x, y) for x, y, flag in points if flag > 0]
    if isinstance(number := entry.get("num_keypoints"), int) and number != len(seen):
        tally.note("keypoints.number", f"{label}: num_keypoints {_shown(number)}, {len(seen)} visible")
    if seen and size:
        found = _extents_of(seen)
        if len(seen) > 1 and found.is_fraction(size):
            tally.note("keypoints.fraction", label)
        elif found.reaches_beyond(size):
            tally.note("keypoints.beyond", f"{label} in an image of {_shown_size(size)}")
    return len(seen)


def _shown(value: object) -> str:
    """As in the file, and short."""
    try:
        return repr(value)[:80] if not isinstance(value, str) else f'"{value[:60]}"'
    except (ValueError, RecursionError):  # a number of thousands of digits
        return kind_of(value)


def _shown_size(size: Size) -> str:
    return f"{_shown(size[0])} x {_shown(size[1])}"
