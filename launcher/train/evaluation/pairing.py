"""Which detection of an image is which of its objects, for images and the confusion matrix: one threshold, all classes.

The rule (docs/results.md): the detections, best score first, each take the free object of their own class that they
overlap most, from an IoU of 0.5 of the boxes on. Then those that took none do the same with what is left of the other
classes. A detection that still has none, and half of which lies in a crowd of its class, counts neither way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco_mask

PAIRED_FROM = 0.5
"""The least IoU of two boxes that are of the same object."""
NONE = -1


@dataclass(frozen=True, kw_only=True)
class Truth:
    """The objects of an image."""

    boxes: np.ndarray
    """(number, 4): left, top, width, height."""
    classes: np.ndarray
    is_crowd: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Detections:
    """What a model found on an image, the best first."""

    boxes: np.ndarray
    classes: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """For each detection the index of its object, or NONE."""

    same_class: np.ndarray
    other_class: np.ndarray
    in_crowd: np.ndarray
    """bool: counts neither way."""

    @property
    def is_false(self) -> np.ndarray:
        return (self.same_class == NONE) & (self.other_class == NONE) & ~self.in_crowd

    def of_object(self, index: int) -> tuple[int, bool]:
        """The detection that is this object, or NONE, and whether it is of its class."""
        for pairs, is_same in ((self.same_class, True), (self.other_class, False)):
            if index in pairs:
                return int(np.flatnonzero(pairs == index)[0]), is_same
        return NONE, False


def pair(truth: Truth, found: Detections) -> Pairs:
    ious = _ious(truth, found)
    alike = found.classes[:, None] == truth.classes[None, :]
    counted = ~truth.is_crowd[None, :]
    free = np.ones(len(truth.classes), dtype=bool)
    same = _take(np.where(alike & counted, ious, 0), free)
    other = _take(np.where(~alike & counted & (same == NONE)[:, None], ious, 0), free)
    in_crowd = (np.where(alike & ~counted, ious, 0) >= PAIRED_FROM).any(axis=1)
    return Pairs(same_class=same, other_class=other, in_crowd=in_crowd & (same == NONE) & (other == NONE))


def _ious(truth: Truth, found: Detections) -> np.ndarray:
    if not len(truth.classes) or not len(found.classes):
        return np.zeros((len(found.classes), len(truth.classes)))
    crowd = truth.is_crowd.astype(np.uint8)
    return np.asarray(coco_mask.iou(found.boxes.astype(float), truth.boxes.astype(float), crowd))


def _take(ious: np.ndarray, free: np.ndarray) -> np.ndarray:
    """For each detection in turn the free object that it overlaps most, which is not `free` any more."""
    taken = np.full(len(ious), NONE)
    for detection in np.flatnonzero((ious >= PAIRED_FROM).any(axis=1)):
        left = np.where(free, ious[detection], 0)
        best = int(left.argmax())
        if left[best] >= PAIRED_FROM:
            taken[detection] = best
            free[best] = False
    return taken
