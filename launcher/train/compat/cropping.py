"""Cropping polygons without shapely, which detectron2 imports for it and does not require."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

import numpy as np
from fvcore.transforms.transform import CropTransform


def crop_without_shapely() -> None:
    """Where shapely is missing, let INPUT.CROP cut polygons as below. For good: one run, one process."""
    if importlib.util.find_spec("shapely") is None:
        CropTransform.apply_polygons = _apply_polygons


def _apply_polygons(crop: CropTransform, polygons: Sequence[np.ndarray]) -> list[np.ndarray]:
    window = (crop.x0, crop.y0, crop.x0 + crop.w, crop.y0 + crop.h)
    cut = [clipped(polygon, window) for polygon in polygons]
    return [crop.apply_coords(polygon) for polygon in cut if len(polygon) >= 3 and area_of(polygon) > 0]


def clipped(polygon: np.ndarray, window: tuple[float, float, float, float]) -> np.ndarray:
    """The part of a polygon of shape (N, 2) inside (x0, y0, x1, y1), by Sutherland and Hodgman.

    Parts of a polygon that falls apart stay joined by edges along the window, which enclose nothing.
    """
    points = np.asarray(polygon, dtype=np.float64)
    for side, limit in enumerate(window):
        axis, sign = side % 2, 1.0 if side < 2 else -1.0
        points = _half(points, axis, limit, sign)
    return points


def _half(points: np.ndarray, axis: int, limit: float, sign: float) -> np.ndarray:
    """What is at, or in the direction of the sign beyond, a limit on one axis."""
    kept: list[np.ndarray] = []
    for start, end in zip(np.roll(points, 1, axis=0), points, strict=True):
        from_limit = sign * (start[axis] - limit), sign * (end[axis] - limit)
        if (from_limit[0] < 0) != (from_limit[1] < 0):
            crossing = start + (end - start) * from_limit[0] / (from_limit[0] - from_limit[1])
            crossing[axis] = limit
            kept.append(crossing)
        if from_limit[1] >= 0:
            kept.append(end)
    return np.array(kept).reshape(-1, 2)


def area_of(polygon: np.ndarray) -> float:
    x, y = polygon[:, 0], polygon[:, 1]
    return abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))) / 2
