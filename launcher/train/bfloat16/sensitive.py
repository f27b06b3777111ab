"""What of detectron2 must not be rounded to bfloat16, whose numbers have eight bits. For good, in this process."""

from __future__ import annotations

from typing import Any

import torch
from detectron2.layers import ROIAlign, ROIAlignRotated


def keep_boxes_in_float32() -> None:
    """Boxes that features are taken from: detectron2 converts them to the features' type.

    In bfloat16 a coordinate above 256 would be off by up to a pixel, one above 1024 by up to four. In float16, which
    has eleven bits, it does no harm.
    """
    for pooler in (ROIAlign, ROIAlignRotated):
        if not hasattr(pooler.forward, "in_float32"):
            pooler.forward = _in_float32(pooler.forward)


def _in_float32(forward: Any) -> Any:
    def forward_in_float32(self: Any, input: torch.Tensor, rois: torch.Tensor) -> torch.Tensor:
        pooled: torch.Tensor = forward(self, input.float(), rois.float()).to(input.dtype)
        return pooled

    forward_in_float32.in_float32 = True  # type: ignore[attr-defined]
    return forward_in_float32
