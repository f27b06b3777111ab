"""Which metrics an evaluation will give, known from the request before anything is trained."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from launcher.config.asked import coco_splits, evaluated_on, has_own_code
from launcher.config.keys import Keys
from launcher.config.request import RunRequest

_AP = ("AP", "AP50", "AP75")
_BY_SIZE = ("APs", "APm", "APl")
_BY_FREQUENCY = ("APr", "APc", "APf")
_RECALL = tuple(f"AR{size}@{limit}" for limit in (100, 1000) for size in ("", "s", "m", "l"))
_SEMANTIC = ("mIoU", "fwIoU", "mACC", "pACC")
_PANOPTIC = tuple(f"{quality}{part}" for part in ("", "_th", "_st") for quality in ("PQ", "SQ", "RQ"))
PER_CLASS = {"bbox": ("AP-",), "segm": ("AP-",), "sem_seg": ("IoU-", "ACC-", "BoundaryIoU-")}
"""Beginnings of the metrics that there are for each class, by task."""
KNOWN_ARCHITECTURES = ("GeneralizedRCNN", "RetinaNet", "FCOS", "ProposalNetwork", "PanopticFPN", "SemanticSegmentor")


def metric_problem(setting: str, metric: str, request: RunRequest) -> str:
    """Why the evaluation will never give this metric; empty where it does, or where that is not known."""
    by_set = {name: metrics_on(name, request) for name in evaluated_on(request.dataset, request.keys)}
    if has_own_code(request) or not by_set or any(names is None for names in by_set.values()):
        return ""
    several = len(by_set) > 1
    known = [f"{name}/{one}" if several else one for name, names in by_set.items() for one in names or ()]
    if any(_is_metric(metric, one) for one in known):
        return ""
    shown = [one for one in known if not one.endswith("-")]
    near = _nearest(metric, shown)
    reason = "of several data sets in DATASETS.TEST each has metrics of its own" if several else "no such metric"
    return (
        f"{setting}={metric}: {reason}; the evaluation gives {', '.join(_shortened(shown))}. "
        f"Set {setting}={near[0] if near else shown[0]}."
    )


def metrics_on(dataset: str, request: RunRequest) -> tuple[str, ...] | None:
    """The metrics on a data set, `bbox/AP` and the like, `bbox/AP-` for those of classes; None where not known."""
    kind = _kind_of(dataset, request)
    if kind is None or request.keys.get("MODEL.META_ARCHITECTURE", "") not in KNOWN_ARCHITECTURES:
        return None
    return tuple(f"{task}/{name}" for task, names in _metrics_by_task(kind, request.keys) for name in names)


def _kind_of(dataset: str, request: RunRequest) -> str | None:
    if dataset in [name for _, name, _ in coco_splits(request.dataset)]:
        return "coco"
    kinds = {
        r"coco_2017_\w+_panoptic(_separated)?": "coco_panoptic",
        r"coco_2017_\w+_panoptic_stuffonly|ade20k_.*": "semantic",
        r"(keypoints_)?coco_201[47]_.*": "coco",
        r"lvis_.*": "lvis",
        r"voc_.*": "voc",
        r"cityscapes_fine_instance_seg_.*": "cityscapes",
        r"cityscapes_fine_sem_seg_.*": "cityscapes_semantic",
    }
    return next((kind for pattern, kind in kinds.items() if re.fullmatch(pattern, dataset)), None)


def _metrics_by_task(kind: str, keys: Keys) -> Iterator[tuple[str, tuple[str, ...]]]:
    architecture = keys["MODEL.META_ARCHITECTURE"]
    has_semantics = architecture in ("PanopticFPN", "SemanticSegmentor")
    if kind in ("semantic", "coco_panoptic") and has_semantics:
        yield "sem_seg", (*_SEMANTIC, *PER_CLASS["sem_seg"])
    if kind == "cityscapes_semantic" and has_semantics:
        yield "sem_seg", ("IoU", "iIoU", "IoU_sup", "iIoU_sup")
    if kind == "coco_panoptic" and architecture == "PanopticFPN":
        yield "panoptic_seg", _PANOPTIC
    if architecture == "ProposalNetwork" and kind in ("coco", "lvis", "coco_panoptic"):
        yield "box_proposals", _RECALL
    elif architecture != "SemanticSegmentor":
        yield from _of_instances(kind, keys, architecture)


def _of_instances(kind: str, keys: Keys, architecture: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    has_heads = architecture in ("GeneralizedRCNN", "PanopticFPN")
    has_masks = has_heads and keys.get("MODEL.MASK_ON", False)
    if kind == "voc":
        yield "bbox", _AP
    elif kind == "cityscapes":
        yield "segm", ("AP", "AP50")
    elif kind == "lvis":
        for task in ("bbox", *(["segm"] if has_masks else [])):
            yield task, (*_AP, *_BY_SIZE, *_BY_FREQUENCY)
    elif kind in ("coco", "coco_panoptic"):
        for task in ("bbox", *(["segm"] if has_masks else [])):
            yield task, (*_AP, *_BY_SIZE, *PER_CLASS[task])
        if has_heads and keys.get("MODEL.KEYPOINT_ON", False):
            yield "keypoints", (*_AP, "APm", "APl")


def _is_metric(typed: str, known: str) -> bool:
    return typed.startswith(known) and len(typed) > len(known) if known.endswith("-") else typed == known


def _nearest(typed: str, known: list[str]) -> list[str]:
    """Which were meant: the same with another separator, the same at the end, or nearly the same."""
    folded = re.sub(r"[^a-z0-9]", "", typed.casefold())
    plain = {one: re.sub(r"[^a-z0-9]", "", one.casefold()) for one in known}
    same = [one for one, text in plain.items() if text == folded]
    ending = [one for one, text in plain.items() if folded and text.endswith(folded)]
    return list(dict.fromkeys([*same, *ending, *get_close_matches(typed, known, n=1)]))


def _shortened(names: Iterable[str], limit: int = 8) -> list[str]:
    first = list(names)
    return [*first[:limit], *(["..."] if len(first) > limit else [])]
