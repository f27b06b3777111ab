"""The convolutions and linear layers of one iteration of a model, and on what shapes it calls them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

CONVOLUTIONS: Mapping[type[nn.Module], str] = {nn.Conv2d: "conv2d", nn.ConvTranspose2d: "conv_transpose2d"}


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of a layer, by all that its cost depends on."""

    operation: str
    """As torch.nn.functional names it."""
    input_shape: tuple[int, ...]
    weight_shape: tuple[int, ...]
    options: tuple[tuple[str, Any], ...]
    """Keyword arguments of the operation."""
    input_grad: bool
    weight_grad: bool

    @property
    def kind(self) -> str:
        """In the plural, as people name such layers."""
        if self.operation == "linear":
            return "linear layers"
        options = dict(self.options)
        height, width = self.weight_shape[2:]
        words = [f"{height}x{width}"]
        words += ["dilated"] if max(options["dilation"]) > 1 else []
        words += ["grouped"] if options["groups"] > 1 else []
        words += ["transposed"] if self.operation == "conv_transpose2d" else []
        stride = max(options["stride"])
        return f"{' '.join(words)} convolutions{f' of stride {stride}' if stride > 1 else ''}"


@contextmanager
def noting_calls(model: nn.Module, calls: Counter[Call]) -> Iterator[None]:
    """While entered, what the model's layers compute is counted."""
    with ExitStack() as stack:
        for layer in model.modules():
            if (operation := _operation_of(layer)) is not None:
                handle = layer.register_forward_pre_hook(_noting(operation, calls))
                stack.callback(handle.remove)
        yield


def _operation_of(layer: nn.Module) -> str | None:
    if isinstance(layer, nn.Linear):
        return "linear"
    return next((name for kind, name in CONVOLUTIONS.items() if isinstance(layer, kind)), None)


def _noting(operation: str, calls: Counter[Call]) -> Callable[[Any, tuple[Any, ...]], None]:
    def note(layer: Any, inputs: tuple[Any, ...]) -> None:
        given = inputs[0] if inputs else None
        if isinstance(given, torch.Tensor) and given.numel() and layer.weight.numel():
            calls[_call_of(operation, layer, given)] += 1

    return note


def _call_of(operation: str, layer: Any, given: torch.Tensor) -> Call:
    names = ("stride", "padding", "dilation", "groups") if operation != "linear" else ()
    if operation == "conv_transpose2d":
        names = (*names, "output_padding")
    return Call(
        operation=operation,
        input_shape=tuple(given.shape),
        weight_shape=tuple(layer.weight.shape),
        options=tuple((name, getattr(layer, name)) for name in names),
        input_grad=given.requires_grad,
        weight_grad=layer.weight.requires_grad,
    )
