"""What a labelled data set says, whatever the format of its files; and an account of what it says that is not kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launcher.data.tally import Flaw, Tally

Polygon = Sequence[float]
"""x and y of one point after the other, in pixels from the image's left top corner."""


@dataclass(frozen=True, kw_only=True)
class LabelledObject:
    """One object of an image; coordinates as in COCO, in pixels from the left top corner."""

    category: str
    bbox: tuple[float, float, float, float]
    """x, y, width, height."""
    polygons: tuple[Polygon, ...] = ()
    """Empty where only a box is known."""
    rle: Mapping[str, Any] | None = None
    """In place of polygons, an uncompressed run-length encoding."""
    area: float
    is_crowd: bool = False


@dataclass(frozen=True, kw_only=True)
class LabelledImage:
    """One image and what is in it."""

    file: Path
    width: int
    height: int
    """As detectron2 has it: turned as its EXIF orientation says."""
    objects: tuple[LabelledObject, ...]


@dataclass(frozen=True, kw_only=True)
class Labels:
    """A whole data set."""

    parts: Mapping[str, Sequence[LabelledImage]]
    """train, val and test, as far as they are there."""
    categories: tuple[str, ...]
    """In the order in which they are numbered."""
    conventions: tuple[str, ...] = ()
    """How numbers were understood, where that was a choice."""


@dataclass(frozen=True)
class Account:
    """Counts while files are read. Places are `file:line`."""

    lost: Tally = field(default_factory=Tally)
    """By what is left out."""
    changed: Tally = field(default_factory=Tally)
    """By what is kept otherwise than it was, or worth a look."""
    malformed: list[str] = field(default_factory=list)
    """What could not be read, with its place."""

    def losses(self) -> tuple[Flaw, ...]:
        """One for each kind; its code is a sentence."""
        return self.lost.result()

    def changes(self) -> tuple[Flaw, ...]:
        """One for each kind; its code is a sentence."""
        return self.changed.result()


DIGITS = 4
"""Behind the point of a coordinate: a ten-thousandth of a pixel is kept."""


def has_extent(bbox: tuple[float, float, float, float]) -> bool:
    """Whether it has width and height, as it is written."""
    return min(round(side, DIGITS) for side in bbox[2:]) > 0


def box_around(polygons: Sequence[Polygon]) -> tuple[float, float, float, float]:
    """As COCO writes it."""
    xs = [x for polygon in polygons for x in polygon[::2]]
    ys = [y for polygon in polygons for y in polygon[1::2]]
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)


def area_of(polygon: Polygon) -> float:
    """By the shoelace formula."""
    points = list(zip(polygon[::2], polygon[1::2], strict=True))
    following = [*points[1:], *points[:1]]
    return abs(sum(x * next_y - next_x * y for (x, y), (next_x, next_y) in zip(points, following, strict=True))) / 2
