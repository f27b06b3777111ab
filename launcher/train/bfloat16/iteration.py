"""One forward pass of a model over an invented image, to see what it computes. The numbers mean nothing."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.structures import BitMasks, Boxes, Instances, Keypoints, PolygonMasks
from detectron2.utils.events import EventStorage
from torch import nn

from launcher.train.bfloat16.calls import Call, noting_calls

LARGEST = 320  # pixels: more of them cost the same each
OBJECTS = 8


def calls_in_iteration(model: nn.Module, cfg: CfgNode) -> Counter[Call]:
    """What one training iteration over one image computes, as far as the model can be given one.

    A model that wants other targets than these is looked at while it predicts.

    Raises:
        Exception: whatever the model raises, where nothing was seen.
    """
    _set_to_zero(model)
    problem: Exception | None = None
    for training in (True, False):
        calls: Counter[Call] = Counter()
        try:
            with noting_calls(model.train(training), calls), EventStorage(0):
                model([_invented_sample(cfg)])
        except Exception as error:
            problem = problem or error
            continue
        if calls:
            return calls
    raise problem or ValueError("the model has neither convolutions nor linear layers")


def _set_to_zero(model: nn.Module) -> None:
    """Untrained weights let numbers grow beyond what boxes can be made of; nothing grows from zero."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()


def _invented_sample(cfg: CfgNode) -> dict[str, Any]:
    size = min(LARGEST, max(cfg.INPUT.MIN_SIZE_TRAIN))
    generator = np.random.RandomState(0)
    corners = generator.uniform(0, 0.5 * size, (OBJECTS, 2))
    boxes = np.concatenate([corners, corners + generator.uniform(0.1 * size, 0.5 * size, (OBJECTS, 2))], axis=1)
    return {
        "image": torch.from_numpy(generator.randint(0, 256, (3, size, size)).astype("uint8")),
        "height": size,
        "width": size,
        "instances": _invented_objects(cfg, size, boxes),
        "sem_seg": torch.zeros(size, size, dtype=torch.long),
        "proposals": Instances(
            (size, size), proposal_boxes=Boxes(torch.tensor(boxes)), objectness_logits=torch.zeros(OBJECTS)
        ),
    }


def _invented_objects(cfg: CfgNode, size: int, boxes: Any) -> Instances:
    objects = Instances((size, size), gt_boxes=Boxes(torch.tensor(boxes)), gt_classes=torch.zeros(OBJECTS).long())
    if cfg.MODEL.MASK_ON:
        outlines = [[np.array([x0, y0, x1, y0, x1, y1, x0, y1])] for x0, y0, x1, y1 in boxes]
        masks = PolygonMasks(outlines)
        as_bitmaps = cfg.INPUT.MASK_FORMAT == "bitmask"
        objects.gt_masks = BitMasks.from_polygon_masks(masks, size, size) if as_bitmaps else masks
    if cfg.MODEL.KEYPOINT_ON:
        centers = torch.tensor((boxes[:, :2] + boxes[:, 2:]) / 2)[:, None]
        visible = torch.full((OBJECTS, cfg.MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS, 1), 2.0)
        objects.gt_keypoints = Keypoints(torch.cat([centers.expand(-1, visible.shape[1], -1), visible], dim=2))
    return objects
