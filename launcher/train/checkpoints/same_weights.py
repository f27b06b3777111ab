"""Whether two checkpoints hold the same weights: python -m launcher.train.checkpoints.same_weights ONE OTHER"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch


def compare(one: Path, other: Path) -> dict[str, Any]:
    """How many tensors there are, which differ in a bit, and by how much at most."""
    a, b = _weights_in(one), _weights_in(other)
    names = sorted({*a, *b})
    differing = [name for name in names if name not in a or name not in b or not _is_same(a[name], b[name])]
    return {"tensors": len(names), "differing": differing, "largest": max(_gaps(a, b, differing), default=None)}


def _weights_in(file: Path) -> dict[str, torch.Tensor]:
    content = torch.load(file, map_location="cpu", weights_only=True)
    return dict(content["model"])


def _is_same(one: torch.Tensor, other: torch.Tensor) -> bool:
    # By bits: NaN is the same as NaN, and 0 is not -0.
    return one.dtype == other.dtype and one.shape == other.shape and _bytes_of(one).equal(_bytes_of(other))


def _bytes_of(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def _gaps(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor], names: Sequence[str]) -> list[float]:
    both = ((one[name], other[name]) for name in names if name in one and name in other)
    return [float((a.double() - b.double()).abs().max()) for a, b in both if a.shape == b.shape and a.numel()]


if __name__ == "__main__":
    print(json.dumps(compare(Path(sys.argv[1]), Path(sys.argv[2]))))
