"""detectron2's deformable convolutions on top of torchvision's operator.

detectron2's own need compiled operators and have no backward pass on the CPU; torchvision's work everywhere. Parameters
have the names, shapes and first values of detectron2's, so checkpoints fit either.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from detectron2 import layers
from detectron2.layers import deform_conv
from detectron2.modeling.backbone import resnet
from torch import nn
from torchvision.ops import deform_conv2d

Pair = int | tuple[int, int]


def use_torchvision_deformable() -> None:
    """Let the models that this process builds from now on have the convolutions below.

    For good: one run, one process.
    """
    # Each of these modules has names of its own for the two.
    for module in (layers, deform_conv, resnet):
        module.DeformConv = DeformConv
        module.ModulatedDeformConv = ModulatedDeformConv


class _Deformable(nn.Module):
    """A convolution whose samples are moved by offsets, then a norm and an activation, where there are any."""

    may_have_bias: ClassVar[bool]
    bias: nn.Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair = 0,
        dilation: Pair = 1,
        groups: int = 1,
        deformable_groups: int = 1,
        bias: bool | None = None,
        norm: nn.Module | None = None,
        activation: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> None:
        super().__init__()
        if in_channels % groups or out_channels % groups:
            raise ValueError(f"{in_channels} and {out_channels} channels cannot be divided into {groups} groups")
        if bias and not self.may_have_bias:
            raise ValueError(f"{type(self).__name__} has no bias")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = _pair(kernel_size)
        self.stride = _pair(stride)
        self.padding = _pair(padding)
        self.dilation = _pair(dilation)
        self.groups = groups
        self.deformable_groups = deformable_groups
        self.norm = norm
        self.activation = activation
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels // groups, *self.kernel_size))
        has_bias = self.may_have_bias if bias is None else bias
        self.bias = nn.Parameter(torch.zeros(out_channels)) if has_bias else None
        nn.init.kaiming_uniform_(self.weight, nonlinearity="relu")

    def _convolve(self, x: torch.Tensor, offset: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        # The operator reads both kinds of groups off the shapes of weight and offset. In mixed precision it computes in
        # the weights' type on a GPU by itself, and on the CPU knows no other.
        dtype = self.weight.dtype
        convolved = deform_conv2d(
            x.to(dtype),
            offset.to(dtype),
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            mask=None if mask is None else mask.to(dtype),
        )
        x = convolved.to(x.dtype)
        if self.norm is not None:
            x = self.norm(x)
        return x if self.activation is None else self.activation(x)

    def extra_repr(self) -> str:
        names = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups")
        shown = [f"{name}={getattr(self, name)}" for name in (*names, "deformable_groups")]
        return ", ".join([*shown, f"bias={self.bias is not None}"])


class DeformConv(_Deformable):
    """Samples moved by `offset`: for each output pixel y and x of each of the kernel's samples."""

    may_have_bias = False

    def forward(self, x: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
        return self._convolve(x, offset, None)


class ModulatedDeformConv(_Deformable):
    """The same, with each sample multiplied by `mask` too."""

    may_have_bias = True

    def forward(self, x: torch.Tensor, offset: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self._convolve(x, offset, mask)


def _pair(value: Pair) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)
