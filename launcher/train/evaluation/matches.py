"""Which detections found which objects, for one task, as COCO evaluation decides it; every other number follows.

Overlaps are pycocotools' own; the matching is its `evaluateImg` for objects of all sizes, at all thresholds at once. So
what is counted from these matches is what pycocotools counts, to the last bit (tests/train/evaluation/test_matches.py).
"""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

TASKS = {"bbox": "bbox", "segm": "segmentation", "keypoints": "keypoints"}
"""The key under which a detection has what a task looks at."""
IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
MAX_DETECTIONS = {"bbox": 100, "segm": 100, "keypoints": 20}
"""For each image and class, the best of them, as COCO evaluation has it."""


@dataclass(frozen=True, kw_only=True)
class ClassMatches:
    """Of one class: its detections image by image, in each the best first."""

    category_id: int
    name: str
    image: np.ndarray
    """(detections,): the index of its image, ascending."""
    score: np.ndarray
    found: np.ndarray
    """(thresholds, detections): it found an object that counts."""
    ignored: np.ndarray
    """(thresholds, detections): it counts neither way."""
    objects: np.ndarray
    """(images,): how many objects count."""

    @property
    def num_objects(self) -> int:
        return int(self.objects.sum())


@dataclass(frozen=True, kw_only=True)
class Matches:
    task: str
    image_ids: tuple[Any, ...]
    classes: tuple[ClassMatches, ...]
    """By category id, ascending."""


def tasks_in(detections: Sequence[Mapping[str, Any]]) -> list[str]:
    """The tasks that detections in COCO's results format can be measured by; boxes always."""
    return [task for task, key in TASKS.items() if task == "bbox" or any(key in found for found in detections)]


def match(
    ground_truth: Mapping[str, Any], detections: Sequence[Mapping[str, Any]], task: str, *, sigmas: Sequence[float] = ()
) -> Matches:
    """Match detections in COCO's results format with a ground truth in COCO's format.

    `sigmas` are those of keypoints, where they are not COCO's. Neither argument is changed.

    Raises:
        AssertionError: a detection is on an image that the ground truth does not have.
    """
    coco = _coco_of(ground_truth, task)
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints
        found = coco.loadRes(_results_for(task, detections)) if detections else COCO()
    evaluation = COCOeval(coco, found, task)
    evaluation.params.maxDets = [1, 10, MAX_DETECTIONS[task]]
    if task == "keypoints" and len(sigmas):
        evaluation.params.kpt_oks_sigmas = np.array(sigmas)
    evaluation._prepare()
    image_ids = [image_id.item() for image_id in np.unique(evaluation.params.imgIds)]
    names = {category["id"]: str(category["name"]) for category in ground_truth["categories"]}
    return Matches(
        task=task,
        image_ids=tuple(image_ids),
        classes=tuple(
            _match_class(evaluation, category_id.item(), names[category_id.item()], image_ids)
            for category_id in np.unique(evaluation.params.catIds)
        ),
    )


def _coco_of(ground_truth: Mapping[str, Any], task: str) -> COCO:
    coco = COCO()
    annotations = [dict(annotation) for annotation in ground_truth.get("annotations", ())]
    coco.dataset = {**ground_truth, "annotations": annotations}
    if task == "keypoints":
        complete_keypoints(annotations)
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def complete_keypoints(annotations: Sequence[dict[str, Any]]) -> None:
    """Give objects without keypoints, among others that have some, invisible ones, and each their number.

    pycocotools asks every object for both, and does not count one whose keypoints are all invisible.
    """
    length = max((len(annotation.get("keypoints") or ()) for annotation in annotations), default=0)
    for annotation in annotations if length else ():
        points = annotation["keypoints"] = annotation.get("keypoints") or [0] * length
        annotation.setdefault("num_keypoints", sum(visible > 0 for visible in points[2::3]))


def _results_for(task: str, detections: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """As detectron2 hands them over: without boxes where masks are measured, so that sizes are those of masks."""
    dropped = "bbox" if task == "segm" else ""
    return [{key: copy.copy(value) for key, value in found.items() if key != dropped} for found in detections]


def _match_class(evaluation: COCOeval, category_id: int, name: str, image_ids: Sequence[Any]) -> ClassMatches:
    matched = {
        index: _match_image(evaluation, image_id, category_id)
        for index, image_id in enumerate(image_ids)
        if (image_id, category_id) in evaluation._gts or (image_id, category_id) in evaluation._dts
    }
    objects = np.zeros(len(image_ids), dtype=np.int64)
    objects[list(matched)] = [one.objects for one in matched.values()]
    return ClassMatches(
        category_id=category_id,
        name=name,
        image=np.repeat(list(matched), [len(one.score) for one in matched.values()]).astype(np.int64),
        score=np.concatenate([one.score for one in matched.values()] or [np.zeros(0)]),
        found=np.concatenate([one.found for one in matched.values()] or [_none(0)], axis=1),
        ignored=np.concatenate([one.ignored for one in matched.values()] or [_none(0)], axis=1),
        objects=objects,
    )


def _none(number: int) -> np.ndarray:
    return np.zeros((len(IOU_THRESHOLDS), number), dtype=bool)


@dataclass(frozen=True, kw_only=True)
class _ImageMatches:
    score: np.ndarray
    found: np.ndarray
    ignored: np.ndarray
    objects: int


def _match_image(evaluation: COCOeval, image_id: Any, category_id: int) -> _ImageMatches:
    objects = evaluation._gts.get((image_id, category_id), [])
    scores = np.array([found["score"] for found in evaluation._dts.get((image_id, category_id), [])])
    scores = scores[np.argsort(-scores, kind="mergesort")][: evaluation.params.maxDets[-1]]
    found, ignored = _none(len(scores)), _none(len(scores))
    if objects and len(scores):
        # Those that do not count come last.
        order = np.argsort([bool(one["ignore"]) for one in objects], kind="mergesort")
        objects = [objects[index] for index in order]
        overlaps = evaluation.computeOks if evaluation.params.iouType == "keypoints" else evaluation.computeIoU
        ious = np.asarray(overlaps(image_id, category_id))[:, order]
        found, ignored = _greedy(ious, objects)
    counted = sum(not one["ignore"] for one in objects)
    return _ImageMatches(score=scores, found=found, ignored=ignored, objects=counted)


def _greedy(ious: np.ndarray, objects: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """Each detection in turn takes, at each threshold, the free object that it overlaps most.

    Among equals it is the last one, and one that counts before all that do not.
    """
    counts = np.array([not one["ignore"] for one in objects])
    endless = np.array([bool(one.get("iscrowd", 0)) for one in objects])
    # pycocotools keeps the id of what was found, and takes an id of 0 for nothing.
    known = np.array([one["id"] != 0 for one in objects])
    free = np.ones((len(IOU_THRESHOLDS), len(objects)), dtype=bool)
    found, ignored = _none(len(ious)), _none(len(ious))
    thresholds = np.minimum(IOU_THRESHOLDS, 1 - 1e-10)
    every = np.arange(len(thresholds))
    for detection in np.flatnonzero((ious >= thresholds[0]).any(axis=1)):
        possible = free & (ious[detection] >= thresholds[:, None])
        of_those_that_count = possible & counts
        possible = np.where(of_those_that_count.any(axis=1, keepdims=True), of_those_that_count, possible)
        values = np.where(possible, ious[detection], -1.0)
        best = len(objects) - 1 - values[:, ::-1].argmax(axis=1)
        took = possible[every, best]
        found[:, detection] = took & counts[best] & known[best]
        ignored[:, detection] = took & ~counts[best]
        free[every[took], best[took]] = endless[best[took]]
    return found, ignored
