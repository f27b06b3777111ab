"""Computes a layer's call in float32 and in bfloat16: CPU time of both, and how far apart the results are."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch.nn import functional

from launcher.device.bfloat16 import LayerKind
from launcher.train.bfloat16.calls import Call

T = TypeVar("T")
LONG_S = 0.1
"""What takes so long is timed once: getting the kernels ready takes a few milliseconds."""
REPEATS = 3


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A call in both types."""

    float32_s: float
    bfloat16_s: float
    difference: float


def compare_kinds(calls: Mapping[Call, int], compare: Callable[[Call], Compared] | None = None) -> list[LayerKind]:
    """The calls of an iteration by their kind, those that take longest in float32 first."""
    compare = compare or compare_call
    kinds: dict[str, list[tuple[int, Compared]]] = defaultdict(list)
    for call, number in calls.items():
        kinds[call.kind].append((number, compare(call)))
    layers = [
        LayerKind(
            name=name,
            float32_s=sum(number * one.float32_s for number, one in compared),
            bfloat16_s=sum(number * one.bfloat16_s for number, one in compared),
            difference=max(one.difference for _, one in compared),
        )
        for name, compared in kinds.items()
    ]
    return sorted(layers, key=lambda layer: -layer.float32_s)


def compare_call(call: Call) -> Compared:
    """Forward and backward pass of a call, as mixed precision runs it: activations in bfloat16, weights in float32."""
    generator = torch.Generator().manual_seed(0)
    # Rounded beforehand: what differs is then the arithmetic, not its input.
    given, weight = (
        torch.randn(shape, generator=generator).bfloat16().float() for shape in (call.input_shape, call.weight_shape)
    )
    gradient = torch.randn_like(_output(call, given, weight)).bfloat16().float()
    float32_s, exact = _timed(lambda: _pass(call, given, weight, gradient, torch.float32))
    bfloat16_s, rounded = _timed(lambda: _pass(call, given, weight, gradient, torch.bfloat16))
    difference = max(map(_difference, exact, rounded))
    return Compared(float32_s=float32_s, bfloat16_s=bfloat16_s, difference=difference)


def _output(call: Call, given: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    output: torch.Tensor = getattr(functional, call.operation)(given, weight, **dict(call.options))
    return output


def _pass(
    call: Call, given: torch.Tensor, weight: torch.Tensor, gradient: torch.Tensor, dtype: torch.dtype
) -> list[torch.Tensor]:
    """The output and the gradients that training needs."""
    leaves = given.to(dtype).detach().requires_grad_(call.input_grad), weight.detach().requires_grad_(call.weight_grad)
    mixed = torch.autocast("cpu", dtype=dtype) if dtype != torch.float32 else contextlib.nullcontext()
    with mixed:
        output = _output(call, *leaves)
    wanted = [leaf for leaf in leaves if leaf.requires_grad]
    gradients = torch.autograd.grad(output, wanted, gradient.to(output.dtype)) if wanted else ()
    return [output.detach(), *gradients]


def _timed(compute: Callable[[], T]) -> tuple[float, T]:
    """CPU seconds, the shortest of a few, and what was computed."""
    first, computed = _once(compute)
    if first > LONG_S:
        return first, computed
    return min(_once(compute)[0] for _ in range(REPEATS)), computed


def _once(compute: Callable[[], T]) -> tuple[float, T]:
    # Of the process and not of the clock: somebody else's work on this CPU does not count.
    started = time.process_time()
    computed = compute()
    return time.process_time() - started, computed


def _difference(exact: torch.Tensor, rounded: torch.Tensor) -> float:
    difference = (rounded.float() - exact).norm() / exact.norm().clamp(min=1e-12)
    return float(difference) if bool(difference.isfinite()) else 1.0
