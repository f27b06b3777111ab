from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from detectron2.layers import ROIAlign

from launcher.train.compat import roi_align

Pooler = Callable[..., torch.Tensor]


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> tuple[Pooler, Pooler]:
    """torchvision's and ours."""
    theirs: Pooler = ROIAlign.forward
    monkeypatch.setattr(ROIAlign, "forward", theirs)
    roi_align.use_sparse_roi_align()
    return theirs, ROIAlign.forward


def some_boxes(number: int, height: int, width: int, scale: float, generator: torch.Generator) -> torch.Tensor:
    """Inside, outside, across the edges, and some of next to no size."""
    size = torch.tensor([width, height])
    corner = (torch.rand(number, 2, generator=generator) * 1.4 - 0.2) * size / scale
    extent = torch.rand(number, 2, generator=generator) ** 2 * 1.3 * size / scale
    image = torch.randint(0, 2, (number, 1), generator=generator).float()
    return torch.cat([image, corner, corner + extent], dim=1)


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("sampling_ratio", [0, 1, 2])
@pytest.mark.parametrize(
    ("height", "width", "scale", "bins", "number"),
    [(40, 40, 0.25, 7, 30), (13, 29, 0.0625, 14, 20), (1, 1, 1.0, 2, 5), (9, 30, 0.5, (3, 5), 8), (8, 8, 1.0, 7, 0)],
)
def test_values_and_gradients_are_torchvisions(
    both: tuple[Pooler, Pooler],
    height: int,
    width: int,
    scale: float,
    bins: Any,
    number: int,
    sampling_ratio: int,
    aligned: bool,
):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 3, height, width, generator=generator, requires_grad=True)
    boxes = some_boxes(number, height, width, scale, generator)
    layer = ROIAlign(bins, scale, sampling_ratio, aligned)

    theirs, ours = (forward(layer, features, boxes) for forward in both)
    gradient = torch.randn(theirs.shape, generator=generator)
    gradients = [torch.autograd.grad(pooled, features, gradient)[0] for pooled in (theirs, ours)]

    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(gradients[1], gradients[0], atol=1e-4, rtol=1e-4)


def test_in_parts_it_is_the_same_bit_for_bit(both: tuple[Pooler, Pooler], monkeypatch: pytest.MonkeyPatch):
    generator = torch.Generator().manual_seed(0)
    features, boxes = torch.randn(2, 3, 20, 20, generator=generator), some_boxes(50, 20, 20, 1.0, generator)
    layer = ROIAlign(7, 1.0, 0, True)
    whole = both[1](layer, features, boxes)

    monkeypatch.setattr(roi_align, "MOST_WEIGHTS", 1)

    assert torch.equal(both[1](layer, features, boxes), whole)


def test_features_keep_their_type(both: tuple[Pooler, Pooler]):
    boxes = torch.tensor([[0.0, 1.0, 1.0, 5.0, 5.0]])

    assert both[1](ROIAlign(2, 1.0, 0, True), torch.ones(1, 3, 8, 8).bfloat16(), boxes).dtype == torch.bfloat16
