"""Names that detectron2 looks up when it builds a model: registries, enumerations, and lists that must be of a length.

What the installed detectron2 has is known from its description (`known_keys.py`); the rest stands here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from launcher.config.asked import has_own_code
from launcher.config.keys import Keys, flat
from launcher.config.known_keys import Detectron2Keys
from launcher.config.readers import WITH_HEADS, WITH_RPN, is_read
from launcher.config.request import RunRequest

_BOX_LOSSES = ("smooth_l1", "giou", "diou", "ciou")
_POOLERS = ("ROIAlign", "ROIAlignV2", "ROIPool", "ROIAlignRotated")
_COLORS = ("BGR", "RGB", "YUV-BT.601", "HSV", "YCbCr", "LAB")
ENUMERATIONS: Mapping[str, Sequence[Any]] = {
    "INPUT.RANDOM_FLIP": ("horizontal", "vertical", "none"),
    "INPUT.MASK_FORMAT": ("polygon", "bitmask"),
    "INPUT.FORMAT": (*_COLORS, "L"),
    "INPUT.MIN_SIZE_TRAIN_SAMPLING": ("choice", "range"),
    "SOLVER.WARMUP_METHOD": ("constant", "linear"),
    "INPUT.CROP.TYPE": ("relative", "relative_range", "absolute", "absolute_range"),
    "SOLVER.CLIP_GRADIENTS.CLIP_TYPE": ("value", "norm"),
    "MODEL.FPN.FUSE_TYPE": ("sum", "avg"),
    "MODEL.RESNETS.DEPTH": (18, 34, 50, 101, 152),
    "MODEL.RESNETS.RES5_DILATION": (1, 2),
    "MODEL.RPN.BBOX_REG_LOSS_TYPE": _BOX_LOSSES,
    "MODEL.RETINANET.BBOX_REG_LOSS_TYPE": _BOX_LOSSES,
    "MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_TYPE": _BOX_LOSSES,
    "MODEL.ROI_BOX_HEAD.POOLER_TYPE": _POOLERS,
    "MODEL.ROI_MASK_HEAD.POOLER_TYPE": _POOLERS,
    "MODEL.ROI_KEYPOINT_HEAD.POOLER_TYPE": _POOLERS,
}
"""What detectron2 compares with in its code."""
NORMS = (
    *("MODEL.RESNETS.NORM", "MODEL.FPN.NORM", "MODEL.RETINANET.NORM", "MODEL.SEM_SEG_HEAD.NORM"),
    *("MODEL.ROI_BOX_HEAD.NORM", "MODEL.ROI_MASK_HEAD.NORM"),
)
SAMPLERS: Mapping[str, tuple[str, ...]] = {
    "TrainingSampler": (),
    "RepeatFactorTrainingSampler": ("DATALOADER.REPEAT_THRESHOLD",),
    "RandomSubsetTrainingSampler": ("DATALOADER.RANDOM_SUBSET_RATIO",),
    "WeightedTrainingSampler": ("DATASETS.TRAIN_REPEAT_FACTOR",),
    "WeightedCategoryTrainingSampler": ("DATASETS.TRAIN_REPEAT_FACTOR", "DATALOADER.REPEAT_THRESHOLD"),
}
"""Samplers that can be resumed, each with the keys that it reads."""


def problems_with_names(request: RunRequest, known: Detectron2Keys) -> list[str]:
    """Values that the installed detectron2 would look up in vain, and lists whose lengths contradict each other."""
    # Code of a user's own may register more names, and read keys in its own way.
    if has_own_code(request):
        return []
    return [
        *_unknown_names(request.keys, known),
        *_missing_samplers(request.keys),
        *(problem for check in _CHECKS for problem in check(request.keys)),
    ]


def _unknown_names(keys: Keys, known: Detectron2Keys) -> Iterator[str]:
    norms = known.names.get("NORM", ())
    allowed = {**ENUMERATIONS, **{name: names for name, names in known.names.items() if names}}
    allowed |= {name: ("", *norms) for name in NORMS if norms}
    for name, names in allowed.items():
        value = keys.get(name, None)
        if value is not None and is_read(name, keys) and not any(_is_same(value, one) for one in names):
            yield f"{name}={value}: detectron2 has no such value{_nearest(value, names)}."


def _is_same(value: Any, one: Any) -> bool:
    return value == one and not isinstance(value, bool)


def _nearest(value: Any, names: Sequence[Any]) -> str:
    shown = [str(one) if one != "" else '""' for one in names]
    folded = {one.casefold(): one for one in shown}
    near = [folded[one] for one in get_close_matches(str(value).casefold(), folded, n=3, cutoff=0.5)]
    return f"; nearest: {', '.join(near)}" if near and len(shown) > 6 else f"; there are {', '.join(shown)}"


def _missing_samplers(keys: Keys) -> Iterator[str]:
    asked = keys.get("DATALOADER.SAMPLER_TRAIN", None)
    there = [name for name, read in SAMPLERS.items() if all(key in keys for key in read)]
    if asked is None or asked in there:
        return
    why = "this detectron2 is too old for it" if asked in SAMPLERS else "there is no such sampler"
    yield f"DATALOADER.SAMPLER_TRAIN={asked}: {why}; there are {', '.join(there)}."


def _anchors(keys: Keys) -> Iterator[str]:
    features = _anchor_features(keys)
    if features is None or keys.get("MODEL.ANCHOR_GENERATOR.NAME", "") != "DefaultAnchorGenerator":
        return
    node = "MODEL.RETINANET" if keys["MODEL.META_ARCHITECTURE"] == "RetinaNet" else "MODEL.RPN"
    for name in ("MODEL.ANCHOR_GENERATOR.SIZES", "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS"):
        value = keys[name]
        # One list for all features may stand alone or in a list.
        count = len(value) if value and isinstance(value[0], list) else min(len(value), 1)
        if count not in (1, len(features)):
            yield (
                f"{name} has {count} lists, but {node}.IN_FEATURES names {len(features)} features "
                f"({', '.join(features)}). Give one list for each, or one for all."
                if count
                else f"{name} is empty. Give one list for each feature, or one for all."
            )


def _anchor_features(keys: Keys) -> list[str] | None:
    architecture = keys.get("MODEL.META_ARCHITECTURE", "")
    if architecture == "RetinaNet":
        return list(keys["MODEL.RETINANET.IN_FEATURES"])
    if architecture in WITH_RPN and keys.get("MODEL.PROPOSAL_GENERATOR.NAME", "") == "RPN":
        return list(keys["MODEL.RPN.IN_FEATURES"])
    return None


def _features(keys: Keys) -> Iterator[str]:
    """Names of feature maps that the backbone does not give."""
    stages = ["stem", "res2", "res3", "res4", "res5"]
    outputs = list(keys["MODEL.RESNETS.OUT_FEATURES"])
    backbone = keys["MODEL.BACKBONE.NAME"]
    if backbone not in _BACKBONES:
        return
    yield from _not_among("MODEL.RESNETS.OUT_FEATURES", keys, stages, "ResNet")
    if "fpn" in backbone:
        yield from _not_among("MODEL.FPN.IN_FEATURES", keys, outputs, "MODEL.RESNETS.OUT_FEATURES")
        outputs = [name.replace("res", "p") for name in keys["MODEL.FPN.IN_FEATURES"]] + _BACKBONES[backbone]
    for node, readers in _FEATURE_READERS.items():
        if keys["MODEL.META_ARCHITECTURE"] in readers:
            yield from _not_among(f"{node}.IN_FEATURES", keys, outputs, backbone)


_BACKBONES = {
    "build_resnet_backbone": [],
    "build_resnet_fpn_backbone": ["p6"],
    "build_retinanet_resnet_fpn_backbone": ["p6", "p7"],
}
"""Those whose features are known, each with what it gives beside one feature for each stage."""
_FEATURE_READERS = {
    "MODEL.RPN": WITH_RPN,
    "MODEL.ROI_HEADS": WITH_HEADS,
    "MODEL.RETINANET": ("RetinaNet",),
    "MODEL.SEM_SEG_HEAD": ("PanopticFPN", "SemanticSegmentor"),
}


def _not_among(name: str, keys: Keys, outputs: Sequence[str], giver: str) -> Iterator[str]:
    asked = list(keys[name])
    unknown = [str(one) for one in asked if one not in outputs]
    if unknown:
        yield f"{name} names {', '.join(unknown)}, but {giver} gives {', '.join(outputs) or 'nothing'}."
    elif not asked:
        yield f"{name} is empty. Name features of {', '.join(outputs) or 'the backbone'}."


def _pixels(keys: Keys) -> Iterator[str]:
    mean, std = keys["MODEL.PIXEL_MEAN"], keys["MODEL.PIXEL_STD"]
    image = keys["INPUT.FORMAT"]
    channels = {"L": 1, **dict.fromkeys(_COLORS, 3)}.get(image)
    if len(mean) != len(std):
        yield f"MODEL.PIXEL_MEAN has {len(mean)} numbers and MODEL.PIXEL_STD {len(std)}. Give one of each per channel."
    elif channels is not None and len(mean) != channels:
        yield (
            f"MODEL.PIXEL_MEAN and MODEL.PIXEL_STD have {len(mean)} numbers, but INPUT.FORMAT={image} has {channels} "
            f"channel{'s' if channels > 1 else ''}. Give one number of each per channel."
        )
    if any(isinstance(one, int | float) and one == 0 for one in flat(std)):
        yield "MODEL.PIXEL_STD has a 0, by which pixels would be divided. Give numbers > 0."


def _sizes(keys: Keys) -> Iterator[str]:
    """Sizes of images to choose from."""
    for name in ("INPUT.MIN_SIZE_TRAIN", "INPUT.MIN_SIZE_TEST", "INPUT.MAX_SIZE_TRAIN", "INPUT.MAX_SIZE_TEST"):
        value = keys[name]
        if any(isinstance(one, int | float) and (one < 0 or _would_vanish(name, one)) for one in flat(value)):
            yield f"{name}={str(value).replace(' ', '')}: must be > 0."
    sizes = keys["INPUT.MIN_SIZE_TRAIN"]
    if isinstance(sizes, list) and not sizes:
        yield "INPUT.MIN_SIZE_TRAIN is empty. Give sizes, for example INPUT.MIN_SIZE_TRAIN=[640,800]."
    elif keys["INPUT.MIN_SIZE_TRAIN_SAMPLING"] == "range" and (not isinstance(sizes, list) or len(sizes) != 2):
        yield (
            f"INPUT.MIN_SIZE_TRAIN={str(sizes).replace(' ', '')}: with INPUT.MIN_SIZE_TRAIN_SAMPLING=range it must be "
            "two sizes, for example INPUT.MIN_SIZE_TRAIN=[640,800]."
        )


def _would_vanish(name: str, size: float) -> bool:
    # detectron2 takes 0 as "do not resize" for the shorter side.
    return size == 0 and "MAX" in name


def _resnet(keys: Keys) -> Iterator[str]:
    depth, channels = keys["MODEL.RESNETS.DEPTH"], keys["MODEL.RESNETS.RES2_OUT_CHANNELS"]
    if keys["MODEL.BACKBONE.NAME"] in _BACKBONES and depth in (18, 34) and channels != 64:
        yield f"MODEL.RESNETS.DEPTH={depth} needs MODEL.RESNETS.RES2_OUT_CHANNELS=64, not {channels}."


def _heads(keys: Keys) -> Iterator[str]:
    if keys["MODEL.META_ARCHITECTURE"] not in WITH_HEADS:
        return
    heads, features = keys["MODEL.ROI_HEADS.NAME"], keys["MODEL.ROI_HEADS.IN_FEATURES"]
    if heads == "Res5ROIHeads" and len(features) != 1:
        yield f"MODEL.ROI_HEADS.NAME={heads} takes one feature, but MODEL.ROI_HEADS.IN_FEATURES names {len(features)}."
    if heads == "Res5ROIHeads" and keys["MODEL.KEYPOINT_ON"]:
        yield f"MODEL.ROI_HEADS.NAME={heads} has no keypoints. Set MODEL.ROI_HEADS.NAME=StandardROIHeads, with an FPN."
    if heads == "CascadeROIHeads":
        yield from _cascade(keys)


def _cascade(keys: Keys) -> Iterator[str]:
    node = "MODEL.ROI_BOX_CASCADE_HEAD"
    weights, ious = keys[f"{node}.BBOX_REG_WEIGHTS"], keys[f"{node}.IOUS"]
    if len(weights) != len(ious):
        yield (
            f"{node}.BBOX_REG_WEIGHTS has {len(weights)} entries and {node}.IOUS {len(ious)}. Give one each per stage."
        )
    if not keys["MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG"]:
        yield "MODEL.ROI_HEADS.NAME=CascadeROIHeads needs MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG=True."
    first = keys["MODEL.ROI_HEADS.IOU_THRESHOLDS"]
    if list(ious[:1]) != list(first[:1]):
        yield f"{node}.IOUS begins with {ious[:1]}, but MODEL.ROI_HEADS.IOU_THRESHOLDS={first}. Both must begin alike."


_CHECKS: tuple[Callable[[Keys], Iterator[str]], ...] = (_anchors, _features, _pixels, _sizes, _resnet, _heads)
