from __future__ import annotations

import numpy as np
import pytest
from fvcore.transforms.transform import CropTransform
from pycocotools import mask

from launcher.train.compat.cropping import _apply_polygons, area_of, clipped

SQUARE = [[10, 10], [30, 10], [30, 30], [10, 30]]
U_SHAPE = [[0, 0], [10, 0], [10, 20], [20, 20], [20, 0], [30, 0], [30, 30], [0, 30]]


def filled(polygons: list[np.ndarray], width: int, height: int) -> np.ndarray:
    if not polygons:
        return np.zeros((height, width), bool)
    return mask.decode(mask.merge(mask.frPyObjects([p.ravel().tolist() for p in polygons], height, width))).astype(bool)


@pytest.mark.parametrize("polygon", [SQUARE, SQUARE[::-1], U_SHAPE], ids=["square", "clockwise", "falls apart"])
@pytest.mark.parametrize("window", [(0, 0, 40, 40), (15, 5, 10, 10), (0, 0, 30, 15), (12, 12, 5, 5), (31, 31, 5, 5)])
def test_a_cropped_polygon_fills_the_pixels_that_the_whole_one_filled_there(
    polygon: list[list[float]], window: tuple[int, int, int, int]
):
    x, y, width, height = window
    whole = filled([np.array(polygon, dtype=float)], 40, 40)[y : y + height, x : x + width]

    cropped = filled(_apply_polygons(CropTransform(*window), [np.array(polygon, dtype=float)]), width, height)

    assert (cropped == whole).all()


def test_corners_are_where_the_window_cuts():
    cut = clipped(np.array(SQUARE), (20, 0, 100, 20))

    assert sorted(cut.tolist()) == [[20, 10], [20, 20], [30, 10], [30, 20]]
    assert area_of(cut) == 100
