"""Small models of detectron2's kinds with weights that are drawn, always the same ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.model_zoo import get_config_file
from detectron2.modeling import build_model
from PIL import Image

KINDS = {
    "box": "COCO-Detection/faster_rcnn_R_50_FPN_1x",
    "mask": "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x",
    "keypoint": "COCO-Keypoints/keypoint_rcnn_R_50_FPN_1x",
    "RetinaNet": "COCO-Detection/retinanet_R_50_FPN_1x",
    "panoptic": "COCO-PanopticSegmentation/panoptic_fpn_R_50_1x",
    "semantic": "COCO-PanopticSegmentation/panoptic_fpn_R_50_1x",
}
SMALL = {
    "MODEL.DEVICE": "cpu",
    "MODEL.RESNETS.STEM_OUT_CHANNELS": 8,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 16,
    "MODEL.RESNETS.WIDTH_PER_GROUP": 8,
    "MODEL.RESNETS.NORM": "BN",
    "MODEL.FPN.OUT_CHANNELS": 16,
    "MODEL.ROI_BOX_HEAD.FC_DIM": 16,
    "MODEL.ROI_MASK_HEAD.CONV_DIM": 16,
    "MODEL.ROI_KEYPOINT_HEAD.CONV_DIMS": (16, 16),
    "MODEL.SEM_SEG_HEAD.CONVS_DIM": 16,
    "MODEL.SEM_SEG_HEAD.NORM": "",
    "MODEL.RPN.POST_NMS_TOPK_TEST": 20,
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST": -1.0,
    "MODEL.RETINANET.SCORE_THRESH_TEST": 0.0,
    "MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH": 0.0,
    "TEST.DETECTIONS_PER_IMAGE": 10,
    "INPUT.MIN_SIZE_TEST": 96,
    "INPUT.MAX_SIZE_TEST": 160,
}


def small_cfg(kind: str, **changes: object) -> CfgNode:
    """detectron2's configuration of a model of that kind, small."""
    cfg = get_cfg()
    cfg.merge_from_file(get_config_file(f"{KINDS[kind]}.yaml"))
    if kind == "semantic":
        cfg.MODEL.META_ARCHITECTURE = "SemanticSegmentor"
    settings = {**SMALL, **{name.replace("__", "."): value for name, value in changes.items()}}
    cfg.merge_from_list([part for setting in settings.items() for part in setting])
    return cfg


def draw_weights(cfg: CfgNode, file: Path, seed: int = 3) -> None:
    """Write weights for a model, and name them in its configuration."""
    torch.manual_seed(seed)
    model = build_model(cfg)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("conv3.norm.weight"):
                parameter.fill_(0.1)  # or what is never trained grows from block to block
            if "cls_score" in name:
                parameter.normal_(std=0.02)  # so that scores are not all alike
    torch.save({"model": model.state_dict()}, file)
    cfg.MODEL.WEIGHTS = str(file)


def photo(height: int = 70, width: int = 110, seed: int = 0) -> np.ndarray:
    """uint8 of shape (height, width, 3), smooth as photographs are."""
    small = np.random.RandomState(seed).randint(0, 256, (5, 7, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))
