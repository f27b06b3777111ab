"""Which of detectron2's keys a model, a sampler or a scheduler reads, and what must be chosen for the others to count.

tests/train/compat/test_readers.py compares this with what detectron2 reads while it builds models.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from launcher.config.keys import Keys

WITH_HEADS = ("GeneralizedRCNN", "PanopticFPN")
WITH_RPN = (*WITH_HEADS, "ProposalNetwork")
WITH_SEMANTIC_HEAD = ("PanopticFPN", "SemanticSegmentor", "PanopticDeepLab")
ARCHITECTURE = "MODEL.META_ARCHITECTURE"
SAMPLER = "DATALOADER.SAMPLER_TRAIN"
SCHEDULER = "SOLVER.LR_SCHEDULER_NAME"
HEADS = "MODEL.ROI_HEADS.NAME"
BACKBONE = "MODEL.BACKBONE.NAME"
GENERATOR = "MODEL.PROPOSAL_GENERATOR.NAME"
_KNOWN = {
    ARCHITECTURE: (*WITH_RPN, *WITH_SEMANTIC_HEAD, "RetinaNet", "FCOS"),
    SAMPLER: (
        *("TrainingSampler", "RepeatFactorTrainingSampler", "RandomSubsetTrainingSampler"),
        *("WeightedTrainingSampler", "WeightedCategoryTrainingSampler"),
    ),
    SCHEDULER: ("WarmupMultiStepLR", "WarmupCosineLR", "WarmupStepWithFixedGammaLR"),
    HEADS: ("Res5ROIHeads", "StandardROIHeads", "CascadeROIHeads", "RROIHeads"),
    BACKBONE: (
        "build_resnet_backbone",
        "build_resnet_fpn_backbone",
        "build_retinanet_resnet_fpn_backbone",
    ),
    GENERATOR: ("RPN", "RRPN", "PrecomputedProposals"),
}
"""detectron2's own; a value that is not among them may be of one's own, and read whatever it likes."""

Holds = Callable[[Keys], bool]


@dataclass(frozen=True, kw_only=True)
class Readable:
    """Keys that something reads only when it has been chosen."""

    names: tuple[str, ...]
    """Keys, or nodes of them."""
    holds: Holds
    needs: str
    """What to type for them to have an effect."""


def is_read(name: str, keys: Keys) -> bool:
    """Whether the model and the training that these keys describe read this one."""
    return all(one.holds(keys) for one in READABLE if is_below(name, one.names))


def is_below(name: str, nodes: tuple[str, ...]) -> bool:
    return any(name == node or name.startswith(f"{node}.") for node in nodes)


def _on(name: str) -> Holds:
    return lambda keys: bool(keys.get(name, True))


def _one_of(name: str, *values: str) -> Holds:
    """The key has one of these values, or one that is not detectron2's own."""

    def holds(keys: Keys) -> bool:
        value = str(keys.get(name, ""))
        return value in values or value not in _KNOWN[name]

    return holds


def _has_anchors(keys: Keys) -> bool:
    is_with_rpn = _one_of(ARCHITECTURE, *WITH_RPN)(keys) and _one_of(GENERATOR, "RPN", "RRPN")(keys)
    return is_with_rpn or _one_of(ARCHITECTURE, "RetinaNet", "FCOS")(keys)


READABLE = (
    Readable(
        names=(
            *("MODEL.MASK_ON", "MODEL.KEYPOINT_ON", "MODEL.ROI_HEADS", "MODEL.ROI_BOX_HEAD", "MODEL.ROI_MASK_HEAD"),
            *("MODEL.ROI_KEYPOINT_HEAD", "MODEL.ROI_BOX_CASCADE_HEAD"),
        ),
        holds=_one_of(ARCHITECTURE, *WITH_HEADS),
        needs="a model with ROI heads (model=...)",
    ),
    Readable(
        names=("MODEL.ROI_MASK_HEAD", "INPUT.MASK_FORMAT"), holds=_on("MODEL.MASK_ON"), needs="MODEL.MASK_ON=True"
    ),
    Readable(
        names=("MODEL.ROI_KEYPOINT_HEAD", "TEST.KEYPOINT_OKS_SIGMAS"),
        holds=_on("MODEL.KEYPOINT_ON"),
        needs="MODEL.KEYPOINT_ON=True",
    ),
    Readable(
        names=("MODEL.ROI_BOX_CASCADE_HEAD",),
        holds=_one_of(HEADS, "CascadeROIHeads"),
        needs="MODEL.ROI_HEADS.NAME=CascadeROIHeads",
    ),
    Readable(
        names=tuple(
            f"MODEL.ROI_BOX_HEAD.{key}" for key in ("NAME", "NUM_FC", "FC_DIM", "NUM_CONV", "CONV_DIM", "NORM")
        ),
        holds=_one_of(HEADS, "StandardROIHeads", "CascadeROIHeads", "RROIHeads"),
        needs="MODEL.ROI_HEADS.NAME=StandardROIHeads",
    ),
    Readable(
        names=(
            *("MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION", "MODEL.ROI_MASK_HEAD.POOLER_SAMPLING_RATIO"),
            *("MODEL.ROI_MASK_HEAD.POOLER_TYPE", "MODEL.ROI_BOX_HEAD.TRAIN_ON_PRED_BOXES"),
        ),
        holds=_one_of(HEADS, "StandardROIHeads", "CascadeROIHeads", "RROIHeads"),
        needs="MODEL.ROI_HEADS.NAME=StandardROIHeads",
    ),
    Readable(
        names=("MODEL.RPN", "MODEL.PROPOSAL_GENERATOR"),
        holds=_one_of(ARCHITECTURE, *WITH_RPN),
        needs="a model with an RPN (model=...)",
    ),
    Readable(
        names=("MODEL.RPN", "MODEL.PROPOSAL_GENERATOR.MIN_SIZE"),
        holds=_one_of(GENERATOR, "RPN", "RRPN"),
        needs="MODEL.PROPOSAL_GENERATOR.NAME=RPN",
    ),
    Readable(
        names=("MODEL.ANCHOR_GENERATOR",),
        holds=_has_anchors,
        needs="a model with anchors (model=...)",
    ),
    Readable(
        names=("MODEL.ANCHOR_GENERATOR.ANGLES",),
        holds=lambda keys: keys.get("MODEL.ANCHOR_GENERATOR.NAME", "") != "DefaultAnchorGenerator",
        needs="MODEL.ANCHOR_GENERATOR.NAME=RotatedAnchorGenerator",
    ),
    Readable(
        names=("MODEL.RETINANET",),
        holds=_one_of(ARCHITECTURE, "RetinaNet"),
        needs="a RetinaNet (model=...)",
    ),
    Readable(
        names=("MODEL.SEM_SEG_HEAD",),
        holds=_one_of(ARCHITECTURE, *WITH_SEMANTIC_HEAD),
        needs="a model of semantic or panoptic segmentation (model=...)",
    ),
    Readable(
        names=("MODEL.PANOPTIC_FPN",),
        holds=_one_of(ARCHITECTURE, "PanopticFPN"),
        needs="a panoptic model (model=...)",
    ),
    Readable(
        names=("MODEL.FPN",),
        holds=_one_of(BACKBONE, "build_resnet_fpn_backbone", "build_retinanet_resnet_fpn_backbone"),
        needs="a backbone with an FPN, MODEL.BACKBONE.NAME=build_resnet_fpn_backbone",
    ),
    Readable(
        names=("SOLVER.CLIP_GRADIENTS",),
        holds=_on("SOLVER.CLIP_GRADIENTS.ENABLED"),
        needs="SOLVER.CLIP_GRADIENTS.ENABLED=True",
    ),
    Readable(names=("INPUT.CROP",), holds=_on("INPUT.CROP.ENABLED"), needs="INPUT.CROP.ENABLED=True"),
    Readable(names=("TEST.AUG",), holds=_on("TEST.AUG.ENABLED"), needs="TEST.AUG.ENABLED=True"),
    Readable(names=("TEST.PRECISE_BN",), holds=_on("TEST.PRECISE_BN.ENABLED"), needs="TEST.PRECISE_BN.ENABLED=True"),
    Readable(
        names=tuple(
            f"DATASETS.{key}_{part}"
            for part in ("TRAIN", "TEST")
            for key in ("PROPOSAL_FILES", "PRECOMPUTED_PROPOSAL_TOPK")
        ),
        holds=_on("MODEL.LOAD_PROPOSALS"),
        needs="MODEL.LOAD_PROPOSALS=True",
    ),
    Readable(
        names=("DATALOADER.REPEAT_THRESHOLD", "DATALOADER.REPEAT_SQRT"),
        holds=_one_of(SAMPLER, "RepeatFactorTrainingSampler", "WeightedCategoryTrainingSampler"),
        needs="DATALOADER.SAMPLER_TRAIN=RepeatFactorTrainingSampler",
    ),
    Readable(
        names=("DATALOADER.RANDOM_SUBSET_RATIO",),
        holds=_one_of(SAMPLER, "RandomSubsetTrainingSampler"),
        needs="DATALOADER.SAMPLER_TRAIN=RandomSubsetTrainingSampler",
    ),
    Readable(
        names=("DATASETS.TRAIN_REPEAT_FACTOR",),
        holds=_one_of(SAMPLER, "WeightedTrainingSampler", "WeightedCategoryTrainingSampler"),
        needs="DATALOADER.SAMPLER_TRAIN=WeightedTrainingSampler",
    ),
    Readable(
        names=("SOLVER.STEPS",),
        holds=_one_of(SCHEDULER, "WarmupMultiStepLR"),
        needs="SOLVER.LR_SCHEDULER_NAME=WarmupMultiStepLR",
    ),
    Readable(
        names=("SOLVER.GAMMA",),
        holds=_one_of(SCHEDULER, "WarmupMultiStepLR", "WarmupStepWithFixedGammaLR"),
        needs="SOLVER.LR_SCHEDULER_NAME=WarmupMultiStepLR",
    ),
    Readable(
        names=("SOLVER.BASE_LR_END",),
        holds=_one_of(SCHEDULER, "WarmupCosineLR"),
        needs="SOLVER.LR_SCHEDULER_NAME=WarmupCosineLR",
    ),
    Readable(
        names=("SOLVER.NUM_DECAYS",),
        holds=_one_of(SCHEDULER, "WarmupStepWithFixedGammaLR"),
        needs="SOLVER.LR_SCHEDULER_NAME=WarmupStepWithFixedGammaLR",
    ),
)
