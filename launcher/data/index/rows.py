"""What an index keeps of one entry; whether detectron2's loader would take the entry as it is.

The conditions are those of `detectron2.data.datasets.coco.load_coco_json`: where it might raise, or where what it gives
depends on more than the entry and its image, there is no row, and detectron2 reads the file itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from launcher.data.coco_file import is_category
from launcher.data.geometry import is_kept
from launcher.data.index.columns import IS_CROWD, IS_DROPPED

_MOST_ID = 2**62
_MOST_SIDE = 2**31 - 1
_NUMBERS = {int, float}


class UnusableError(ValueError):
    """An entry that an index cannot serve."""


class ImageRow(NamedTuple):
    image_id: int
    width: int
    height: int


class AnnotationRow(NamedTuple):
    annotation_id: int
    image_id: int
    category: int
    flags: int
    num_visible: int


def image_row(place: int, entry: Any) -> ImageRow:
    """Raises UnusableError."""
    if not isinstance(entry, dict) or not _is_id(entry.get("id")):
        raise UnusableError(f"images[{place}] has no whole number as its id")
    file_name, width, height = entry.get("file_name"), entry.get("width"), entry.get("height")
    if not isinstance(file_name, str):
        raise UnusableError(f"images[{place}] has no text as its file_name")
    if not (type(width) is int and type(height) is int and 0 < width <= _MOST_SIDE and 0 < height <= _MOST_SIDE):
        raise UnusableError(f"images[{place}] has no whole numbers as width and height")
    return ImageRow(entry["id"], width, height)


def category_numbers(categories: Sequence[Any]) -> dict[int, int]:
    """The contiguous number of each category by its id, as detectron2 numbers them.

    Raises:
        UnusableError: one is not as it should be.
    """
    for place, entry in enumerate(categories):
        if not is_category(entry) or not _is_id(entry["id"]) or not isinstance(entry["name"], str):
            raise UnusableError(f"categories[{place}] has no whole number as its id, or no name")
    ids = sorted(entry["id"] for entry in categories)
    if not ids or len(set(ids)) < len(ids):
        raise UnusableError("two categories have the same id, or there are none")
    return {category_id: number for number, category_id in enumerate(ids)}


def annotation_row(place: int, entry: Any, categories: Mapping[int, int], images: Mapping[Any, Any]) -> AnnotationRow:
    """Raises UnusableError."""
    if not isinstance(entry, dict) or not _is_id(entry.get("id")):
        raise UnusableError(f"annotations[{place}] has no whole number as its id")
    image_id, category_id = entry.get("image_id"), entry.get("category_id")
    if type(image_id) is not int or image_id not in images:
        raise UnusableError(f"annotations[{place}] is of no image")
    if type(category_id) is not int or category_id not in categories:
        raise UnusableError(f"annotations[{place}] is of no category")
    if entry.get("ignore", 0) != 0:
        raise UnusableError(f"annotations[{place}] is to be ignored")
    if not _is_box(entry.get("bbox", _ABSENT)):
        raise UnusableError(f"annotations[{place}] has no bbox that is a list")
    flags = (IS_CROWD if entry.get("iscrowd", 0) != 0 else 0) | _flag_of_mask(place, entry.get("segmentation"))
    num_visible = 0 if flags & IS_DROPPED else _num_visible(place, entry.get("keypoints", _ABSENT))
    return AnnotationRow(entry["id"], image_id, categories[category_id], flags, num_visible)


_ABSENT: Any = [0]


def _is_id(value: object) -> bool:
    return type(value) is int and -_MOST_ID < value < _MOST_ID


def _is_box(box: Any) -> bool:
    return type(box) is list and len(box) > 0


def _flag_of_mask(place: int, segmentation: Any) -> int:
    if not segmentation:
        return 0
    if type(segmentation) is list and all(type(polygon) is list for polygon in segmentation):
        return 0 if any(map(is_kept, segmentation)) else IS_DROPPED
    if type(segmentation) is dict and type(segmentation.get("counts")) is str:
        return 0
    if type(segmentation) is dict and _is_uncompressed(segmentation):
        return 0
    raise UnusableError(f"annotations[{place}] has a segmentation that is neither polygons nor RLE")


def _is_uncompressed(rle: Mapping[str, Any]) -> bool:
    """Whether pycocotools compresses it without an error."""
    counts, size = rle.get("counts"), rle.get("size")
    if type(counts) is not list or type(size) is not list or len(size) != 2:
        return False
    return all(type(number) is int and 0 <= number < 2**31 for number in (*size, *counts))


def _num_visible(place: int, keypoints: Any) -> int:
    if keypoints is _ABSENT:
        return 0
    if type(keypoints) is not list or not set(map(type, keypoints)) <= _NUMBERS:
        raise UnusableError(f"annotations[{place}] has keypoints that are no list of numbers")
    return sum(visibility > 0 for visibility in keypoints[2::3])
