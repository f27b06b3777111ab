"""Reading what a request asks for where a setting does not say it by itself: device, count, data sets, time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from launcher.config.keys import Keys
from launcher.config.request import (
    DatasetKind,
    DatasetRequest,
    DeviceChoice,
    DeviceRequest,
    OwnCode,
    RunRequest,
    SplitRequest,
)


def has_own_code(request: RunRequest) -> bool:
    """Whether code of a user's own may add to what detectron2 has."""
    return request.own_code != OwnCode()


# Devices


def choice_of(asked: DeviceRequest, keys: Keys) -> DeviceChoice:
    """`auto` gives way to a MODEL.DEVICE that is not detectron2's default."""
    device = keys.get("MODEL.DEVICE", "cuda")
    if asked.choice is DeviceChoice.auto and device in ("cpu", "mps"):
        return DeviceChoice(device)
    return asked.choice


def count_of(asked: DeviceRequest) -> int | None:
    """The number asked for; None for `all` and for what is not a number."""
    text = str(asked.count)
    return int(text) if text.isascii() and text.isdigit() and int(text) > 0 else None


def listed(ids: Sequence[Any]) -> str:
    """As people type a list."""
    return "[" + ",".join(map(str, ids)) + "]"


def named_twice(asked: DeviceRequest) -> str:
    return f"device.ids={listed(asked.ids)} names a GPU twice. Name each GPU once."


# Data sets


def coco_splits(dataset: DatasetRequest) -> tuple[tuple[str, str, SplitRequest], ...]:
    """(split, registered name, request) of a `coco_json` data set, nothing for other kinds."""
    if dataset.kind is not DatasetKind.coco_json:
        return ()
    return (("train", f"{dataset.name}_train", dataset.train), ("val", f"{dataset.name}_val", dataset.val))


def names_in(keys: Keys, part: str) -> tuple[str, ...]:
    """DATASETS.TRAIN or DATASETS.TEST; detectron2 also takes a single name that is no list."""
    names = keys[f"DATASETS.{part}"]
    return (names,) if isinstance(names, str) else tuple(names or ())


def is_named(split: SplitRequest) -> bool:
    """Whether anything is said about a split; a `coco_json` data set may do without val."""
    return bool(split.json or split.images)


def evaluated_on(dataset: DatasetRequest, keys: Keys) -> tuple[str, ...]:
    """DATASETS.TEST without the val split of a `coco_json` data set that has none."""
    absent = [name for split, name, asked in coco_splits(dataset) if split == "val" and not is_named(asked)]
    return tuple(name for name in names_in(keys, "TEST") if name not in absent)


# Time


def time_limit_s(text: object) -> float | None:
    """Seconds of a time limit as Slurm's `--time` writes it: minutes, M:S, H:M:S, D-H, D-H:M or D-H:M:S.

    None where it is no such time; 0 for none.
    """
    text = str(text).strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", text):
        return float(text) * 60
    found = re.fullmatch(r"(?:(\d{1,9})-)?(\d{1,9})(?::(\d{1,9}))?(?::(\d{1,9}))?", text)
    if found is None:
        return None
    days, *rest = found.groups()
    numbers = [int(number) for number in rest if number is not None]
    if days is None and len(numbers) == 2:  # M:S, but H:M after days
        numbers = [0, *numbers]
    hours, minutes, seconds = [*numbers, 0, 0][:3]
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60.0 + seconds
