"""Predicting on images as detectron2's `DefaultPredictor` does, several at once where asked to."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import Module

from launcher.train.prediction.inputs import Inputs

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


class BatchPredictor:
    """A model and its inputs."""

    def __init__(self, model: Module, inputs: Inputs, *, precision: str = "") -> None:
        """`precision` is float16 or bfloat16 for mixed precision on a GPU; empty for none."""
        self.model = model
        self.inputs = inputs
        self._precision = precision

    def predict(self, inputs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """What the model makes of images that `inputs` has prepared, on its device."""
        with torch.no_grad(), mixed_precision(self._precision):
            predicted: list[dict[str, Any]] = self.model(list(inputs))
        return predicted


def mixed_precision(precision: str) -> contextlib.AbstractContextManager[Any]:
    """On a GPU, for the length of a block; full precision where `precision` is empty."""
    return torch.autocast("cuda", dtype=DTYPES[precision]) if precision else contextlib.nullcontext()


def on_cpu(predicted: dict[str, Any]) -> dict[str, Any]:
    """One image's prediction, all of it on the CPU."""
    return {key: _on_cpu(value) for key, value in predicted.items()}


def _on_cpu(value: Any) -> Any:
    if isinstance(value, tuple):  # panoptic segmentation: a map and what its numbers are
        return tuple(_on_cpu(part) for part in value)
    return value.to("cpu") if hasattr(value, "to") else value
