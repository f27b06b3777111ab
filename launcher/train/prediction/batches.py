"""Predicting on images as detectron2's `DefaultPredictor` does, several at once where asked to."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data.transforms import ResizeShortestEdge
from torch.nn import Module

from launcher.errors import RequestError

FORMATS = ("BGR", "RGB")
DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


class Inputs:
    """Makes a model's input of an image. Needs no model, so it can work in a loader's process."""

    def __init__(self, cfg: CfgNode) -> None:
        """Raises RequestError for a model of images that are not in color."""
        if cfg.INPUT.FORMAT not in FORMATS:
            raise RequestError(
                f"INPUT.FORMAT={cfg.INPUT.FORMAT}: predictions are made on images in {' or '.join(FORMATS)} only, as "
                "detectron2's own DefaultPredictor makes them."
            )
        self._is_rgb = cfg.INPUT.FORMAT == "RGB"
        self._resize = ResizeShortestEdge([cfg.INPUT.MIN_SIZE_TEST] * 2, cfg.INPUT.MAX_SIZE_TEST)

    def __call__(self, image: np.ndarray) -> dict[str, Any]:
        """Of one image, uint8 of shape (height, width, 3) in BGR."""
        height, width = image.shape[:2]
        if self._is_rgb:
            image = image[:, :, ::-1]
        resized = self._resize.get_transform(image).apply_image(image)
        tensor = torch.as_tensor(resized.astype("float32").transpose(2, 0, 1))
        return {"image": tensor, "height": height, "width": width}


class BatchPredictor:
    """A model and its inputs."""

    def __init__(self, model: Module, cfg: CfgNode, *, precision: str = "") -> None:
        """`precision` is float16 or bfloat16 for mixed precision on a GPU; empty for none."""
        self.model = model
        self.inputs = Inputs(cfg)
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
