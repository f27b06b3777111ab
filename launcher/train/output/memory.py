"""How much memory this process has had at most: of its GPU, or of the machine where it computes on the CPU."""

from __future__ import annotations

import resource
import sys

import torch

GIB = 1 << 30


def peak_memory_gib() -> float:
    if torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / GIB
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2) of Linux counts in KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / GIB
