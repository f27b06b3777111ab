"""What is read of an RLE is what pycocotools decodes."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from launcher.data.rle import edges_of, is_compressed, run_lengths


def random_bitmaps(number: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = rng.integers(1, 40, size=(number, 2))
    shares = rng.choice([0.0, 0.01, 0.1, 0.5, 1.0], size=number)
    return [
        np.asfortranarray((rng.random(tuple(shape)) < share).astype(np.uint8))
        for shape, share in zip(shapes, shares, strict=True)
    ]


@pytest.mark.parametrize("bitmap", random_bitmaps(60))
def test_the_run_lengths_give_the_bitmap(bitmap: np.ndarray):
    counts = coco_mask.encode(bitmap)["counts"].decode()

    lengths = run_lengths(counts)

    values = np.arange(len(lengths)) % 2
    assert is_compressed(counts)
    assert np.array_equal(np.repeat(values, lengths), bitmap.flatten(order="F"))


@pytest.mark.parametrize("bitmap", [bitmap for bitmap in random_bitmaps(60) if bitmap.any()])
def test_the_edges_are_those_of_pycocotools(bitmap: np.ndarray):
    rle = coco_mask.encode(bitmap)

    edges = edges_of(run_lengths(rle["counts"].decode()), bitmap.shape[0])

    left, top, width, height = coco_mask.toBbox(rle)
    assert edges == (left, top, left + width, top + height)


def test_a_mask_of_background_has_no_edges():
    assert edges_of([600], 20) is None
    assert edges_of([300, 0, 300], 20) is None


@pytest.mark.parametrize("counts", ["o", "`h", "PPPPPPP0", "é", "~"])
def test_what_pycocotools_would_read_beyond_its_end_is_not_compressed(counts: str):
    assert not is_compressed(counts)
