"""Ground truths and detections in COCO's formats, random but always the same."""

from __future__ import annotations

from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

SIZE = 120
NUM_KEYPOINTS = 5


def random_data(
    seed: int, *, images: int = 12, classes: int = 4, ties: bool = True
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """With crowds, an image without objects, one without detections, a class without objects, and equal scores."""
    rng = np.random.default_rng(seed)
    annotations: list[dict[str, Any]] = []
    detections: list[dict[str, Any]] = []
    for image_id in range(1, images + 1):
        objects = [] if image_id == 1 else [_object(rng, image_id, classes) for _ in range(int(rng.integers(1, 8)))]
        for one in objects:
            annotations.append({**one, "id": len(annotations) + 7})
        if image_id != 2:
            detections += [
                _detection(rng, one, classes, ties) for one in objects for _ in range(int(rng.integers(0, 3)))
            ]
            loose = (_object(rng, image_id, classes) for _ in range(4))
            detections += [_detection(rng, one, classes, ties) for one in loose]
    ground_truth = {
        "images": [{"id": image_id, "height": SIZE, "width": SIZE} for image_id in range(1, images + 1)],
        "annotations": annotations,
        "categories": [{"id": 3 * number + 1, "name": f"class {number}"} for number in range(classes + 1)],
    }
    return ground_truth, detections


def _object(rng: np.random.Generator, image_id: int, classes: int) -> dict[str, Any]:
    left, top = rng.uniform(0, SIZE * 0.7, 2)
    width, height = rng.uniform(5, SIZE * 0.5, 2)
    is_crowd = rng.random() < 0.15
    keypoints = _keypoints(rng, left, top, width, height)
    return {
        "image_id": image_id,
        "category_id": 3 * int(rng.integers(classes)) + 1,
        "bbox": [float(left), float(top), float(width), float(height)],
        "area": float(width * height * 0.8),
        "iscrowd": int(is_crowd),
        "segmentation": _rle(left, top, width, height),
        "keypoints": keypoints,
        "num_keypoints": sum(seen > 0 for seen in keypoints[2::3]),
    }


def _keypoints(rng: np.random.Generator, left: float, top: float, width: float, height: float) -> list[float]:
    places = np.stack(
        [rng.uniform(left, left + width, NUM_KEYPOINTS), rng.uniform(top, top + height, NUM_KEYPOINTS)], axis=1
    )
    seen = rng.integers(0, 3, NUM_KEYPOINTS) * (rng.random() > 0.1)
    return [float(number) for place, one in zip(places, seen, strict=True) for number in (*place, one)]


def _rle(left: float, top: float, width: float, height: float) -> dict[str, Any]:
    mask = np.zeros((SIZE, SIZE), dtype=np.uint8, order="F")
    mask[int(top) : int(top + height) + 1, int(left) : int(left + width) + 1] = 1
    rle = coco_mask.encode(mask)
    return {"size": [SIZE, SIZE], "counts": rle["counts"].decode()}


def _detection(rng: np.random.Generator, one: dict[str, Any], classes: int, ties: bool) -> dict[str, Any]:
    left, top, width, height = np.array(one["bbox"]) + rng.normal(0, 3, 4)
    width, height = max(width, 2.0), max(height, 2.0)
    keypoints = np.array(one["keypoints"]) + np.tile([1, 1, 0], NUM_KEYPOINTS) * rng.normal(0, 2, 3 * NUM_KEYPOINTS)
    score = rng.random()
    return {
        "image_id": one["image_id"],
        "category_id": one["category_id"] if rng.random() < 0.7 else 3 * int(rng.integers(classes)) + 1,
        "bbox": [float(left), float(top), float(width), float(height)],
        "score": round(float(score), 1) if ties else float(score),
        "segmentation": _rle(max(left, 0), max(top, 0), width, height),
        "keypoints": keypoints.tolist(),
    }
