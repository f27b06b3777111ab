"""What a run will train and evaluate on. Decides only: reads nothing, imports no detectron2."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from launcher.config.adjustment import Adjustment
from launcher.config.asked import evaluated_on, names_in
from launcher.config.keys import Keys
from launcher.config.request import DatasetRequest, RunRequest
from launcher.data.checks import (
    class_count,
    existing_class_count_keys,
    findings_about,
    own_classes,
    setting_of,
)
from launcher.data.coco_file import CocoFacts, FileFacts
from launcher.data.facts import DatasetFacts, absolute
from launcher.data.finding import Severity, sentences
from launcher.data.index.store import IndexFacts
from launcher.data.portion import Portion
from launcher.data.tally import printable
from launcher.errors import DataError


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
    index: IndexFacts | None = None
    """What is opened in place of the file; None where the file is read."""
    portion: Portion | None = None
    """The part of the file that this split is; None for all of it."""


@dataclass(frozen=True, kw_only=True)
class DataContent:
    """What a data set holds whose annotations were read."""

    name: str
    num_images: int
    num_annotated: int
    """Images with objects."""
    num_objects: int
    images_per_class: Mapping[str, int]
    """In the order of the classes."""


@dataclass(frozen=True, kw_only=True)
class DatasetPlan:
    """What one run trains and evaluates on."""

    splits: tuple[CocoSplit, ...]
    """To be registered by the worker; detectron2's own data sets need none."""
    indexes: Mapping[str, IndexFacts]
    """Of data sets that detectron2 registers, by name."""
    environment: Mapping[str, str]
    """Set in the worker's environment."""
    adjustments: tuple[Adjustment, ...]
    notices: tuple[str, ...]
    train_checksum: int
    """Of the annotations to train on; 0 where they were not read."""
    val_checksum: int
    """Of the annotations to evaluate with; 0 where there are none, or they were not read."""
    contents: tuple[DataContent, ...]
    """Of the data sets whose annotations were read."""
    own_classes: Mapping[str, tuple[str, ...]]
    """Of data sets that the user's code registers, the classes that this plan was made for."""


def plan_dataset(request: RunRequest, facts: DatasetFacts) -> DatasetPlan:
    """What to register, and which settings follow from the data.

    Raises:
        DataError: the data is missing, unreadable or contradicts the configuration; every problem is listed.
    """
    findings = findings_about(request, facts)
    if errors := [finding for finding in findings if finding.severity is Severity.error]:
        raise DataError(_as_list("The data set cannot be used", [printable(text) for text in sentences(errors)]))

    train, val = (next((coco for coco in facts.coco if coco.split == split), None) for split in ("train", "val"))
    notices = (
        *request.found.notes,
        *_portion_notices(facts),
        *sentences(findings),
        *_mirror_notices(request, train),
        *_index_notices(facts),
    )
    return DatasetPlan(
        splits=tuple(_split(coco, facts.indexes.get(coco.name)) for coco in facts.coco),
        indexes={one.name: facts.indexes[one.name] for one in facts.registered if one.name in facts.indexes},
        environment=data_environment(request.dataset),
        adjustments=tuple(_adjustments(request, facts, train)),
        notices=tuple(map(printable, notices)),
        train_checksum=train.checksum if train else 0,
        val_checksum=val.checksum if val else 0,
        contents=tuple(_contents_of(facts, request.keys)),
        own_classes=own_classes(facts),
    )


def without_data(request: RunRequest) -> DatasetPlan:
    """For what needs no data set."""
    return DatasetPlan(
        splits=(),
        indexes={},
        environment=data_environment(request.dataset),
        adjustments=(),
        notices=(),
        train_checksum=0,
        val_checksum=0,
        contents=(),
        own_classes={},
    )


def _contents_of(facts: DatasetFacts, keys: Keys) -> Iterator[DataContent]:
    read: dict[str, CocoFacts | FileFacts] = {coco.name: coco for coco in facts.coco if not coco.unreadable}
    read |= facts.registered_files
    for name in dict.fromkeys((*names_in(keys, "TRAIN"), *names_in(keys, "TEST"))):
        if (file := read.get(name)) is not None:
            names = [one for _, one in file.categories]
            yield DataContent(
                name=name,
                num_images=file.num_images,
                num_annotated=file.objects.num_images,
                num_objects=file.objects.num,
                images_per_class=dict(zip(names, (images for _, images in file.objects.per_class), strict=False)),
            )


def data_environment(asked: DatasetRequest) -> dict[str, str]:
    """What detectron2 reads when it is imported."""
    return {"DETECTRON2_DATASETS": str(absolute(asked.root))}


def _as_list(title: str, problems: Sequence[str]) -> str:
    if len(problems) == 1:
        return f"{title}: {problems[0]}."
    return f"{title}, {len(problems)} problems:" + "".join(f"\n  - {problem}." for problem in problems)


def _split(coco: CocoFacts, index: IndexFacts | None) -> CocoSplit:
    return CocoSplit(
        name=coco.name,
        json=coco.json,
        images=coco.images,
        keypoint_names=coco.keypoint_names,
        keypoint_flip_map=_flip_map(coco.keypoint_names),
        index=index,
        portion=coco.portion,
    )


def _flip_map(keypoint_names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Pairs such as (left_eye, right_eye) or (Left eye, Right eye)."""
    names = {name.lower(): name for name in keypoint_names}
    pairs = ((name, lower.replace("left", "right")) for lower, name in names.items() if "left" in lower)
    return tuple((name, names[right]) for name, right in pairs if right in names)


def _portion_notices(facts: DatasetFacts) -> Iterator[str]:
    parts = {coco.split: coco for coco in facts.coco}
    val, train = parts.get("val"), parts.get("train")
    if val is not None and val.portion is not None:
        total = f" of {val.num_images + train.num_images}" if train else ""
        yield (
            f"{val.num_images}{total} images of {val.json} are for validation "
            f"(dataset.val.fraction={val.portion.fraction:g} dataset.val.seed={val.portion.seed})"
        )


def _index_notices(facts: DatasetFacts) -> list[str]:
    whys = ((coco, facts.indexes[coco.name].unusable) for coco in facts.coco if coco.name in facts.indexes)
    return [
        f"{setting_of(coco)}: every process reads its annotations into memory, because they cannot be opened by an "
        f"index ({why})"
        for coco, why in whys
        if why and not coco.unreadable
    ]


def _mirror_notices(request: RunRequest, train: CocoFacts | None) -> list[str]:
    keys = request.keys
    if train is None or len(train.keypoint_names) < 2 or _flip_map(train.keypoint_names):
        return []
    if not keys["MODEL.KEYPOINT_ON"] or keys["INPUT.RANDOM_FLIP"] != "horizontal":
        return []
    return [
        f"images are mirrored, and no two keypoints of dataset.train.json ({', '.join(train.keypoint_names)}) are "
        "named as `left` and `right` of the same, so none change places. If some should, name them so, "
        "or set INPUT.RANDOM_FLIP=none"
    ]


def _adjustments(request: RunRequest, facts: DatasetFacts, train: CocoFacts | None) -> list[Adjustment]:
    keys = request.keys
    adjustments = _class_counts(request, facts)
    if (test := evaluated_on(request.dataset, keys)) != names_in(keys, "TEST"):
        reason = "dataset.val.json is not set, so there is nothing to evaluate on"
        adjustments += _set("DATASETS.TEST", list(test), keys, reason)
    if train is None:
        return adjustments

    num_with_rle = train.objects.num_with_rle
    if num_with_rle and keys["MODEL.MASK_ON"]:
        reason = f"{num_with_rle} masks of dataset.train.json are run-length encoded, which `polygon` cannot hold"
        adjustments += _set("INPUT.MASK_FORMAT", "bitmask", keys, reason)
    if train.keypoint_names and keys["MODEL.KEYPOINT_ON"]:
        setting, number = "MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS", len(train.keypoint_names)
        adjustments += _set(setting, number, keys, "dataset.train.json names that many keypoints")
    return adjustments


def _class_counts(request: RunRequest, facts: DatasetFacts) -> list[Adjustment]:
    count = class_count(request, facts)
    if count is None:
        return []
    reason = f"{', '.join(names_in(request.keys, 'TRAIN'))} has {count} classes"
    adjustments: list[Adjustment] = []
    for key in existing_class_count_keys(request.keys):
        adjustments += _set(key, count, request.keys, reason)
    return adjustments


def _set(setting: str, planned: Any, keys: Keys, reason: str) -> list[Adjustment]:
    """One adjustment, or none where the value is as planned already."""
    asked = keys[setting]
    if asked == planned:
        return []
    return [Adjustment(setting=setting, asked=asked, planned=planned, reason=reason)]
