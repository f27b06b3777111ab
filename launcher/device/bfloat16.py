"""What bfloat16 does to a model's layers on this CPU, as measured. Data only: no judgement, no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class LayerKind:
    """All convolutions, or linear layers, of one kind that one training iteration computes."""

    name: str
    """In the plural: `3x3 dilated convolutions`."""
    float32_s: float
    """CPU time of their forward and backward passes, on one thread."""
    bfloat16_s: float
    difference: float
    """The largest between results and gradients in the two, as a fraction of their size."""


@dataclass(frozen=True, kw_only=True)
class Bfloat16Facts:
    """A model's layers in float32 and bfloat16 on this CPU."""

    layers: tuple[LayerKind, ...]
    problem: str
    """Why they could not be measured; empty where they could."""
