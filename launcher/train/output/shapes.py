"""Objects of an image as they are drawn, of whatever gives them: a data set's annotations or a model's result."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import cv2
import numpy as np
from detectron2.structures import BoxMode
from pycocotools import mask as coco_mask

logger = logging.getLogger(__name__)

KEYPOINT_SHOWN = 0.05
"""A keypoint's score from which detectron2 draws it."""

INNERMOST_OF = 200
"""The innermost place of a mask is found among about as many rows and columns."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Mask:
    """The part of an image that an object covers, cut out: a hundred masks of a large image would fill the memory."""

    left: int
    top: int
    pixels: np.ndarray
    """bool, (height, width)."""

    @classmethod
    def of(cls, whole: np.ndarray) -> Mask | None:
        """Of a mask of the image's size; None for an empty one."""
        rows, columns = np.flatnonzero(whole.any(axis=1)), np.flatnonzero(whole.any(axis=0))
        if not len(rows):
            return None
        pixels = whole[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        return cls(left=int(columns[0]), top=int(rows[0]), pixels=pixels.astype(bool))

    @property
    def innermost(self) -> tuple[float, float]:
        """The place, x and y, that is farthest from what is not covered."""
        step = max(1, max(self.pixels.shape) // INNERMOST_OF)
        inside = np.pad(self.pixels[::step, ::step].astype(np.uint8), 1)
        depth = cv2.distanceTransform(inside, cv2.DIST_L2, 3)
        y, x = np.unravel_index(int(depth.argmax()), depth.shape)
        return float(self.left + (x - 0.5) * step), float(self.top + (y - 0.5) * step)

    @property
    def bounds(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom."""
        height, width = self.pixels.shape
        return self.left, self.top, self.left + width, self.top + height


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One object, in pixels of its image."""

    class_index: int
    score: float | None
    """None for what is true."""
    corners: np.ndarray | None
    """Of its box, (4, 2), in the order in which they are joined."""
    mask: Mask | None
    keypoints: np.ndarray | None
    """(number, 3): x, y and whether it is shown."""
    is_crowd: bool
    is_stuff: bool

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom; of the mask where there is no box."""
        if self.corners is None:
            return self.mask.bounds if self.mask is not None else (0.0, 0.0, 0.0, 0.0)
        (left, top), (right, bottom) = self.corners.min(axis=0), self.corners.max(axis=0)
        return float(left), float(top), float(right), float(bottom)


def shapes_of_annotations(record: Mapping[str, Any], size: tuple[int, int]) -> list[Shape]:
    """The objects of a record in detectron2's format, on an image of (height, width)."""
    return list(_each(lambda one: _of_annotation(one, size), record.get("annotations") or ()))


def shapes_of_result(result: Mapping[str, Any], threshold: float) -> list[Shape]:
    """What a model gave for one image, in detectron2's format: panoptic before instances before semantic."""
    if "panoptic_seg" in result:
        return _of_panoptic(*result["panoptic_seg"])
    if "instances" in result:
        return shapes_of_instances(result["instances"], threshold)
    return _of_semantic(result["sem_seg"]) if "sem_seg" in result else []


def shapes_of_instances(instances: Any, threshold: float) -> list[Shape]:
    """Instances of at least that score, the best first."""
    instances = instances.to("cpu")
    scores = instances.scores.numpy()
    best_first = [int(index) for index in np.argsort(-scores, kind="stable") if scores[index] >= threshold]
    return list(_each(lambda index: _of_instance(instances, index), best_first))


def shapes_of_targets(targets: Any) -> list[Shape]:
    """What is to be found in a training sample: detectron2's Instances with boxes, perhaps masks and keypoints."""
    return list(_each(lambda index: _of_target(targets, index), range(len(targets))))


def _of_target(targets: Any, index: int) -> Shape:
    box = targets.gt_boxes.tensor[index].tolist()
    size = tuple(int(side) for side in targets.image_size)
    return Shape(
        class_index=int(targets.gt_classes[index]),
        score=None,
        corners=_corners(box, BoxMode.XYWHA_ABS if len(box) == 5 else BoxMode.XYXY_ABS),
        mask=_mask_of_target(targets.gt_masks[index], (size[0], size[1])) if targets.has("gt_masks") else None,
        keypoints=targets.gt_keypoints.tensor[index].numpy() if targets.has("gt_keypoints") else None,
        is_crowd=False,
        is_stuff=False,
    )


def _mask_of_target(mask: Any, size: tuple[int, int]) -> Mask | None:
    """`mask` is one of detectron2's PolygonMasks or BitMasks."""
    polygons = getattr(mask, "polygons", None)
    return _mask_or_none(polygons[0], size) if polygons else Mask.of(mask.tensor[0].numpy())


def _each(make: Callable[[Any], Shape], items: Iterable[Any]) -> Iterator[Shape]:
    """The shapes of those items that have one."""
    for item in items:
        try:
            shape = make(item)
        except Exception as error:  # what odd annotations and models raise has no common ground
            logger.info("an object is not drawn (%s: %s)", type(error).__name__, error)
            continue
        if _can_be_drawn(shape):
            yield shape


def _can_be_drawn(shape: Shape) -> bool:
    if shape.corners is None:
        return shape.mask is not None
    return bool(np.isfinite(shape.corners).all()) and bool((np.ptp(shape.corners, axis=0) > 0).all())


def _of_annotation(annotation: Mapping[str, Any], size: tuple[int, int]) -> Shape:
    keypoints = np.array(annotation.get("keypoints") or (), dtype=float).reshape(-1, 3)
    return Shape(
        class_index=int(annotation["category_id"]),
        score=None,
        corners=_corners(annotation["bbox"], annotation["bbox_mode"]),
        mask=_mask_or_none(annotation.get("segmentation"), size),
        keypoints=keypoints if len(keypoints) else None,
        is_crowd=bool(annotation.get("iscrowd", 0)),
        is_stuff=False,
    )


def _mask_or_none(segmentation: Any, size: tuple[int, int]) -> Mask | None:
    """None also for one that cannot be read: the object then has its box alone."""
    if not segmentation:
        return None
    try:
        mask = decode_mask(segmentation, size)
    except Exception as error:  # as above
        logger.info("a mask is not drawn (%s: %s)", type(error).__name__, error)
        return None
    return Mask.of(mask) if mask.shape == size else None


def decode_mask(segmentation: Any, size: tuple[int, int]) -> np.ndarray:
    """A segmentation in COCO's format, polygons or RLE, as bool of (height, width)."""
    if isinstance(segmentation, dict):
        runs = segmentation["counts"]
        rle = coco_mask.frPyObjects(segmentation, *size) if isinstance(runs, list) else segmentation
    else:
        polygons = [np.asarray(polygon, dtype=float).ravel().tolist() for polygon in segmentation]
        rle = coco_mask.merge(coco_mask.frPyObjects(polygons, *size))
    return np.asarray(coco_mask.decode(rle), dtype=bool)


def _of_instance(instances: Any, index: int) -> Shape:
    box = instances.pred_boxes.tensor[index].tolist()
    rotated = len(box) == 5
    keypoints = instances.pred_keypoints[index].numpy().astype(float) if instances.has("pred_keypoints") else None
    if keypoints is not None:
        keypoints[:, 2] = keypoints[:, 2] > KEYPOINT_SHOWN
    return Shape(
        class_index=int(instances.pred_classes[index]),
        score=float(instances.scores[index]),
        corners=_corners(box, BoxMode.XYWHA_ABS if rotated else BoxMode.XYXY_ABS),
        mask=Mask.of(instances.pred_masks[index].numpy()) if instances.has("pred_masks") else None,
        keypoints=keypoints,
        is_crowd=False,
        is_stuff=False,
    )


def _corners(box: Sequence[float], mode: Any) -> np.ndarray:
    if mode == BoxMode.XYWHA_ABS:
        x, y, width, height, angle = box
        turn = np.deg2rad(angle)
        turned = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        half = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (width / 2, height / 2)
        return np.asarray(half @ turned + (x, y))
    left, top, right, bottom = BoxMode.convert(list(box), mode, BoxMode.XYXY_ABS)
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], dtype=float)


def _of_panoptic(segments: Any, infos: Sequence[Mapping[str, Any]] | None) -> list[Shape]:
    ids = segments.to("cpu").numpy()
    stuff_first = sorted(infos or (), key=lambda info: bool(info.get("isthing", True)))
    return list(_each(lambda info: _of_segment(ids == info["id"], info), stuff_first))


def _of_segment(mask: np.ndarray, info: Mapping[str, Any]) -> Shape:
    is_thing = bool(info.get("isthing", True))
    return Shape(
        class_index=int(info["category_id"]),
        score=float(info["score"]) if "score" in info else None,
        corners=None,
        mask=Mask.of(mask),
        keypoints=None,
        is_crowd=False,
        is_stuff=not is_thing,
    )


def _of_semantic(scores: Any) -> list[Shape]:
    """One shape for each class that is the likeliest somewhere, the largest first; of (classes, height, width)."""
    likeliest = scores.argmax(dim=0).to("cpu").numpy()
    classes, sizes = np.unique(likeliest, return_counts=True)
    largest_first = classes[np.argsort(-sizes, kind="stable")]
    infos = [{"category_id": index, "isthing": False} for index in largest_first]
    return list(_each(lambda info: _of_segment(likeliest == info["category_id"], info), infos))
