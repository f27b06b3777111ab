"""The names that the imported detectron2 knows: what its registries hold, and what it compares a setting with."""

from __future__ import annotations

import inspect
import re

from detectron2 import modeling
from detectron2.layers.batch_norm import get_norm
from detectron2.modeling.meta_arch.semantic_seg import SEM_SEG_HEADS_REGISTRY
from detectron2.modeling.proposal_generator.rpn import RPN_HEAD_REGISTRY
from detectron2.solver import build_lr_scheduler


def registered_names() -> dict[str, list[str]]:
    """What there is by name, under the key that it is the value of; norms under `NORM`."""
    registries = {
        "META_ARCHITECTURE": modeling.META_ARCH_REGISTRY,
        "BACKBONE.NAME": modeling.BACKBONE_REGISTRY,
        "PROPOSAL_GENERATOR.NAME": modeling.PROPOSAL_GENERATOR_REGISTRY,
        "RPN.HEAD_NAME": RPN_HEAD_REGISTRY,
        "ANCHOR_GENERATOR.NAME": modeling.ANCHOR_GENERATOR_REGISTRY,
        "ROI_HEADS.NAME": modeling.ROI_HEADS_REGISTRY,
        "ROI_BOX_HEAD.NAME": modeling.ROI_BOX_HEAD_REGISTRY,
        "ROI_MASK_HEAD.NAME": modeling.ROI_MASK_HEAD_REGISTRY,
        "ROI_KEYPOINT_HEAD.NAME": modeling.ROI_KEYPOINT_HEAD_REGISTRY,
        "SEM_SEG_HEAD.NAME": SEM_SEG_HEADS_REGISTRY,
    }
    names = {f"MODEL.{key}": [name for name, _ in registry] for key, registry in registries.items()}
    names["MODEL.PROPOSAL_GENERATOR.NAME"].append("PrecomputedProposals")
    # These two are looked up in the middle of a function.
    names["SOLVER.LR_SCHEDULER_NAME"] = re.findall(r'name == "(\w+)"', inspect.getsource(build_lr_scheduler))
    names["NORM"] = re.findall(r'"(\w+)":', inspect.getsource(get_norm))
    return names
