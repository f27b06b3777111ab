"""One record in detectron2's dataset format, made of a COCO file's entries as `load_coco_json` makes it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import pycocotools.mask as mask_util
from detectron2.structures import BoxMode

from launcher.data.geometry import is_kept

_KEPT_KEYS = ("iscrowd", "bbox", "keypoints", "category_id")


def record_of(
    image: Mapping[str, Any],
    annotations: Sequence[dict[str, Any]],
    *,
    image_root: str,
    numbers: Mapping[int, int],
) -> dict[str, Any]:
    """The record of one image; `numbers` are the contiguous numbers of categories by their ids."""
    return {
        "file_name": os.path.join(image_root, image["file_name"]),
        "height": image["height"],
        "width": image["width"],
        "image_id": image["id"],
        "annotations": [made for entry in annotations if (made := _annotation(entry, numbers)) is not None],
    }


def _annotation(entry: dict[str, Any], numbers: Mapping[int, int]) -> dict[str, Any] | None:
    """None for polygons of which none has three points, which detectron2 leaves out."""
    made = {key: entry[key] for key in _KEPT_KEYS if key in entry}
    if segmentation := entry.get("segmentation"):
        mask = _mask(segmentation)
        if not mask:
            return None
        made["segmentation"] = mask
    if keypoints := entry.get("keypoints"):
        # COCO's are pixels, detectron2's are points in an image whose first pixel has its centre at 0.5.
        made["keypoints"] = [value if place % 3 == 2 else value + 0.5 for place, value in enumerate(keypoints)]
    made["bbox_mode"] = BoxMode.XYWH_ABS
    made["category_id"] = numbers[entry["category_id"]]
    return made


def _mask(segmentation: Any) -> Any:
    if isinstance(segmentation, dict):
        is_compressed = not isinstance(segmentation["counts"], list)
        return segmentation if is_compressed else mask_util.frPyObjects(segmentation, *segmentation["size"])
    return [polygon for polygon in segmentation if is_kept(polygon)]
