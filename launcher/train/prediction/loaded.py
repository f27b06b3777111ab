"""A model in the caller's own process, for images one by one: what `launcher.load` gives."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.data import Metadata
from PIL import Image

from launcher.config.keys import Keys
from launcher.config.request import OwnCode
from launcher.train.bfloat16.sensitive import keep_boxes_in_float32
from launcher.train.compat.cfg_node import to_cfg_node
from launcher.train.compat.deformable import use_torchvision_deformable
from launcher.train.own_code import load_own_code
from launcher.train.prediction.batches import BatchPredictor, on_cpu
from launcher.train.prediction.classes import class_names, find_classes
from launcher.train.prediction.drawing import draw
from launcher.train.prediction.inputs import inputs_for
from launcher.train.prediction.model import build_for_inference
from launcher.train.prediction.pixels import as_pixels

THRESHOLD = 0.5


@dataclass(frozen=True, kw_only=True)
class ToLoad:
    """What is to be loaded, and where."""

    keys: Keys
    own_code: OwnCode
    device: str
    """As torch names it."""
    why: str
    precision: str
    deformable_by: str
    averaged: bool
    classes: str
    annotations: str


class Predictor:
    """Finds objects in images, as detectron2's `DefaultPredictor` does: call it with one."""

    def __init__(self, batches: BatchPredictor, metadata: Metadata, *, cfg: CfgNode, why: str) -> None:
        self._batches = batches
        self.metadata = metadata
        """detectron2's, for its `Visualizer`."""
        self.cfg = cfg
        """detectron2's configuration."""
        self.why = why
        """Why the model is on this device, in one sentence."""

    @property
    def model(self) -> torch.nn.Module:
        """detectron2's model, in evaluation mode."""
        return self._batches.model

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return torch.device(self.cfg.MODEL.DEVICE)

    @property
    def class_names(self) -> tuple[str, ...]:
        """By the numbers in `pred_classes`; empty where nothing names them."""
        return class_names(self.metadata)

    def __call__(self, image: Any) -> dict[str, Any]:
        """What is found in one image: detectron2's dict, such as `{"instances": Instances}`, all of it on the CPU.

        The image is a path, a PIL image, or an array of uint8 with shape (height, width, 3) in BGR, as OpenCV reads it.

        Raises:
            ImageError: it is something else; the message says how to convert it.
            RequestError: the trainer's own mapper makes nothing of an image alone.
        """
        file = os.fspath(image) if isinstance(image, str | os.PathLike) else ""
        prepared = self._batches.inputs(as_pixels(image), file)
        return on_cpu(self._batches.predict([prepared])[0])

    def draw(self, image: Any, result: dict[str, Any], threshold: float = THRESHOLD) -> Image.Image:
        """The image with what was found, objects from a score of `threshold` on.

        Raises:
            ImageError: as for a call.
        """
        drawn = draw(as_pixels(image), result, self.metadata, threshold)
        return Image.fromarray(drawn[:, :, ::-1].copy())

    def __repr__(self) -> str:
        return f"<{self.cfg.MODEL.META_ARCHITECTURE} on {self.device}: {self.why}>"


def load_here(asked: ToLoad) -> Predictor:
    """Build the model in this process.

    Raises:
        LauncherError: its code or its weights cannot be loaded.
    """
    if asked.deformable_by == "torchvision":
        use_torchvision_deformable()
    if asked.precision == "bfloat16":
        keep_boxes_in_float32()
    trainer_class = load_own_code(asked.own_code)
    cfg = to_cfg_node(asked.keys, asked.own_code.config_extensions)
    cfg.MODEL.DEVICE = asked.device
    cfg.freeze()
    model = build_for_inference(trainer_class, cfg, averaged=asked.averaged)
    metadata = find_classes(asked.classes, cfg, asked.annotations)
    batches = BatchPredictor(model, inputs_for(trainer_class, cfg), precision=asked.precision)
    return Predictor(batches, metadata, cfg=cfg, why=asked.why)
