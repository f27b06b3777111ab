"""Looks at the data sets that a run asks for. `checks.py` judges them."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from launcher.config.asked import coco_splits, names_in
from launcher.config.keys import Keys
from launcher.config.known_datasets import RegisteredDataset, find_registered
from launcher.config.own_code import OwnCodeFacts
from launcher.config.request import DatasetRequest, SplitRequest
from launcher.data.coco_file import CocoFacts, FileFacts, read_coco, with_images
from launcher.data.index.columns import listed_images
from launcher.data.index.store import IndexFacts, IndexStore, Opened
from launcher.data.portion import Portion


@dataclass(frozen=True, kw_only=True)
class RegisteredFacts:
    """What is there of a data set that is known by name only."""

    name: str
    known: bool
    """Whether it is one of detectron2's own."""
    missing: tuple[str, ...]
    """Absolute paths of files and folders that it needs and that are not there or empty."""
    missing_packages: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class DatasetFacts:
    """What is there of everything that a run trains and evaluates on."""

    root: str
    """`dataset.root` as an absolute path."""
    coco: tuple[CocoFacts, ...] = ()
    """At most one for train and one for val."""
    registered: tuple[RegisteredFacts, ...] = ()
    own_code: OwnCodeFacts | None = None
    """None where the user brings no code."""
    indexes: Mapping[str, IndexFacts] = field(default_factory=dict)
    """By registered name; none of those whose annotations every process reads."""
    registered_files: Mapping[str, FileFacts] = field(default_factory=dict)
    """What the indexes of detectron2's own data sets say of their files."""


def inspect_dataset(
    dataset: DatasetRequest, keys: Keys, own_code: OwnCodeFacts | None = None, indexes: IndexStore | None = None
) -> DatasetFacts:
    """Read what `dataset` and detectron2's `keys` name; only `dataset.check=False` leaves things unread.

    Annotation files are opened by their indexes where a store of these is given.
    """
    root = absolute(dataset.root)
    splits = [found for found in coco_splits(dataset) if found[2].json and found[2].images]
    parts = {name: portion_of(dataset, split) for split, name, _ in splits}
    opened = {name: indexes.open(absolute(asked.json), parts[name]) for _, name, asked in splits} if indexes else {}
    coco = tuple(
        _inspect_coco(name, split, asked, opened.get(name), check=dataset.check, portion=parts[name])
        for split, name, asked in splits
    )
    test = names_in(keys, "TEST")
    registered = tuple(
        _inspect_registered(name, root, evaluated=name in test, check=dataset.check)
        for name in registered_elsewhere(dataset, keys)
    )
    if indexes and own_code is None:  # the user's code may register other data by these names
        opened |= {entry.name: indexes.open(file) for entry in registered if (file := _instances(entry, root))}
    ours = {name for _, name, _ in splits}
    return DatasetFacts(
        root=str(root),
        coco=coco,
        registered=registered,
        own_code=own_code,
        indexes={name: one.facts for name, one in opened.items() if one},
        registered_files={
            name: one.index.facts for name, one in opened.items() if one and one.index and name not in ours
        },
    )


def portion_of(dataset: DatasetRequest, split: str) -> Portion | None:
    """The part of the annotation file that a split is; None for all of it."""
    asked = dataset.val
    if asked.fraction == 0:
        return None
    return Portion(fraction=asked.fraction, seed=asked.seed, is_val=split == "val")


def _inspect_coco(
    name: str, split: str, asked: SplitRequest, opened: Opened | None, *, check: bool, portion: Portion | None = None
) -> CocoFacts:
    file, images = absolute(asked.json), absolute(asked.images)
    if opened is None or opened.index is None:
        return read_coco(name, split, file, images, check=check, portion=portion)
    named = CocoFacts(name=name, split=split, json=str(file), images=str(images), portion=portion)
    return with_images(named, opened.index.facts, listed_images(opened.index) if check else (), check=check)


def _instances(entry: RegisteredFacts, root: Path) -> Path | None:
    """The annotation file of one of detectron2's own data sets, where that is all there is to read."""
    known = find_registered(entry.name)
    return root / known.instances if known and known.instances and not entry.missing else None


def with_registered(facts: DatasetFacts, keys: Keys, indexes: IndexStore | None) -> DatasetFacts:
    """The facts with what the files of detectron2's own COCO data sets hold, which a training only looks for."""
    train = names_in(keys, "TRAIN")
    found = []
    for entry in facts.registered:
        known, root = find_registered(entry.name), Path(facts.root)
        if (file := _instances(entry, root)) and known and facts.own_code is None:
            asked = SplitRequest(json=str(file), images=str(root / known.needs[0]))
            split = "train" if entry.name in train else "val"
            opened = indexes.open(file) if indexes else None
            found.append(replace(_inspect_coco(entry.name, split, asked, opened, check=True), is_registered=True))
    return replace(facts, coco=(*facts.coco, *found))


def registered_elsewhere(dataset: DatasetRequest, keys: Keys) -> tuple[str, ...]:
    """The data sets of DATASETS that the launcher does not register itself: detectron2's own and the user's."""
    ours = {name for _, name, _ in coco_splits(dataset)}
    names = dict.fromkeys((*names_in(keys, "TRAIN"), *names_in(keys, "TEST")))
    return tuple(name for name in names if name not in ours)


def absolute(path: str) -> Path:
    return Path(os.path.abspath(os.path.expanduser(path)))


def _inspect_registered(name: str, root: Path, *, evaluated: bool, check: bool) -> RegisteredFacts:
    entry = find_registered(name)
    if entry is None or not check:
        return RegisteredFacts(name=name, known=entry is not None, missing=(), missing_packages=())
    return RegisteredFacts(
        name=name,
        known=True,
        missing=tuple(str(root / need) + ("/" if need.endswith("/") else "") for need in _missing(entry, root)),
        missing_packages=_missing_packages((*entry.packages, *(entry.packages_to_evaluate if evaluated else ()))),
    )


def _missing(entry: RegisteredDataset, root: Path) -> list[str]:
    return [need for need in entry.needs if not _is_there(root / need, folder=need.endswith("/"))]


def _is_there(path: Path, *, folder: bool) -> bool:
    if not folder:
        return os.path.isfile(path)  # Path.is_file raises where a folder may not be looked into
    try:
        with os.scandir(path) as entries:
            return next(entries, None) is not None
    except OSError:
        return False


def _missing_packages(packages: Sequence[str]) -> tuple[str, ...]:
    return tuple(package for package in dict.fromkeys(packages) if importlib.util.find_spec(package) is None)
