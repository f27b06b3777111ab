from __future__ import annotations

from typing import Any

import pytest
import torch
from detectron2 import model_zoo
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from torch import nn

from launcher.train.bfloat16.iteration import calls_in_iteration


def small(zoo_file: str) -> CfgNode:
    cfg = model_zoo.get_config(zoo_file)
    cfg.MODEL.DEVICE, cfg.MODEL.WEIGHTS = "cpu", ""
    cfg.MODEL.RESNETS.STEM_OUT_CHANNELS, cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = 8, 16
    cfg.MODEL.RESNETS.WIDTH_PER_GROUP, cfg.MODEL.FPN.OUT_CHANNELS = 4, 16
    cfg.MODEL.ROI_BOX_HEAD.FC_DIM, cfg.MODEL.ROI_MASK_HEAD.CONV_DIM = 32, 16
    cfg.INPUT.MIN_SIZE_TRAIN = (96,)
    return cfg


@pytest.mark.parametrize(
    ("zoo_file", "kinds"),
    [
        (
            "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml",
            {"linear layers", "3x3 convolutions", "2x2 transposed convolutions of stride 2"},
        ),
        ("COCO-Detection/retinanet_R_50_FPN_1x.yaml", {"3x3 convolutions", "3x3 convolutions of stride 2"}),
        ("COCO-InstanceSegmentation/mask_rcnn_R_50_DC5_1x.yaml", {"3x3 dilated convolutions"}),
        (
            "COCO-Keypoints/keypoint_rcnn_R_50_FPN_1x.yaml",
            {"linear layers", "4x4 transposed convolutions of stride 2"},
        ),
        ("COCO-PanopticSegmentation/panoptic_fpn_R_50_1x.yaml", {"linear layers", "3x3 convolutions"}),
    ],
)
def test_what_a_model_of_the_zoo_computes_in_training_is_seen(zoo_file: str, kinds: set[str]):
    cfg = small(zoo_file)

    calls = calls_in_iteration(build_model(cfg), cfg)

    assert kinds <= {call.kind for call in calls}
    assert any(call.input_grad and call.weight_grad for call in calls)


class Wanting(nn.Module):
    """A model with targets of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, batch: list[dict[str, Any]]) -> torch.Tensor:
        if self.training:
            raise KeyError("depth map")
        return self.layer(torch.ones(1, 3))


def test_a_model_that_wants_other_targets_is_seen_while_it_predicts():
    (call,) = calls_in_iteration(Wanting(), small("COCO-Detection/retinanet_R_50_FPN_1x.yaml"))

    assert call.kind == "linear layers"


def test_a_model_that_never_gets_to_a_layer_says_what_it_wanted():
    model = Wanting()
    model.layer = nn.Identity()  # type: ignore[assignment]

    with pytest.raises(KeyError, match="depth map"):
        calls_in_iteration(model, small("COCO-Detection/retinanet_R_50_FPN_1x.yaml"))
