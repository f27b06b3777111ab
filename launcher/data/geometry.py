"""Measures the boxes, masks and keypoints of annotations. Never makes a bitmap of a mask.

Files have millions of coordinates: what most objects are, sound, is found by the fewest comparisons.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from launcher.data.json_file import kind_of
from launcher.data.rle import edges_of, is_compressed, run_lengths
from launcher.data.tally import Tally

_SLACK = 0.05
"""Of an image's side: objects that reach beyond by less are sound."""
_MIN_SLACK = 2.0
"""Pixels."""
_FAR = 10
"""Image sides: rasterising a polygon that reaches further may take all memory."""
_MIN_FAR = 10_000
_FITS = 0.3
"""Intersection over union of an object's box and its mask's extents, from which on they belong together."""
_FITS_WELL = 0.8
_LARGEST = 1e15
"""Beyond, arrays of whole numbers overflow."""
_NUMBERS = {int, float}
_MOST_LETTERS = 20_000
"""Of a compressed RLE: longer ones are not decoded."""
_BLANK_LETTERS = 14
"""The most that a compressed RLE of background alone has."""

Size = tuple[float, float]
"""Width and height; infinite where they are not known."""


class Extents(NamedTuple):
    """A rectangle in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def is_within(self, size: Size) -> bool:
        return self.left >= 0 and self.top >= 0 and self.right <= size[0] and self.bottom <= size[1]

    def reaches_beyond(self, size: Size) -> bool:
        """Whether more than a margin of it lies outside an image."""
        if self.is_within(size):
            return False
        slack_x, slack_y = (max(_MIN_SLACK, _SLACK * side) if math.isfinite(side) else math.inf for side in size)
        return (
            self.left < -slack_x
            or self.top < -slack_y
            or self.right > size[0] + slack_x
            or self.bottom > size[1] + slack_y
        )

    def is_fraction(self, size: Size) -> bool:
        """Whether it can only be meant as a fraction of the image's size."""
        in_unit = self.right <= 1.01 and self.bottom <= 1.01 and self.left >= 0 and self.top >= 0
        return in_unit and min(size) > 4 and math.isfinite(max(size))


OTHER_READINGS: Mapping[str, Callable[[Any, Any, Any, Any], tuple[Any, Any, Any, Any]]] = {
    "box.corners": lambda left, top, right, bottom: (left, top, right, bottom),
    "box.centers": lambda x, y, width, height: (x - width / 2, y - height / 2, x + width / 2, y + height / 2),
    "box.swapped": lambda top, left, height, width: (left, top, left + width, top + height),
    "box.swapped_corners": lambda top, left, bottom, right: (left, top, right, bottom),
}
"""What four numbers may be in place of [x, y, width, height]: left, top, right and bottom, of numbers or of arrays."""


def is_number(value: object) -> bool:
    """Whether it is a number that can be a coordinate: not NaN, not infinite, not true or false."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _LARGEST


def _are_finite(values: Sequence[Any]) -> bool:
    """Whether all are finite numbers, without a call for each."""
    try:
        return set(map(type, values)) <= _NUMBERS and math.isfinite(sum(values))  # NaN and infinity stay in a sum
    except OverflowError:
        return False


def _is_float_or_small(value: object) -> bool:
    return isinstance(value, float) or is_number(value)


def overlap(one: Extents, other: Extents, *, margin: float = 0) -> float:
    """Intersection over union, of both with so many pixels more on each side."""
    more = 2 * margin
    left, top, right, bottom = one
    its_left, its_top, its_right, its_bottom = other
    across = min(right, its_right) - max(left, its_left) + more
    down = min(bottom, its_bottom) - max(top, its_top) + more
    if across <= 0 or down <= 0:
        return 0.0
    area = (right - left + more) * (bottom - top + more)
    its_area = (its_right - its_left + more) * (its_bottom - its_top + more)
    union = area + its_area - across * down
    return across * down / union if math.isfinite(union) else 0.0


def check_box(box: Any, size: Size | None, label: str, tally: Tally) -> Extents | None:
    """Note what is wrong with a box in itself, and return where it is when nothing is."""
    is_finite = isinstance(box, list) and _are_finite(box)
    if not isinstance(box, list) or len(box) != 4 or not (is_finite or all(map(_is_float_or_small, box))):
        tally.note("box.malformed", f"{label}: {_shown(box)}")
        return None
    left, top, width, height = box
    if not (is_finite and 0 < width <= _LARGEST and 0 < height <= _LARGEST and abs(left) + abs(top) <= _LARGEST):
        tally.note("box.degenerate", f"{label}: {_shown(box)}")
        return None
    found = Extents(left, top, left + width, top + height)
    if size and (not found.is_within(size) or found.is_fraction(size)):
        _note_misplaced(box, found, size, label, tally)
    return found


def _note_misplaced(box: Sequence[float], found: Extents, size: Size, label: str, tally: Tally) -> None:
    if found.is_fraction(size):
        tally.note("box.fraction", f"{label}: {_shown(box)}")
    elif found.left >= size[0] or found.top >= size[1] or found.right <= 0 or found.bottom <= 0:
        tally.note("box.outside", f"{label}: {_shown(box)} in an image of {_shown_size(size)}")
    elif found.reaches_beyond(size):
        code = "box.corners" if _fits_as_corners(box, size) else "box.beyond"
        tally.note(code, f"{label}: {_shown(box)} in an image of {_shown_size(size)}")


def _fits_as_corners(box: Sequence[float], size: Size) -> bool:
    left, top, right, bottom = box
    return 0 <= left < right <= size[0] + 1 and 0 <= top < bottom <= size[1] + 1


def kind_of_mask(segmentation: Any) -> str:
    """missing, malformed, rle, polygons, or no_polygon where detectron2's loader drops them all."""
    if not segmentation:
        return "missing"
    if isinstance(segmentation, list) and set(map(type, segmentation)) == {list}:
        return "polygons" if any(map(is_kept, segmentation)) else "no_polygon"
    is_rle = isinstance(segmentation, dict) and isinstance(segmentation.get("counts"), (list, str))
    return "rle" if is_rle and isinstance(segmentation.get("size"), list) else "malformed"


def is_kept(polygon: Sequence[Any]) -> bool:
    """The same test as detectron2's loader, which drops the whole object when no polygon passes."""
    return len(polygon) >= 6 and len(polygon) % 2 == 0


def check_rle(
    rle: Mapping[str, Any], size: Size | None, box: Extents | None, label: str, tally: Tally, *, decode: bool
) -> bool:
    """Note an RLE that is not of its image's size, holds what no RLE does or lies elsewhere than its box.

    Compressed ones that are not to be decoded are only looked at for their size, and whether they are blank.
    Returns whether it was looked into for where it lies.
    """
    lengths, counts = rle["size"], rle["counts"]
    if len(lengths) != 2 or not all(type(length) is int for length in lengths):
        tally.note("rle.malformed", f"{label}: size {_shown(lengths)}")
    elif size and math.isfinite(max(size)) and tuple(lengths) != (size[1], size[0]):
        swapped = ", which is [width, height] in place of [height, width]" if tuple(lengths) == size else ""
        tally.note("rle.size", f"{label}: size {_shown(lengths)} in an image of {_shown_size(size)}{swapped}")
    elif isinstance(counts, str) and not is_compressed(counts):
        tally.note("rle.malformed", f"{label}: counts with letters that no compressed RLE has, or cut off")
    elif isinstance(counts, list) or len(counts) <= (_MOST_LETTERS if decode else _BLANK_LETTERS):
        runs = run_lengths(counts) if isinstance(counts, str) else counts
        _check_runs(runs, lengths[0], lengths[1], box, label, tally)
        return box is not None
    return False


def _check_runs(runs: Sequence[Any], height: int, width: int, box: Extents | None, label: str, tally: Tally) -> None:
    if not all(type(run) is int and 0 <= run < 2**32 for run in runs):
        tally.note("rle.malformed", f"{label}: counts that are no lengths of runs")
    elif (total := sum(runs)) != height * width:
        tally.note("rle.malformed", f"{label}: counts of {total} pixels in a size of {height * width} pixels")
    elif box:
        _check_edges(edges_of(runs, height), box, label, tally)


def _check_edges(edges: tuple[int, int, int, int] | None, box: Extents, label: str, tally: Tally) -> None:
    if edges is None:
        tally.note("mask.blank", f"{label}: an RLE of background")
    elif overlap(found := Extents(*edges), box, margin=1) < _FITS:
        tally.note("rle.not_in_box", _say_misfit(found, box, label))


def check_polygons(polygons: Sequence[Any], size: Size | None, box: Extents | None, label: str, tally: Tally) -> bool:
    """Note polygons that hold no coordinates, or such as cannot be meant; whether they fit their box as it stands."""
    if not all(map(_are_finite, polygons)) and (wrong := next(filter(None, map(_wrong_in, polygons)), "")):
        tally.note("polygon.malformed", f"{label}: {wrong}")
        return False
    kept = [polygon for polygon in polygons if is_kept(polygon)]
    if not kept:
        return False
    if len(kept) < len(polygons):
        tally.note("polygon.left_out", label)
    found = _extents_of(kept)
    if _reaches_far(found, size):
        tally.note("polygon.far", f"{label}: a coordinate of {max(map(abs, found)):.6g}")
        return False
    return size is not None and _check_meaning(found, size, box, label, tally)


def _reaches_far(found: Extents, size: Size | None) -> bool:
    left, top, right, bottom = found
    if right <= _MIN_FAR and bottom <= _MIN_FAR and left >= -_MIN_FAR and top >= -_MIN_FAR:
        return False
    return max(map(abs, found)) > (max(_MIN_FAR, _FAR * max(size)) if size and math.isfinite(max(size)) else 1e6)


def _wrong_in(polygon: Sequence[Any]) -> str:
    """What is no finite number in a polygon; empty when all is."""
    odd = next((value for value in polygon if not is_number(value)), polygon)
    if odd is polygon:
        return ""
    if isinstance(odd, list):
        return f"points as pairs such as {_shown(odd)}, where COCO has one flat list [x, y, x, y, ...]"
    return f"{kind_of(odd)} {_shown(odd)} in place of a coordinate"


def _extents_of(polygons: Sequence[Sequence[float]]) -> Extents:
    # Every polygon has as many x as y.
    points = polygons[0] if len(polygons) == 1 else list(chain.from_iterable(polygons))
    across, down = points[::2], points[1::2]
    return Extents(min(across), min(down), max(across), max(down))


def _check_meaning(found: Extents, size: Size, box: Extents | None, label: str, tally: Tally) -> bool:
    """What is said of the box already is not said of its polygons again."""
    if box and (found.left == found.right or found.top == found.bottom):
        tally.note("mask.blank", f"{label}: polygons without area")
        return False
    if found.is_fraction(size):
        if not (box and box.is_fraction(size)):
            tally.note("polygon.fraction", _say_extents(found, label))
        return False
    if box and overlap(found, box, margin=1) < _FITS:
        if not box.reaches_beyond(size):
            tally.note(_meaning_of_misfit(found, box), _say_misfit(found, box, label))
        return False
    if found.reaches_beyond(size) and not (box and box.reaches_beyond(size)):
        tally.note("polygon.beyond", f"{_say_extents(found, label)} in an image of {_shown_size(size)}")
    return box is not None


def _meaning_of_misfit(found: Extents, box: Extents) -> str:
    """What a box that its polygons do not fit may be in place of [x, y, width, height]."""
    written = box.left, box.top, box.right - box.left, box.bottom - box.top
    meanings = ((code, Extents(*read(*written))) for code, read in OTHER_READINGS.items())
    return next((code for code, meant in meanings if overlap(found, meant) > _FITS_WELL), "polygon.not_in_box")


def _say_extents(found: Extents, label: str) -> str:
    return f"{label}: x {found.left:.6g} to {found.right:.6g}, y {found.top:.6g} to {found.bottom:.6g}"


def _say_misfit(found: Extents, box: Extents, label: str) -> str:
    return _say_extents(found, label) + _say_extents(box, "; its box")


def check_keypoints(entry: Mapping[str, Any], size: Size | None, box: Extents | None, label: str, tally: Tally) -> int:
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
    return _check_seen(entry, keypoints, size, box, label, tally)


def _check_seen(
    entry: Mapping[str, Any],
    keypoints: Sequence[float],
    size: Size | None,
    box: Extents | None,
    label: str,
    tally: Tally,
) -> int:
    points = list(zip(keypoints[::3], keypoints[1::3], keypoints[2::3], strict=True))
    if strange := next((flag for _, _, flag in points if flag not in (0, 1, 2)), None):
        tally.note("keypoints.visibility", f"{label}: {_shown(strange)}")
    seen = [(x, y) for x, y, flag in points if flag > 0]
    if isinstance(number := entry.get("num_keypoints"), int) and number != len(seen):
        tally.note("keypoints.number", f"{label}: num_keypoints {_shown(number)}, {len(seen)} visible")
    if seen and size:
        _check_place(seen, size, box, label, tally)
    return len(seen)


def _check_place(
    seen: Sequence[tuple[float, float]], size: Size, box: Extents | None, label: str, tally: Tally
) -> None:
    found = _extents_of(seen)
    if len(seen) > 1 and found.is_fraction(size):
        tally.note("keypoints.fraction", label)
    elif found.reaches_beyond(size):
        tally.note("keypoints.beyond", f"{label} in an image of {_shown_size(size)}")
    elif box and not (box.reaches_beyond(size) or box.is_fraction(size)) and _are_mostly_outside(seen, box):
        tally.note("keypoints.not_in_box", _say_misfit(found, box, label))


def _are_mostly_outside(points: Sequence[tuple[float, float]], box: Extents) -> bool:
    left, top, right, bottom = box
    across, down = 1 + (right - left) / 10, 1 + (bottom - top) / 10
    inside = sum(left - across <= x <= right + across and top - down <= y <= bottom + down for x, y in points)
    return 2 * inside < len(points)


def _shown(value: object) -> str:
    """As in the file, and short."""
    try:
        return repr(value)[:80] if not isinstance(value, str) else f'"{value[:60]}"'
    except (ValueError, RecursionError):  # a number of thousands of digits
        return kind_of(value)


def _shown_size(size: Size) -> str:
    return f"{_shown(size[0])} x {_shown(size[1])}"
