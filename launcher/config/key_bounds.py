"""Which numbers detectron2's keys can have, and how many: what its own code asserts, divides by or makes a tensor of.

What merely is an odd choice is nobody's business here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.config.asked import has_own_code, names_in
from launcher.config.keys import Keys, flat
from launcher.config.places import shortened
from launcher.config.ranges import Range, problem_with
from launcher.config.readers import GENERATOR, HEADS, SCHEDULER, is_read
from launcher.config.request import RunRequest


@dataclass(frozen=True, kw_only=True)
class Bound:
    """What a key can be: its number, or those in its list and in the lists inside of it."""

    allowed: Range
    is_whole: bool = False
    """Numbers in lists are of any kind to the schema."""
    entries: Range | None = None
    """How long its list is; of lists in a list, each of them."""


_COUNT = Bound(allowed=Range(at_least=1))
_NOT_NEGATIVE = Bound(allowed=Range(at_least=0))
_FRACTION = Bound(allowed=Range(at_least=0, at_most=1))
_WEIGHTS_OF_BOXES = Bound(allowed=Range(above=0), entries=Range(at_least=4, at_most=4))
_THRESHOLDS = Bound(allowed=Range(above=0, at_most=1), entries=Range(at_least=1))
_SHAPES = Bound(allowed=Range(above=0), entries=Range(at_least=1))
_WIDTHS = Bound(allowed=Range(at_least=1), is_whole=True)
_STAGES = Bound(allowed=Range(at_least=0), entries=Range(at_least=4))


def _all_of(bound: Bound, prefix: str, *names: str) -> dict[str, Bound]:
    return {f"{prefix}.{name}": bound for name in names}


BOUNDS: Mapping[str, Bound] = {
    **_all_of(_SHAPES, "MODEL.ANCHOR_GENERATOR", "SIZES", "ASPECT_RATIOS"),
    "MODEL.ANCHOR_GENERATOR.OFFSET": Bound(allowed=Range(at_least=0, below=1)),
    **_all_of(_COUNT, "MODEL", "FPN.OUT_CHANNELS", "SEM_SEG_HEAD.CONVS_DIM", "SEM_SEG_HEAD.COMMON_STRIDE"),
    **_all_of(_NOT_NEGATIVE, "MODEL", "PROPOSAL_GENERATOR.MIN_SIZE", "SEM_SEG_HEAD.LOSS_WEIGHT"),
    **_all_of(_NOT_NEGATIVE, "MODEL.RPN", "LOSS_WEIGHT", "BBOX_REG_LOSS_WEIGHT", "SMOOTH_L1_BETA", "NMS_THRESH"),
    **_all_of(_COUNT, "MODEL.RPN", "BATCH_SIZE_PER_IMAGE", "PRE_NMS_TOPK_TRAIN", "PRE_NMS_TOPK_TEST"),
    **_all_of(_COUNT, "MODEL.RPN", "POST_NMS_TOPK_TRAIN", "POST_NMS_TOPK_TEST"),
    **_all_of(_FRACTION, "MODEL", "RPN.POSITIVE_FRACTION", "ROI_HEADS.POSITIVE_FRACTION"),
    **_all_of(_THRESHOLDS, "MODEL", "RPN.IOU_THRESHOLDS", "ROI_HEADS.IOU_THRESHOLDS", "RETINANET.IOU_THRESHOLDS"),
    **_all_of(_THRESHOLDS, "MODEL", "ROI_BOX_CASCADE_HEAD.IOUS"),
    "MODEL.RPN.CONV_DIMS": Bound(allowed=Range(at_least=-1, note="-1 keeps the number of channels"), is_whole=True),
    **_all_of(_WEIGHTS_OF_BOXES, "MODEL", "RPN.BBOX_REG_WEIGHTS", "ROI_BOX_HEAD.BBOX_REG_WEIGHTS"),
    **_all_of(_WEIGHTS_OF_BOXES, "MODEL", "RETINANET.BBOX_REG_WEIGHTS", "ROI_BOX_CASCADE_HEAD.BBOX_REG_WEIGHTS"),
    **_all_of(_COUNT, "MODEL.ROI_HEADS", "NUM_CLASSES", "BATCH_SIZE_PER_IMAGE"),
    "MODEL.ROI_HEADS.NMS_THRESH_TEST": _NOT_NEGATIVE,
    **_all_of(_NOT_NEGATIVE, "MODEL.ROI_BOX_HEAD", "NUM_FC", "NUM_CONV", "SMOOTH_L1_BETA", "BBOX_REG_LOSS_WEIGHT"),
    **_all_of(_COUNT, "MODEL.ROI_BOX_HEAD", "FC_DIM", "CONV_DIM", "POOLER_RESOLUTION", "FED_LOSS_NUM_CLASSES"),
    **_all_of(_COUNT, "MODEL.ROI_MASK_HEAD", "CONV_DIM", "POOLER_RESOLUTION"),
    "MODEL.ROI_MASK_HEAD.NUM_CONV": _NOT_NEGATIVE,
    **_all_of(_COUNT, "MODEL.ROI_KEYPOINT_HEAD", "POOLER_RESOLUTION", "NUM_KEYPOINTS"),
    **_all_of(_NOT_NEGATIVE, "MODEL.ROI_KEYPOINT_HEAD", "LOSS_WEIGHT", "MIN_KEYPOINTS_PER_IMAGE"),
    "MODEL.ROI_KEYPOINT_HEAD.CONV_DIMS": _WIDTHS,
    "MODEL.SEM_SEG_HEAD.NUM_CLASSES": _COUNT,
    "MODEL.PANOPTIC_FPN.INSTANCE_LOSS_WEIGHT": _NOT_NEGATIVE,
    **_all_of(_FRACTION, "MODEL.PANOPTIC_FPN.COMBINE", "OVERLAP_THRESH", "INSTANCES_CONFIDENCE_THRESH"),
    "MODEL.PANOPTIC_FPN.COMBINE.STUFF_AREA_LIMIT": _NOT_NEGATIVE,
    **_all_of(_COUNT, "MODEL.RETINANET", "NUM_CLASSES", "NUM_CONVS", "TOPK_CANDIDATES_TEST"),
    "MODEL.RETINANET.PRIOR_PROB": Bound(allowed=Range(above=0, below=1)),
    **_all_of(_NOT_NEGATIVE, "MODEL.RETINANET", "FOCAL_LOSS_GAMMA", "SMOOTH_L1_LOSS_BETA", "NMS_THRESH_TEST"),
    "MODEL.RETINANET.FOCAL_LOSS_ALPHA": Bound(allowed=Range(at_least=-1, at_most=1, note="-1 weighs no class")),
    **_all_of(_COUNT, "MODEL.RESNETS", "NUM_GROUPS", "WIDTH_PER_GROUP", "RES2_OUT_CHANNELS", "STEM_OUT_CHANNELS"),
    "MODEL.RESNETS.DEFORM_NUM_GROUPS": _COUNT,
    "MODEL.RESNETS.DEFORM_ON_PER_STAGE": _STAGES,
    "TEST.AUG.MIN_SIZES": Bound(allowed=Range(at_least=1), is_whole=True, entries=Range(at_least=1)),
    **_all_of(_COUNT, "TEST", "AUG.MAX_SIZE", "PRECISE_BN.NUM_ITER"),
    **_all_of(_NOT_NEGATIVE, "SOLVER", "BASE_LR_END", "WARMUP_FACTOR", "WARMUP_ITERS", "GAMMA", "BIAS_LR_FACTOR"),
    **_all_of(_NOT_NEGATIVE, "SOLVER", "WEIGHT_DECAY", "WEIGHT_DECAY_NORM", "WEIGHT_DECAY_BIAS"),
    "SOLVER.CHECKPOINT_PERIOD": Bound(allowed=Range(at_least=0, note="0 saves at the end only")),
    "SOLVER.NUM_DECAYS": _COUNT,
    "SOLVER.MOMENTUM": Bound(allowed=Range(at_least=0, below=1)),
    "SOLVER.CLIP_GRADIENTS.CLIP_VALUE": Bound(allowed=Range(above=0)),
    "SOLVER.CLIP_GRADIENTS.NORM_TYPE": Bound(allowed=Range(above=0)),
    **_all_of(_COUNT, "DATASETS", "PRECOMPUTED_PROPOSAL_TOPK_TRAIN", "PRECOMPUTED_PROPOSAL_TOPK_TEST"),
    "DATALOADER.REPEAT_THRESHOLD": _FRACTION,
    "TEST.KEYPOINT_OKS_SIGMAS": Bound(allowed=Range(above=0)),
    "VIS_PERIOD": Bound(allowed=Range(at_least=0, note="0 draws nothing")),
}


def problems_with_bounds(request: RunRequest) -> list[str]:
    """Numbers with which detectron2 would fail, or train on something else than was meant."""
    # Code of a user's own may read keys in its own way.
    if has_own_code(request):
        return []
    keys = request.keys
    bounded = (name for name in BOUNDS if keys.get(name, None) is not None and is_read(name, keys))
    alone = [problem for name in bounded for problem in _problems_of(name, keys)]
    # A list that is no list of numbers would confuse what compares it with others.
    return alone or [problem for check in _CHECKS for problem in check(keys)]


def _problems_of(name: str, keys: Keys) -> Iterator[str]:
    value, bound = keys[name], BOUNDS[name]
    if wrong := [one for one in flat(value) if not isinstance(one, int | float)]:
        yield f"{name}={_shown(value)}: must be a number, not {wrong[0]!r}."
    elif isinstance(value, list):
        yield from _problem_with_list(name, value, bound, keys)
    elif not (name.endswith("NORM_TYPE") and value == math.inf) and (
        problem := problem_with(name, value, bound.allowed)
    ):
        yield problem


def _problem_with_list(name: str, value: list[Any], bound: Bound, keys: Keys) -> Iterator[str]:
    typed, numbers = f"{name}={_shown(value)}", list(flat(value))
    lists = value if value and isinstance(value[0], list) else [value]
    entries = _entries(name, bound, keys)
    note = f" ({bound.allowed.note})" if bound.allowed.note else ""
    if entries is not None and any(isinstance(one, list) and len(one) not in entries for one in lists):
        each = "each list" if len(lists) > 1 else "it"
        yield f"{typed}: {each} must have {_number_of(entries)}."
    elif any(number not in bound.allowed for number in numbers):
        yield f"{typed}: every number must be {bound.allowed}{note}."
    elif bound.is_whole and any(isinstance(number, float) for number in numbers):
        yield f"{typed}: every number must be a whole number."


def _entries(name: str, bound: Bound, keys: Keys) -> Range | None:
    """Rotated boxes have an angle too."""
    is_rotated = (name.startswith("MODEL.RPN.") and keys.get(GENERATOR, "") == "RRPN") or (
        name.startswith("MODEL.ROI_BOX_HEAD.") and keys.get(HEADS, "") == "RROIHeads"
    )
    return Range(at_least=5, at_most=5) if bound is _WEIGHTS_OF_BOXES and is_rotated else bound.entries


def _number_of(entries: Range) -> str:
    least = int(entries.at_least)
    what = "entry" if least == 1 else "entries"
    return f"{least} {what}" if entries.at_least == entries.at_most else f"at least {least} {what}"


def _shown(value: Any) -> str:
    return str(value).replace(" ", "")


# Keys that must agree


def _matchers(keys: Keys) -> Iterator[str]:
    """detectron2's Matcher: thresholds that do not fall, and a label for what lies below, between and above them."""
    for node in ("MODEL.RPN", "MODEL.ROI_HEADS", "MODEL.RETINANET"):
        thresholds, labels = f"{node}.IOU_THRESHOLDS", f"{node}.IOU_LABELS"
        if not is_read(thresholds, keys):
            continue
        asked, given = keys[thresholds], keys[labels]
        if asked != sorted(asked):
            yield f"{thresholds}={_shown(asked)}: must not fall. Set {thresholds}={_shown(sorted(asked))}."
        if len(given) != len(asked) + 1:
            yield f"{labels} has {len(given)} entries and {thresholds} {len(asked)}. Give one label more."
        elif any(label not in (-1, 0, 1) or isinstance(label, bool) for label in given):
            yield f"{labels}={_shown(given)}: every label must be 0 (background), 1 (object) or -1 (ignored)."


def _crop(keys: Keys) -> Iterator[str]:
    name = "INPUT.CROP.SIZE"
    size, kind = keys[name], str(keys["INPUT.CROP.TYPE"])
    if not is_read(name, keys):
        return
    allowed = Range(above=0, at_most=1) if kind.startswith("relative") else Range(at_least=1)
    if len(size) != 2:
        yield f"{name}={_shown(size)}: it must have 2 entries, height and width."
    elif any(number not in allowed for number in size):
        yield f"{name}={_shown(size)}: with INPUT.CROP.TYPE={kind} every number must be {allowed}."
    elif kind.startswith("absolute") and any(isinstance(number, float) for number in size):
        yield f"{name}={_shown(size)}: with INPUT.CROP.TYPE={kind} every number must be a whole number of pixels."


def _proposals(keys: Keys) -> Iterator[str]:
    """Files of proposals, which a model without an RPN of its own takes."""
    if keys.get(GENERATOR, "") == "PrecomputedProposals" and not keys["MODEL.LOAD_PROPOSALS"]:
        yield f"{GENERATOR}=PrecomputedProposals reads its proposals from files. Set MODEL.LOAD_PROPOSALS=True too."
    if not keys["MODEL.LOAD_PROPOSALS"]:
        return
    for part in ("TRAIN", "TEST"):
        files, sets = keys[f"DATASETS.PROPOSAL_FILES_{part}"], names_in(keys, part)
        if len(files) != len(sets):
            yield (
                f"MODEL.LOAD_PROPOSALS=True: DATASETS.{part} names {len(sets)} data sets and "
                f"DATASETS.PROPOSAL_FILES_{part} {len(files)} files. Name one file for each."
            )
        for file in files:
            if "://" not in file and not Path(file).exists():
                yield f"DATASETS.PROPOSAL_FILES_{part}: there is no file {shortened(file)}. Name another."


def _box_head(keys: Keys) -> Iterator[str]:
    node = "MODEL.ROI_BOX_HEAD"
    is_conv_fc = keys.get(f"{node}.NAME", "") == "FastRCNNConvFCHead" and is_read(f"{node}.NUM_FC", keys)
    if is_conv_fc and keys[f"{node}.NUM_FC"] + keys[f"{node}.NUM_CONV"] < 1:
        yield f"{node}.NUM_FC and {node}.NUM_CONV are both 0. A box head has at least one layer: {node}.NUM_FC=2."
    if not (is_read(node, keys) and keys.get(f"{node}.USE_FED_LOSS", False)):
        return
    if not keys.get(f"{node}.USE_SIGMOID_CE", False):
        yield f"{node}.USE_FED_LOSS=True needs {node}.USE_SIGMOID_CE=True."
    if uncounted := [name for name in names_in(keys, "TRAIN") if not name.startswith("lvis_v1")]:
        yield (
            f"{node}.USE_FED_LOSS=True needs to know how many images each class has, which detectron2 knows of "
            f"lvis_v1_train and not of {', '.join(uncounted)}. Set {node}.USE_FED_LOSS=False."
        )


def _schedule(keys: Keys) -> Iterator[str]:
    rate, end = keys["SOLVER.BASE_LR"], keys.get("SOLVER.BASE_LR_END", 0.0)
    if keys.get(SCHEDULER, "") == "WarmupCosineLR" and not (rate > 0 and end <= rate):
        yield (
            f"SOLVER.BASE_LR={rate:g} and SOLVER.BASE_LR_END={end:g}: with {SCHEDULER}=WarmupCosineLR the rate falls "
            "from the first, which must be > 0, to the second, which must not be larger."
        )
    if keys.get("SOLVER.RESCALE_INTERVAL", False) and keys["SOLVER.WARMUP_ITERS"] >= keys["SOLVER.MAX_ITER"]:
        yield "SOLVER.RESCALE_INTERVAL=True needs SOLVER.WARMUP_ITERS < SOLVER.MAX_ITER: it stretches what follows."
    if keys.get("SOLVER.NESTEROV", False) and keys["SOLVER.MOMENTUM"] <= 0:
        yield "SOLVER.NESTEROV=True needs SOLVER.MOMENTUM > 0, for example SOLVER.MOMENTUM=0.9."


def _groups_of_channels(keys: Keys) -> Iterator[str]:
    """GroupNorm as detectron2 makes it: 32 groups."""
    for norm, channels in _GROUPED.items():
        number = keys.get(channels, 0)
        if keys.get(norm, "") == "GN" and is_read(norm, keys) and _is_used(channels, keys) and number % 32:
            yield f"{norm}=GN makes 32 groups of channels, which {channels}={number} cannot be divided into."


_GROUPED = {
    "MODEL.FPN.NORM": "MODEL.FPN.OUT_CHANNELS",
    "MODEL.ROI_BOX_HEAD.NORM": "MODEL.ROI_BOX_HEAD.CONV_DIM",
    "MODEL.ROI_MASK_HEAD.NORM": "MODEL.ROI_MASK_HEAD.CONV_DIM",
    "MODEL.SEM_SEG_HEAD.NORM": "MODEL.SEM_SEG_HEAD.CONVS_DIM",
    "MODEL.RESNETS.NORM": "MODEL.RESNETS.STEM_OUT_CHANNELS",
}


def _is_used(channels: str, keys: Keys) -> bool:
    return channels != "MODEL.ROI_BOX_HEAD.CONV_DIM" or keys["MODEL.ROI_BOX_HEAD.NUM_CONV"] > 0


_CHECKS = (_matchers, _crop, _proposals, _box_head, _schedule, _groups_of_channels)
