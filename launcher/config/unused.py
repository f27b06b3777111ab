"""Settings that were given and will not be used, because the option that they belong to was not chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from launcher.config.asked import coco_splits, is_named, listed, names_in
from launcher.config.known_datasets import find_registered
from launcher.config.readers import READABLE, SCHEDULER, Readable, is_below
from launcher.config.request import (
    CheckpointSettings,
    DatasetKind,
    DeviceChoice,
    DeviceRequest,
    EarlyStoppingSettings,
    Precision,
    RunRequest,
    SplitRequest,
)
from launcher.config.task import TrainRequest

COSINE = "WarmupCosineLR"
AUGMENTED = "TEST.AUG.ENABLED"
_TRAIN_NET = "detectron2's own tools/train_net.py, which looks at it after the training"
Used = Callable[[RunRequest], bool]


@dataclass(frozen=True, kw_only=True)
class Dependent:
    """Settings that have an effect only with another one."""

    names: tuple[str, ...]
    """Settings, or nodes of them."""
    used: Used
    needs: str
    """What to type for them to have an effect."""
    is_refused: bool = False
    """Whoever types one relies on it: without it the training is another one than was meant."""


def wrong_kind_of_data(request: RunRequest) -> Iterator[str]:
    """Files of one's own that would not be trained on."""
    dataset = request.dataset
    named = [f"dataset.{name}" for name, split in _splits(request) if is_named(split)]
    if dataset.kind is not DatasetKind.coco_json and named:
        yield (
            f"{' and '.join(named)} {'are' if len(named) > 1 else 'is'} set, but the data sets are detectron2's own "
            f"({', '.join(names_in(request.keys, 'TRAIN')) or 'none'}). Add dataset=coco_json to train on your files."
        )
    trained = names_in(request.keys, "TRAIN")
    # Names that nobody knows are refused with the data.
    if not all(find_registered(name) for name in trained):
        return
    for split, name, asked in coco_splits(dataset):
        if split == "train" and is_named(asked) and trained:
            yield (
                f"dataset.train is set, but DATASETS.TRAIN={listed(trained)} does not name it. "
                f"Set DATASETS.TRAIN=[{name}], or leave dataset.train out."
            )


def typed_without_effect(request: RunRequest) -> Iterator[str]:
    """What was typed and is relied on, but does nothing."""
    for dependent in DEPENDENT:
        names = _typed(dependent, request)
        if dependent.is_refused and names and not dependent.used(request):
            yield f"{', '.join(names)} has no effect. Add {dependent.needs}, or leave it out."


def notices_of_unused(request: RunRequest) -> Iterator[str]:
    """What was typed, or a file of one's own sets, and does nothing; harmless."""
    yield from _not_augmented(request)
    named: set[str] = set()
    for dependent in DEPENDENT:
        if dependent.used(request):
            continue
        typed = () if dependent.is_refused else _typed(dependent, request)
        if names := [name for name in dict.fromkeys((*typed, *_changed(dependent, request))) if name not in named]:
            yield f"{', '.join(names)} has no effect without {dependent.needs}"
        named.update(names)
    if "solver=cosine" in request.typed.overrides and (scheduler := request.keys.get(SCHEDULER, "")) != COSINE:
        yield f"solver=cosine has no effect beside {SCHEDULER}={scheduler}"


def _not_augmented(request: RunRequest) -> Iterator[str]:
    """Whoever set it: a file, an earlier run or the command line."""
    if request.keys.get(AUGMENTED, False):
        unless = " unless your own code reads it" if _has_own_code(request) else ""
        yield (
            f"{AUGMENTED}=True has no effect{unless}: evaluations and predictions use each image once, neither flipped "
            "nor in other sizes. detectron2's tools/train_net.py evaluates a second time with it, after the training"
        )


def _has_own_code(request: RunRequest) -> bool:
    return bool(request.own_code.trainer or request.own_code.imports)


def _typed(dependent: Dependent, request: RunRequest) -> tuple[str, ...]:
    keys = (override.lstrip("+").partition("=")[0] for override in request.typed.overrides)
    found = (key for key in keys if is_below(key, dependent.names))
    switch = dependent.needs.partition("=")[0]
    return tuple(dict.fromkeys(key for key in found if key != switch))


def _changed(dependent: Dependent, request: RunRequest) -> Iterator[str]:
    """Of the launcher's own settings; detectron2's recipes set many a key that their model does not read."""
    for name in dependent.names:
        section, _, setting = name.partition(".")
        if section in _DEFAULTS and getattr(getattr(request, section), setting) != getattr(_DEFAULTS[section], setting):
            yield name


_DEFAULTS: dict[str, Any] = {
    "device": DeviceRequest(),
    "checkpoint": CheckpointSettings(),
    "early_stopping": EarlyStoppingSettings(),
}


def _splits(request: RunRequest) -> tuple[tuple[str, SplitRequest], ...]:
    return (("train", request.dataset.train), ("val", request.dataset.val))


def _as_dependent(one: Readable) -> Dependent:
    return Dependent(names=one.names, used=lambda request: one.holds(request.keys), needs=one.needs)


DEPENDENT = (
    Dependent(
        names=("early_stopping.patience", "early_stopping.min_delta", "early_stopping.mode"),
        used=lambda request: bool(request.early_stopping.metric),
        needs="early_stopping.metric=bbox/AP",
        is_refused=True,
    ),
    Dependent(
        names=("checkpoint.best_mode",),
        used=lambda request: bool(request.checkpoint.keep_best),
        needs="checkpoint.keep_best=bbox/AP",
        is_refused=True,
    ),
    Dependent(
        names=("device.precision",),
        used=lambda request: bool(
            request.device.precision is Precision.auto
            or request.keys.get("SOLVER.AMP.ENABLED", False)
            or not isinstance(request.task, TrainRequest)
        ),
        needs="SOLVER.AMP.ENABLED=True",
        is_refused=True,
    ),
    Dependent(
        names=("dataset.name", "dataset.val.fraction"),
        used=lambda request: request.dataset.kind is DatasetKind.coco_json,
        needs="dataset=coco_json",
        is_refused=True,
    ),
    Dependent(
        names=("dataset.val.seed",),
        used=lambda request: request.dataset.val.fraction > 0,
        needs="dataset.val.fraction=0.2",
        is_refused=True,
    ),
    Dependent(
        names=("device.min_free_gib", "device.max_used", "device.share", "device.on_missing"),
        used=lambda request: request.device.choice is not DeviceChoice.cpu,
        needs="device=cuda or device=auto",
    ),
    Dependent(
        names=("TEST.AUG",),
        # Where it is on, `_not_augmented` has said it already.
        used=lambda request: _has_own_code(request) or bool(request.keys.get(AUGMENTED, False)),
        needs=_TRAIN_NET,
    ),
    Dependent(names=("TEST.EXPECTED_RESULTS",), used=_has_own_code, needs=_TRAIN_NET),
    Dependent(names=("pool", "sweep", "search"), used=lambda request: request.typed.in_sweep, needs="-m"),
    Dependent(
        names=("cluster.max_parallel", "cluster.detach"),
        used=lambda request: request.typed.in_sweep,
        needs="-m hydra/launcher=slurm_array",
        is_refused=True,
    ),
    *map(_as_dependent, READABLE),
)
