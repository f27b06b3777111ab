from __future__ import annotations

import pytest
import torch
from detectron2.layers import ROIAlign, ROIAlignRotated

from launcher.train.bfloat16.sensitive import keep_boxes_in_float32


@pytest.fixture
def _patched(monkeypatch: pytest.MonkeyPatch) -> None:
    for pooler in (ROIAlign, ROIAlignRotated):
        monkeypatch.setattr(pooler, "forward", pooler.forward)
    keep_boxes_in_float32()


def pooled_at(x: float) -> torch.Tensor:
    """What a box there gets from a map whose values are the columns' distances from column 300."""
    columns = (torch.arange(512.0) - 300).clamp(-60, 60).expand(1, 1, 4, 512).bfloat16()
    box = torch.tensor([[0.0, x, 0.0, x + 1.0, 2.0]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pooled: torch.Tensor = ROIAlign(1, 1.0, 1, aligned=True)(columns, box)
    return pooled


@pytest.mark.usefixtures("_patched")
@pytest.mark.parametrize("x", [299.0, 301.0, 303.0])
def test_a_box_is_not_moved_by_rounding_its_corners_to_bfloat16(x: float):
    # The box's middle, less the half pixel of `aligned`. Of these numbers bfloat16 has only those divisible by two.
    assert pooled_at(x).item() == x + 0.5 - 0.5 - 300


@pytest.mark.usefixtures("_patched")
def test_features_keep_their_type():
    assert pooled_at(299.0).dtype == torch.bfloat16


@pytest.mark.usefixtures("_patched")
def test_patching_twice_changes_nothing_more():
    once = ROIAlign.forward

    keep_boxes_in_float32()

    assert ROIAlign.forward is once
