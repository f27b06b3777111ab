"""What a run will train and evaluate on. Decides only: reads nothing, imports no detectron2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from launcher.config.adjustment import Adjustment, look_up
from launcher.config.request import DatasetRequest, RunRequest
from launcher.data.checks import (
    class_count,
    existing_class_count_keys,
    notices_about,
    problems_with,
    wrong_settings,
)
from launcher.data.coco_file import CocoFacts
from launcher.data.facts import DatasetFacts, absolute, names_in
from launcher.errors import DataError, RequestError


@dataclass(frozen=True, kw_only=True)
class CocoSplit:
    """One COCO-format file that the worker registers under a name."""

    name: str
    json: str
    """Absolute, like `images`: the worker may run in another folder."""
    images: str
    keypoint_names: tuple[str, ...] = ()
    keypoint_flip_map: tuple[tuple[str, str], ...] = ()
    """Which keypoints change places in a mirrored image."""


@dataclass(frozen=True, kw_only=True)
class DatasetPlan:
    """What one run trains and evaluates on."""

    splits: tuple[CocoSplit, ...]
    """To be registered by the worker; detectron2's own data sets need none."""
    environment: Mapping[str, str]
    """Set in the worker's environment."""
    adjustments: tuple[Adjustment, ...]
    notices: tuple[str, ...]
    num_train_images: int | None
    """Images that training will see, where it is known."""
    class_names: tuple[str, ...]
    """In detectron2's order, where they are known."""
    train_checksum: int = 0
    """Of the annotations to train on; 0 where they were not read."""


def plan_dataset(request: RunRequest, facts: DatasetFacts) -> DatasetPlan:
    """What to register, and which settings follow from the data.

    Raises:
        RequestError: settings that name the data are missing.
        DataError: the data is missing, unreadable or contradicts the configuration; every problem is listed.
    """
    if wrong := wrong_settings(request):
        raise RequestError(_as_list("The data set is not fully named", wrong))
    if problems := problems_with(request, facts):
        raise DataError(_as_list("The data set cannot be used", problems))

    train = next((coco for coco in facts.coco if coco.split == "train"), None)
    return DatasetPlan(
        splits=tuple(_split(coco) for coco in facts.coco),
        environment=data_environment(request.dataset),
        adjustments=tuple(_adjustments(request, facts, train)),
        notices=(*notices_about(facts, request.detectron2), *_mirror_notices(request, train)),
        train_checksum=train.checksum if train else 0,
        num_train_images=_num_train_images(request, train),
        class_names=train.class_names if train else (),
    )


def data_environment(asked: DatasetRequest) -> dict[str, str]:
    """What detectron2 reads when it is imported."""
    return {"DETECTRON2_DATASETS": str(absolute(asked.root))}


def _as_list(title: str, problems: Sequence[str]) -> str:
    if len(problems) == 1:
        return f"{title}: {problems[0]}."
    return f"{title}, {len(problems)} problems:" + "".join(f"\n  - {problem}." for problem in problems)


def _split(coco: CocoFacts) -> CocoSplit:
    return CocoSplit(
        name=coco.name,
        json=coco.json,
        images=coco.images,
        keypoint_names=coco.keypoint_names,
        keypoint_flip_map=_flip_map(coco.keypoint_names),
    )


def _flip_map(keypoint_names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Pairs such as (left_eye, right_eye) or (Left eye, Right eye)."""
    names = {name.lower(): name for name in keypoint_names}
    pairs = ((name, lower.replace("left", "right")) for lower, name in names.items() if "left" in lower)
    return tuple((name, names[right]) for name, right in pairs if right in names)


def _mirror_notices(request: RunRequest, train: CocoFacts | None) -> list[str]:
    keys = request.detectron2
    if train is None or len(train.keypoint_names) < 2 or _flip_map(train.keypoint_names):
        return []
    if not look_up(keys, "MODEL.KEYPOINT_ON") or look_up(keys, "INPUT.RANDOM_FLIP") != "horizontal":
        return []
    return [
        f"images are mirrored, and no two keypoints of dataset.train.json ({', '.join(train.keypoint_names)}) are "
        "named as `left` and `right` of the same, so none change places. If some should, name them so, "
        "or set INPUT.RANDOM_FLIP=none"
    ]


def _adjustments(request: RunRequest, facts: DatasetFacts, train: CocoFacts | None) -> list[Adjustment]:
    keys = request.detectron2
    adjustments = _class_counts(request, facts)
    if train is None:
        return adjustments

    if train.num_with_rle and look_up(keys, "MODEL.MASK_ON"):
        reason = f"{train.num_with_rle} masks of dataset.train.json are run-length encoded, which `polygon` cannot hold"
        adjustments += _set("INPUT.MASK_FORMAT", "bitmask", keys, reason)
    if train.keypoint_names and look_up(keys, "MODEL.KEYPOINT_ON"):
        setting, number = "MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS", len(train.keypoint_names)
        adjustments += _set(setting, number, keys, "dataset.train.json names that many keypoints")
    if not request.dataset.val.json:
        test = [name for name in names_in(keys, "TEST") if name != f"{request.dataset.name}_val"]
        adjustments += _set(
            "DATASETS.TEST", test, keys, "dataset.val.json is not set, so there is nothing to evaluate on"
        )
    return adjustments


def _class_counts(request: RunRequest, facts: DatasetFacts) -> list[Adjustment]:
    count = class_count(request, facts)
    if count is None:
        return []
    reason = f"{', '.join(names_in(request.detectron2, 'TRAIN'))} has {count} classes"
    adjustments: list[Adjustment] = []
    for key in existing_class_count_keys(request.detectron2):
        adjustments += _set(key, count, request.detectron2, reason)
    return adjustments


def _set(setting: str, planned: Any, keys: Mapping[str, Any], reason: str) -> list[Adjustment]:
    """One adjustment, or none where the value is as planned already."""
    asked = look_up(keys, setting)
    if asked == planned:
        return []
    return [Adjustment(setting=setting, asked=asked, planned=planned, reason=reason)]


def _num_train_images(request: RunRequest, train: CocoFacts | None) -> int | None:
    if train is None or names_in(request.detectron2, "TRAIN") != (train.name,):
        return None
    leaves_out = look_up(request.detectron2, "DATALOADER.FILTER_EMPTY_ANNOTATIONS")
    return train.num_images_with_objects if leaves_out else train.num_images
