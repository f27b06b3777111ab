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


def _with(switch: str, *names: str) -> Readable:
    """Keys that are read where a switch is on."""
    return Readable(names=names, holds=_on(switch), needs=f"{switch}=True")


def _with_one_of(key: str, values: tuple[str, ...], *names: str, needs: str = "") -> Readable:
    """Keys that are read where another one has one of these values; the first is the one to type, if not `needs`."""
    return Readable(names=names, holds=_one_of(key, *values), needs=needs or f"{key}={values[0]}")


_WITH_BOX_HEAD = ("StandardROIHeads", "CascadeROIHeads", "RROIHeads")

READABLE = (
    _with_one_of(
        ARCHITECTURE,
        WITH_HEADS,
        *("MODEL.MASK_ON", "MODEL.KEYPOINT_ON", "MODEL.ROI_HEADS", "MODEL.ROI_BOX_HEAD", "MODEL.ROI_MASK_HEAD"),
        *("MODEL.ROI_KEYPOINT_HEAD", "MODEL.ROI_BOX_CASCADE_HEAD"),
        needs="a model with ROI heads (model=...)",
    ),
    _with("MODEL.MASK_ON", "MODEL.ROI_MASK_HEAD", "INPUT.MASK_FORMAT"),
    _with("MODEL.KEYPOINT_ON", "MODEL.ROI_KEYPOINT_HEAD", "TEST.KEYPOINT_OKS_SIGMAS"),
    _with_one_of(HEADS, ("CascadeROIHeads",), "MODEL.ROI_BOX_CASCADE_HEAD"),
    _with_one_of(
        HEADS,
        _WITH_BOX_HEAD,
        *(f"MODEL.ROI_BOX_HEAD.{key}" for key in ("NAME", "NUM_FC", "FC_DIM", "NUM_CONV", "CONV_DIM", "NORM")),
    ),
    _with_one_of(
        HEADS,
        _WITH_BOX_HEAD,
        *("MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION", "MODEL.ROI_MASK_HEAD.POOLER_SAMPLING_RATIO"),
        *("MODEL.ROI_MASK_HEAD.POOLER_TYPE", "MODEL.ROI_BOX_HEAD.TRAIN_ON_PRED_BOXES"),
    ),
    _with_one_of(
        ARCHITECTURE, WITH_RPN, "MODEL.RPN", "MODEL.PROPOSAL_GENERATOR", needs="a model with an RPN (model=...)"
    ),
    _with_one_of(GENERATOR, ("RPN", "RRPN"), "MODEL.RPN", "MODEL.PROPOSAL_GENERATOR.MIN_SIZE"),
    Readable(names=("MODEL.ANCHOR_GENERATOR",), holds=_has_anchors, needs="a model with anchors (model=...)"),
    Readable(
        names=("MODEL.ANCHOR_GENERATOR.ANGLES",),
        holds=lambda keys: keys.get("MODEL.ANCHOR_GENERATOR.NAME", "") != "DefaultAnchorGenerator",
        needs="MODEL.ANCHOR_GENERATOR.NAME=RotatedAnchorGenerator",
    ),
    _with_one_of(ARCHITECTURE, ("RetinaNet",), "MODEL.RETINANET", needs="a RetinaNet (model=...)"),
    _with_one_of(
        ARCHITECTURE,
        WITH_SEMANTIC_HEAD,
        "MODEL.SEM_SEG_HEAD",
        needs="a model of semantic or panoptic segmentation (model=...)",
    ),
    _with_one_of(ARCHITECTURE, ("PanopticFPN",), "MODEL.PANOPTIC_FPN", needs="a panoptic model (model=...)"),
    _with_one_of(
        BACKBONE,
        ("build_resnet_fpn_backbone", "build_retinanet_resnet_fpn_backbone"),
        "MODEL.FPN",
        needs="a backbone with an FPN, MODEL.BACKBONE.NAME=build_resnet_fpn_backbone",
    ),
    _with("SOLVER.CLIP_GRADIENTS.ENABLED", "SOLVER.CLIP_GRADIENTS"),
    _with("INPUT.CROP.ENABLED", "INPUT.CROP"),
    _with("TEST.AUG.ENABLED", "TEST.AUG"),
    _with("TEST.PRECISE_BN.ENABLED", "TEST.PRECISE_BN"),
    _with(
        "MODEL.LOAD_PROPOSALS",
        *("DATASETS.PROPOSAL_FILES_TRAIN", "DATASETS.PRECOMPUTED_PROPOSAL_TOPK_TRAIN"),
        *("DATASETS.PROPOSAL_FILES_TEST", "DATASETS.PRECOMPUTED_PROPOSAL_TOPK_TEST"),
    ),
    _with_one_of(
        SAMPLER,
        ("RepeatFactorTrainingSampler", "WeightedCategoryTrainingSampler"),
        *("DATALOADER.REPEAT_THRESHOLD", "DATALOADER.REPEAT_SQRT"),
    ),
    _with_one_of(SAMPLER, ("RandomSubsetTrainingSampler",), "DATALOADER.RANDOM_SUBSET_RATIO"),
    _with_one_of(
        SAMPLER, ("WeightedTrainingSampler", "WeightedCategoryTrainingSampler"), "DATASETS.TRAIN_REPEAT_FACTOR"
    ),
    _with_one_of(SCHEDULER, ("WarmupMultiStepLR",), "SOLVER.STEPS"),
    _with_one_of(SCHEDULER, ("WarmupMultiStepLR", "WarmupStepWithFixedGammaLR"), "SOLVER.GAMMA"),
    _with_one_of(SCHEDULER, ("WarmupCosineLR",), "SOLVER.BASE_LR_END"),
    _with_one_of(SCHEDULER, ("WarmupStepWithFixedGammaLR",), "SOLVER.NUM_DECAYS"),
)
