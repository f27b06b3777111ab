"""A forward and a backward pass of milliseconds, in the very process that is going to train."""

from __future__ import annotations

import torch
from torch.nn.functional import conv2d


def compute_on_cpu() -> None:
    """Do once what a training does all the time.

    A CUDA build of torch calls the NVIDIA driver even from the CPU's backward pass. Where the driver hangs or crashes,
    this is where it shows at once, and not in the first iteration after minutes of loading.
    """
    image = torch.ones(1, 3, 16, 16)
    weight = torch.ones(4, 3, 3, 3, requires_grad=True)
    conv2d(image, weight).sum().backward()
