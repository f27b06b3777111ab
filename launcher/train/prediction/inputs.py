"""Inputs of a model, made of one image alone: as detectron2's `DefaultPredictor` does, or by a trainer's own mapper."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetMapper, MetadataCatalog
from detectron2.data.transforms import AugInput, Augmentation, AugmentationList, ResizeShortestEdge
from PIL import Image

from launcher.errors import RequestError
from launcher.train.build import is_overridden
from launcher.train.samples.blame import is_about_the_image, reason_of
from launcher.train.samples.blank import with_blank_image
from launcher.train.samples.mapped import Mapper
from launcher.train.trainer import Trainer

logger = logging.getLogger(__name__)

FORMATS = ("BGR", "RGB")


class Inputs(Protocol):
    """Makes a model's input of an image. Needs no model, so it can work in a loader's process."""

    def __call__(self, pixels: np.ndarray, file: str = "") -> dict[str, Any]:
        """Of one image, uint8 of shape (height, width, 3) in BGR, and the file that it was read from, if from one."""


def inputs_for(trainer_class: type[Trainer], cfg: CfgNode) -> Inputs:
    """What gives a model the inputs that it is evaluated with, as far as an image alone can.

    Raises:
        RequestError: the model is one of images that are not in color, and the trainer has no mapper of its own.
    """
    if is_overridden(trainer_class, "build_test_loader"):
        logger.warning(
            "%s.build_test_loader, which makes the batches of an evaluation, is not used for predictions: they make "
            "each image's input with build_mapper(cfg, False)",
            trainer_class.__qualname__,
        )
    if not is_overridden(trainer_class, "build_mapper"):
        return PixelInputs(cfg.INPUT.FORMAT, _resizing(cfg))
    mapper: Any = trainer_class.build_mapper(_without_unknown_keypoints(cfg), False)
    if type(mapper) is DatasetMapper and mapper.image_format in FORMATS and mapper.proposal_topk is None:
        return PixelInputs(mapper.image_format, mapper.augmentations)
    return MappedInputs(mapper, name=trainer_class.__qualname__)


def _resizing(cfg: CfgNode) -> Augmentation:
    return ResizeShortestEdge([cfg.INPUT.MIN_SIZE_TEST] * 2, cfg.INPUT.MAX_SIZE_TEST)


def _without_unknown_keypoints(cfg: CfgNode) -> CfgNode:
    """detectron2's mapper looks up the keypoints of the training data, which predictions do not have or need."""
    known = [MetadataCatalog.get(name).get("keypoint_flip_map", None) for name in cfg.DATASETS.TRAIN]
    if not cfg.MODEL.KEYPOINT_ON or (known and None not in known):
        return cfg
    changed = cfg.clone()
    changed.defrost()
    changed.MODEL.KEYPOINT_ON = False
    changed.freeze()
    return changed


class PixelInputs:
    """What detectron2's `DefaultPredictor` or `DatasetMapper` makes of pixels."""

    def __init__(self, image_format: str, augmentation: Augmentation) -> None:
        """Raises RequestError for a model of images that are not in color."""
        if image_format not in FORMATS:
            raise RequestError(
                f"INPUT.FORMAT={image_format}: predictions are made on images in {' or '.join(FORMATS)} only, as "
                "detectron2's own DefaultPredictor makes them."
            )
        self._is_rgb = image_format == "RGB"
        self._augmentation = AugmentationList([augmentation])

    def __call__(self, pixels: np.ndarray, file: str = "") -> dict[str, Any]:
        height, width = pixels.shape[:2]
        augmented = AugInput(pixels[:, :, ::-1] if self._is_rgb else pixels)
        self._augmentation(augmented)
        tensor = torch.as_tensor(augmented.image.astype("float32").transpose(2, 0, 1))
        return {"image": tensor, "height": height, "width": width}


class MappedInputs:
    """What somebody's own test mapper makes of a record that has an image and no annotations."""

    def __init__(self, mapper: Mapper, *, name: str) -> None:
        """`name` is that of the trainer whose mapper it is."""
        self._mapper = mapper
        self._name = name

    def __call__(self, pixels: np.ndarray, file: str = "") -> dict[str, Any]:
        """Raises RequestError where the mapper makes nothing even of a blank image; else what the mapper raises."""
        with contextlib.nullcontext(file) if file else _as_file(pixels) as readable:
            record = _record_of(pixels, readable)
            try:
                mapped = self._map(record)
            except Exception as error:  # a mapper of somebody's own may raise anything
                if is_about_the_image(error):
                    self._refuse_where_no_image_will_do(record, error)
                raise
        return {"height": record["height"], "width": record["width"], **mapped}

    def _map(self, record: dict[str, Any]) -> dict[str, Any]:
        mapped = self._mapper({**record, "annotations": []})
        if mapped is None:
            raise ValueError(f"{self._name}.build_mapper gives nothing for it")
        return mapped

    def _refuse_where_no_image_will_do(self, record: dict[str, Any], error: Exception) -> None:
        with with_blank_image(record) as blank:
            try:
                self._map(blank)
            except Exception as other:  # whatever the first one was
                if type(other) is not type(error):
                    return
            else:
                return
        raise RequestError(
            f"{self._name}.build_mapper(cfg, False) makes no input of an image alone ({reason_of(error)}), and a model "
            f"that was evaluated with it cannot be used without. Let it do with {', '.join(sorted(record))} and an "
            "empty list of annotations: predictions have nothing else."
        ) from error


def _record_of(pixels: np.ndarray, file: str) -> dict[str, Any]:
    height, width = pixels.shape[:2]
    return {"file_name": file, "image_id": file, "height": height, "width": width}


@contextlib.contextmanager
def _as_file(pixels: np.ndarray) -> Iterator[str]:
    """The pixels as a file, without loss: mappers read files."""
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        Image.fromarray(np.ascontiguousarray(pixels[:, :, ::-1])).save(file, "PNG", compress_level=1)
        file.flush()
        yield file.name
