"""The table of what is read, against what detectron2 reads while it builds a model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from detectron2 import model_zoo
from detectron2.config import CfgNode, get_cfg
from detectron2.modeling import build_model

from launcher.config.keys import Keys
from launcher.config.readers import is_read

READ_BY_OTHERS = {
    "MODEL.WEIGHTS",
    "MODEL.LOAD_PROPOSALS",
    "MODEL.ROI_BOX_HEAD.FED_LOSS_FREQ_WEIGHT_POWER",
    "MODEL.ROI_KEYPOINT_HEAD.MIN_KEYPOINTS_PER_IMAGE",
}
"""Below MODEL, and not while building: by the checkpointer, the data loader, or when the loss is first computed."""


@pytest.mark.parametrize(
    "zoo_name",
    [
        "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x",
        "COCO-InstanceSegmentation/mask_rcnn_R_50_C4_1x",
        "COCO-Detection/faster_rcnn_R_50_FPN_1x",
        "COCO-Detection/fast_rcnn_R_50_FPN_1x",
        "COCO-Detection/retinanet_R_50_FPN_1x",
        "COCO-Detection/rpn_R_50_C4_1x",
        "COCO-Keypoints/keypoint_rcnn_R_50_FPN_1x",
        "COCO-PanopticSegmentation/panoptic_fpn_R_50_1x",
        "Misc/cascade_mask_rcnn_R_50_FPN_1x",
        "Misc/semantic_R_50_FPN_1x",
    ],
)
def test_what_a_model_reads_while_it_is_built_is_what_the_table_says(zoo_name: str, monkeypatch: pytest.MonkeyPatch):
    cfg = small(zoo_name)
    names = {name for name in names_in(cfg) if name.startswith("MODEL.")}
    keys = Keys(json.loads(json.dumps(cfg)))

    read = reads_of(cfg, monkeypatch) & names

    assert read - READ_BY_OTHERS == {name for name in names if is_read(name, keys)} - READ_BY_OTHERS


def small(zoo_name: str) -> CfgNode:
    cfg = get_cfg()
    cfg.merge_from_file(model_zoo.get_config_file(f"{zoo_name}.yaml"))
    resnet = {"STEM_OUT_CHANNELS": 8, "RES2_OUT_CHANNELS": 16, "WIDTH_PER_GROUP": 4}
    small_ones = {"MODEL.DEVICE": "cpu", **{f"MODEL.RESNETS.{name}": value for name, value in resnet.items()}}
    cfg.merge_from_list([part for pair in small_ones.items() for part in pair])
    return cfg


def reads_of(cfg: CfgNode, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The dotted names that building the model asks for."""
    prefixes, found = dict(nodes_in(cfg)), set()
    read = CfgNode.__getattr__

    def read_noting(node: CfgNode, name: str) -> Any:
        if id(node) in prefixes:
            found.add(prefixes[id(node)] + name)
        return read(node, name)

    monkeypatch.setattr(CfgNode, "__getattr__", read_noting)
    build_model(cfg)
    return found


def nodes_in(node: CfgNode, prefix: str = "") -> Iterator[tuple[int, str]]:
    yield id(node), prefix
    for name, inner in node.items():
        if isinstance(inner, CfgNode):
            yield from nodes_in(inner, f"{prefix}{name}.")


def names_in(node: CfgNode, prefix: str = "") -> Iterator[str]:
    for name, inner in node.items():
        if isinstance(inner, CfgNode):
            yield from names_in(inner, f"{prefix}{name}.")
        else:
            yield prefix + name
