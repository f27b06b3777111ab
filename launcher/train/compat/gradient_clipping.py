"""Gradient clipping that passes over parameters without a gradient.

detectron2 clips each parameter by itself, and torch's clipping by value fails where there is nothing to clip. A
parameter that no loss uses, such as the last output of an FPN that no head looks at, has no gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.solver import build

Clipper = Callable[[Any], None]

_theirs = build._create_gradient_clipper


def clip_only_what_is_there() -> None:
    """Let the optimizers that this process builds from now on clip as below. For good: one run, one process."""
    build._create_gradient_clipper = make_clipper


def make_clipper(settings: CfgNode) -> Clipper:
    """detectron2's clipper for SOLVER.CLIP_GRADIENTS, but for parameters without a gradient."""
    clip = _theirs(settings)

    def clip_if_there(parameters: Any) -> None:
        if not isinstance(parameters, torch.Tensor) or parameters.grad is not None:
            clip(parameters)

    return clip_if_there
