"""Many small images on one sheet."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from launcher.train.output.drawn import GAP, MOST_TILES, in_sheets, sheet_of


def tile(value: int, height: int = 4, width: int = 6) -> np.ndarray:
    return np.full((3, height, width), value, dtype=np.uint8)


def test_a_series_is_one_image_and_others_stay_as_they_are():
    mine = tile(1)

    drawn = list(in_sheets([("m (0)", tile(2), 5), ("mine", mine, 5), ("m (1)", tile(3), 5), ("m (0)", tile(4), 9)]))

    assert [(name, iteration) for name, _, iteration in drawn] == [("mine", 5), ("m", 5), ("m", 9)]
    assert drawn[0][1] is mine
    assert set(np.unique(drawn[1][1])) == {0, 2, 3}


@pytest.mark.parametrize("count", [1, 2, 5, 40])
def test_every_tile_is_on_the_sheet(count: int):
    sheet = sheet_of([tile(index + 1) for index in range(count)])

    assert set(np.unique(sheet)) - {0} == set(range(1, count + 1))
    assert (sheet > 0).sum() == count * 3 * 4 * 6


def test_tensors_of_a_model_with_gradients_and_of_several_sizes_fit():
    masks = [torch.ones(3, 4, 4, requires_grad=True) * 0.5, torch.ones(3, 6, 2)]

    sheet = sheet_of(masks)

    assert sheet.dtype == np.float32
    assert sheet.shape[1] % (6 + GAP) == 0


def test_a_sheet_does_not_grow_without_a_limit():
    ((_, sheet, _),) = in_sheets([(f"m ({index})", tile(1, 1, 1), 0) for index in range(500)])

    assert (sheet > 0).sum() == 3 * MOST_TILES
