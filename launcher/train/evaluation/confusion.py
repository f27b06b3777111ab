"""The confusion matrix: which classes a model takes for which, what it misses, and what it finds where nothing is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from launcher.train.evaluation.pairing import NONE, Detections, Pairs, Truth, pair


@dataclass(frozen=True, kw_only=True)
class ImagePairs:
    """The objects and the detections of an image in COCO's formats, the detections best first, and which is which."""

    image_id: Any
    objects: Sequence[Mapping[str, Any]]
    detections: Sequence[Mapping[str, Any]]
    pairs: Pairs

    @property
    def missed(self) -> list[Mapping[str, Any]]:
        """The objects without a detection; crowds are none of them."""
        taken = {*self.pairs.same_class.tolist(), *self.pairs.other_class.tolist()}
        objects = enumerate(self.objects)
        return [one for index, one in objects if index not in taken and not one.get("iscrowd", 0)]


@dataclass(frozen=True, kw_only=True)
class Confusion:
    names: tuple[str, ...]
    counts: np.ndarray
    """(classes + 1, classes + 1): true by predicted; the last row is what was found where nothing is, the last column
    what was missed."""
    score: float


def pair_images(
    ground_truth: Mapping[str, Any], detections: Sequence[Mapping[str, Any]], score: float
) -> list[ImagePairs]:
    """Pair the detections of at least that score with the objects, image by image, by the rule of `pairing`."""
    objects, found = _by_image(ground_truth.get("annotations", ())), _by_image(detections)
    return [
        _pair_image(image["id"], objects[image["id"]], [one for one in found[image["id"]] if one["score"] >= score])
        for image in ground_truth["images"]
    ]


def _by_image(items: Sequence[Mapping[str, Any]]) -> dict[Any, list[Mapping[str, Any]]]:
    by_image: dict[Any, list[Mapping[str, Any]]] = defaultdict(list)
    for item in items:
        by_image[item["image_id"]].append(item)
    return by_image


def _pair_image(image_id: Any, objects: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]]) -> ImagePairs:
    found = sorted(found, key=lambda one: -one["score"])
    truth = Truth(
        boxes=_boxes(objects),
        classes=_classes(objects),
        is_crowd=np.array([bool(one.get("iscrowd", 0)) for one in objects], dtype=bool),
    )
    pairs = pair(truth, Detections(boxes=_boxes(found), classes=_classes(found)))
    return ImagePairs(image_id=image_id, objects=objects, detections=found, pairs=pairs)


def _boxes(items: Sequence[Mapping[str, Any]]) -> np.ndarray:
    return np.array([item["bbox"] for item in items], dtype=float).reshape(-1, 4)


def _classes(items: Sequence[Mapping[str, Any]]) -> np.ndarray:
    return np.array([item["category_id"] for item in items], dtype=np.int64)


def confusion_of(paired: Sequence[ImagePairs], categories: Sequence[Mapping[str, Any]], score: float) -> Confusion:
    ordered = sorted(categories, key=lambda one: one["id"])
    row = {category["id"]: number for number, category in enumerate(ordered)}
    counts = np.zeros((len(ordered) + 1, len(ordered) + 1), dtype=np.int64)
    for image in paired:
        _count(image, row, counts)
    return Confusion(names=tuple(str(one["name"]) for one in ordered), counts=counts, score=score)


def _count(image: ImagePairs, row: Mapping[int, int], counts: np.ndarray) -> None:
    nothing = len(counts) - 1
    pairs = image.pairs
    taken = np.where(pairs.same_class != NONE, pairs.same_class, pairs.other_class)
    for found, at, is_false in zip(image.detections, taken, pairs.is_false, strict=True):
        if at != NONE:
            counts[row[image.objects[at]["category_id"]], row[found["category_id"]]] += 1
        elif is_false:
            counts[nothing, row[found["category_id"]]] += 1
    for one in image.missed:
        counts[row[one["category_id"]], nothing] += 1
