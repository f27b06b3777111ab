"""What a run is called: names that people recognise, the same for the same command. Pure: looks at no disk.

A folder is `<experiment, or model and data set>/<settings that matter>`, such as `coco/BASE_LR=0.01,IMS_PER_BATCH=4` or
`mask_rcnn_R_50_FPN_3x-fruits/default`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from launcher.config.asked import names_in
from launcher.config.keys import Keys
from launcher.config.places import PATHS
from launcher.config.request import DatasetKind, RunRequest

LONGEST_NAME = 80
UNNAMED = "custom"
"""The name of a `coco_json` data set to which nobody gave one (configs/dataset/coco_json.yaml)."""
# What files and folders are called whatever they hold: instances_train2017.json, _annotations.coco.json.
_SAYS_NOTHING = re.compile(
    r"(train(ing|val)?|val(id|idation)?|test|instances|annotations?|labels?|images?|imgs?|coco|json|data(set)?s?)?\d*",
    re.IGNORECASE,
)
_NUMBER = r"[-+]?[\d.]+[eE][-+]?\d+"


class _Loss(Enum):
    """What a name does not say of a setting."""

    nothing = "nothing"
    place = "place"
    """Of a path, or of a model, only the last part is said; which is enough as long as no other run is called so."""
    content = "content"


@dataclass(frozen=True, kw_only=True)
class _Part:
    text: str
    """Empty where the group's name says it."""
    loss: _Loss


@dataclass(frozen=True, kw_only=True)
class Name:
    """Of a run, within its group."""

    text: str
    is_complete: bool
    """No other settings give the same name."""
    digest: str
    """Of the settings."""


def group_of(request: RunRequest) -> str:
    """The experiment, or the model's short name and the data set's."""
    if request.typed.experiment:
        return request.typed.experiment
    return group_named(model_of(request), data_of(request))


def group_named(model: str, data: str) -> str:
    """The group of runs of that model on that data set."""
    return as_file_name(f"{model}-{data}")[:LONGEST_NAME].rstrip("-_.") or "run"


def name_of(settings: Mapping[str, str], request: RunRequest, *, is_in_group: bool | None = None) -> Name:
    """The name that these settings, as they were typed, give a run of that request.

    Model and data set are left out of it where the group that it `is_in_group` is named after them, which that of an
    experiment is not.
    """
    said = not request.typed.experiment if is_in_group is None else is_in_group
    parts = [_part_of(key, settings[key], request, is_in_group=said) for key in sorted(settings)]
    text, digest = ",".join(dict.fromkeys(part.text for part in parts if part.text)) or "default", digest_of(settings)
    losses = {part.loss for part in parts}
    if len(text) > LONGEST_NAME or _Loss.content in losses:
        return Name(text=f"{text[:LONGEST_NAME].rstrip('+_,=.-')}-{digest}", is_complete=True, digest=digest)
    return Name(text=text, is_complete=_Loss.place not in losses, digest=digest)


def digest_of(settings: Mapping[str, str]) -> str:
    """A short name for settings, the same in any order."""
    return hashlib.sha256("\n".join(f"{key}={settings[key]}" for key in sorted(settings)).encode()).hexdigest()[:8]


def shortest_key(key: str, keys: Keys) -> str:
    """`BASE_LR` of `SOLVER.BASE_LR`: the fewest last parts that no other of detectron2's keys is or ends with."""
    parts = key.split(".")
    others = [name for name in _names_in(keys) if name != key]
    for first in range(len(parts) - 1, 0, -1):
        short = ".".join(parts[first:])
        if key[:1].isupper() and not any(f".{name}".endswith(f".{short}") for name in others):
            return short
    return key


def _part_of(key: str, value: str, request: RunRequest, *, is_in_group: bool) -> _Part:
    if key == "model":
        return _Part(text="" if is_in_group else f"model={model_of(request)}", loss=_Loss.place)
    if key.partition(".")[0] == "dataset":
        is_said = is_in_group and key in ("dataset", "dataset.name")
        text = "" if is_in_group else f"dataset={as_file_name(data_of(request))}"
        return _Part(text=text, loss=_Loss.nothing if is_said else _Loss.place)
    return _setting(shortest_key(key, request.keys), value, is_path=key in PATHS or "/" in value)


def _setting(key: str, typed: str, *, is_path: bool) -> _Part:
    value = re.sub(r"""^(["'])(.*)\1$""", r"\2", typed.strip())
    if is_path and value:
        return _Part(text=f"{key}={as_file_name(Path(value).stem)}", loss=_Loss.place)
    spelled = "+".join(value[1:-1].replace(" ", "").split(",")) if re.fullmatch(r"\[[\w.,\s-]*\]", value) else value
    text = as_file_name(spelled)
    is_whole = text == spelled and ("+" not in value or re.fullmatch(_NUMBER, value) is not None)
    return _Part(text=f"{key}={text or 'none'}", loss=_Loss.nothing if is_whole else _Loss.content)


def model_of(request: RunRequest) -> str:
    """`faster_rcnn_R_50_FPN_1x` of the zoo's, the architecture of others."""
    chosen = [match[1] for text in request.typed.overrides if (match := re.fullmatch(r"\+{0,2}model=(.+)", text))]
    if chosen:
        return re.split("/|__", chosen[-1].removesuffix(".yaml"))[-1]
    return str(request.keys.get("MODEL.META_ARCHITECTURE", "model"))


def data_of(request: RunRequest) -> str:
    """The name that was given, that of the preset, or one made of the place of its files."""
    if request.dataset.kind is DatasetKind.coco_json:
        return _name_by_place(request.dataset.train.json) if request.dataset.name == UNNAMED else request.dataset.name
    chosen = [match[1] for text in request.typed.overrides if (match := re.fullmatch(r"\+{0,2}dataset=(.+)", text))]
    if chosen:
        return chosen[-1]
    named = names_in(request.keys, "TRAIN") if "DATASETS.TRAIN" in request.keys else ()
    return "+".join(re.sub(r"_train(val)?$", "", name) for name in named) or "data"


def _name_by_place(file: str) -> str:
    """`fruits` of `fruits/annotations/instances_train.json` and of `fruits_train.json`."""
    place = Path(file).absolute()
    for name in (place.stem, *(folder.name for folder in place.parents)):
        if said := [word for word in re.split(r"[^A-Za-z0-9]+", name) if not _SAYS_NOTHING.fullmatch(word)]:
            return "_".join(said)
    return UNNAMED


def as_file_name(text: str) -> str:
    """Only with characters that need no quotes in a shell."""
    return re.sub(r"[^A-Za-z0-9._+-]+", "_", text).strip("_")


def _names_in(keys: Keys) -> set[str]:
    """Every key, and every node above one."""
    parts = (name.split(".") for name, _ in keys.leaves())
    return {".".join(path[:length]) for path in parts for length in range(1, len(path) + 1)}
