"""Finds the annotation files and image folders of a data set of which only the folder is named.

Looks at names and at the first image of a file, reads no annotations and judges nothing.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from launcher.config.request import DatasetKind, DatasetRequest, Found, SplitRequest
from launcher.errors import printable

ROOT_VARIABLE = "DETECTRON2_DATASETS"
_VAL = ("val", "valid", "validation")
_SPLITS = {"train": ("train", "training"), "val": _VAL, "test": ("test", "testing"), "": ("default",)}
"""How the parts of a data set are called; the last is a data set without parts."""
_ROBOFLOW = "_annotations.coco.json"
_KINDS = ("instances", "person_keypoints")
_PEEKED = 1 << 20
"""Bytes in which the name of an image is looked for, at both ends of an annotation file."""
_FILE_NAME = re.compile(rb'"file_name"\s*:\s*("(?:[^"\\]|\\.)+")')
_SHOWN = 8
_LOOKED_INTO = 100
Split = TypeVar("Split", bound=SplitRequest)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A data set in a folder, as one kind of program writes it."""

    writer: str
    """Whose layout it is."""
    files: Mapping[str, Sequence[Path]]
    """Annotation files by part: train, val, test, or an empty name for all in one."""
    images: Mapping[Path, Sequence[Path]]
    """Of each file, the folders that its images may be in, best first."""


def find_files(dataset: DatasetRequest, environ: Mapping[str, str]) -> tuple[DatasetRequest, Found]:
    """The request with every file and folder that it leaves out and that can be found without a doubt."""
    if dataset.kind is not DatasetKind.coco_json:
        return dataset, Found()
    found = Found()
    if not (dataset.train.json or dataset.val.json) and _is_named(dataset.root, environ):
        dataset, found = _find_in_root(dataset)
    train, val = _with_images(dataset.train), _with_images(dataset.val)
    if val.fraction:
        val = replace(val, json=val.json or train.json, images=val.images or train.images)
    return replace(dataset, train=train, val=val), found


def _is_named(root: str, environ: Mapping[str, str]) -> bool:
    """Whether it is more than the place where all data sets are."""
    return root not in (DatasetRequest().root, environ.get(ROOT_VARIABLE, ""))


def _with_images(split: Split) -> Split:
    """With the annotation file's own folder for its images, where they are there or nobody can say."""
    if not split.json or split.images:
        return split
    folder = Path(split.json).parent
    name = _an_image_of(Path(split.json))
    return split if name and not _is_file(folder / name) else replace(split, images=str(folder))


def _find_in_root(dataset: DatasetRequest) -> tuple[DatasetRequest, Found]:
    root = Path(dataset.root)
    layouts = [layout for layout in _layouts(root) if any(layout.files.values())]
    if problem := _problem_with(dataset, layouts):
        return dataset, Found(problems=(problem,))
    (layout,) = layouts
    train = _split(layout, layout.files.get("train") or layout.files.get("", ()))
    val = _split(layout, layout.files.get("val", ()))
    asked = replace(
        dataset,
        train=replace(dataset.train, json=train.json, images=dataset.train.images or train.images),
        val=replace(dataset.val, json=val.json, images=dataset.val.images or val.images),
    )
    return asked, Found(notes=(_note(root, layout, asked),))


def _split(layout: Layout, files: Sequence[Path]) -> SplitRequest:
    """What is there of a part, of which there is one file at most."""
    if not files:
        return SplitRequest()
    return SplitRequest(json=str(files[0]), images=str(_folder_of(files[0], layout.images[files[0]])))


def _folder_of(file: Path, folders: Sequence[Path]) -> Path:
    """The first that has an image of the file, else the first that is there."""
    there = [folder for folder in folders if os.path.isdir(folder)]
    name = _an_image_of(file)
    return next((folder for folder in there if name and _is_file(folder / name)), (there or folders)[0])


def _problem_with(dataset: DatasetRequest, layouts: Sequence[Layout]) -> str:
    """Why it cannot be said what to train on; empty where it can."""
    asked = f"dataset.root={dataset.root}"
    name_them = "Name the files: dataset.train.json=FILE dataset.val.json=FILE"
    if not layouts and (below := _below(Path(dataset.root))):
        return (
            f"{asked}: no data set in COCO format is found there, but below it. "
            f"Type {' or '.join(shlex.quote(f'dataset.root={folder}') for folder in below)}."
        )
    if not layouts:
        return (
            f"{asked}: no data set in COCO format is found there ({_content_of(Path(dataset.root))}). Looked for: "
            f"train/{_ROBOFLOW} (Roboflow), annotations/instances_train.json (CVAT, COCO), labels.json beside data/ "
            f"(FiftyOne), train.json. {name_them}. YOLO, Pascal VOC and labelme are converted with: "
            f"launcher data convert {shlex.quote(dataset.root)} NEW_FOLDER."
        )
    files = [str(file) for layout in layouts for part in layout.files.values() for file in part]
    if len(layouts) > 1:
        return f"{asked}: more than one data set is there ({_listed(files)}). {name_them}."
    parts = layouts[0].files
    several = [str(file) for part in ("train", "val", "") for file in parts.get(part, ()) if len(parts[part]) > 1]
    if several or (parts.get("") and (parts.get("train") or parts.get("val"))):
        return f"{asked}: it is not clear which to train on ({_listed(several or files)}). {name_them}."
    if not any(parts.get(part) for part in ("train", "", "val")):
        return f"{asked}: no annotations to train or validate on are found there, only {_listed(files)}. {name_them}."
    if dataset.val.fraction and parts.get("val") and parts.get("train"):
        return (
            f"{asked} has annotations to validate with ({_listed(map(str, parts['val']))}), and "
            f"dataset.val.fraction={dataset.val.fraction:g} would divide those to train on. Leave dataset.val.fraction "
            f"out, or name the file to divide: dataset.train.json={shlex.quote(str(parts['train'][0]))}."
        )
    return ""


def _below(root: Path) -> list[Path]:
    """Folders in it that have a data set, a few at most."""
    folders = (root / name for name in _names_in(root)[:_LOOKED_INTO])
    return [folder for folder in folders if any(any(layout.files.values()) for layout in _layouts(folder))][:_SHOWN]


def _note(root: Path, layout: Layout, found: DatasetRequest) -> str:
    parts = {"train": found.train, "val": found.val}
    said = [f"{part} {_said(split, root)}" for part, split in parts.items() if split.json]
    unused = [os.path.relpath(file, root) for file in layout.files.get("test", ())]
    said += [f"{_listed(unused)} is not used"] if unused else []
    if not found.val.json and not found.val.fraction:
        said.append("nothing to validate with: dataset.val.fraction=0.2 would keep a fifth of the images for that")
    return printable(f"dataset.root={root} is laid out as {layout.writer} does it: {', '.join(said)}")


def _said(split: SplitRequest, root: Path) -> str:
    file, images = (os.path.relpath(path, root) for path in (split.json, split.images))
    return f"{file} (images in {'the folder itself' if images == '.' else images + '/'})"


def _layouts(root: Path) -> Iterator[Layout]:
    """Every layout, also those of which nothing is there."""
    yield _by_folder(root, "Roboflow", _ROBOFLOW, ("",))
    yield _in_annotations(root)
    yield _by_folder(root, "FiftyOne", "labels.json", ("data",))
    yield _beside_each_other(root)


def _by_folder(root: Path, writer: str, name: str, images: Sequence[str]) -> Layout:
    """A folder for each part, or one for all, with a file of the same name in each."""
    folders = {part: _folders_called(root, names) for part, names in _SPLITS.items() if part} | {"": [root]}
    files = {part: [folder / name for folder in named if _is_file(folder / name)] for part, named in folders.items()}
    places = {file: [file.parent / one for one in images] for part in files.values() for file in part}
    return Layout(writer=writer, files=files, images=places)


def _folders_called(root: Path, names: Sequence[str]) -> list[Path]:
    return [root / name for name in _names_in(root) if name.lower() in names]


def _in_annotations(root: Path) -> Layout:
    """`annotations/instances_<part>.json`, and `<part>/`, `images/<part>/` or `images/`."""
    names = [name for name in _names_in(root / "annotations") if name.endswith(".json")]
    kind = next((kind for kind in _KINDS if any(name.startswith(f"{kind}_") for name in names)), _KINDS[0])
    files: dict[str, list[Path]] = {part: [] for part in _SPLITS}
    places, writer = {}, "CVAT"
    for name in names:
        called = name.removesuffix(".json").removeprefix(f"{kind}_")
        part = _part_called(re.sub(r"20\d\d$", "", called)) if name.startswith(f"{kind}_") else None
        if part is None:
            continue
        file = root / "annotations" / name
        files[part].append(file)
        places[file] = [root / "images" / called, root / called, root / "images", root]
        writer = "COCO itself" if re.search(r"20\d\d$", called) else writer
    return Layout(writer=writer, files=files, images=places)


def _part_called(name: str) -> str | None:
    return next((part for part, names in _SPLITS.items() if name.lower() in names), None)


def _beside_each_other(root: Path) -> Layout:
    """`train.json` and `val.json`, with images beside them or in folders of these names."""
    names = [name for name in _names_in(root) if name.endswith(".json")]
    parts = {name: _part_called(name.removesuffix(".json")) for name in names}
    files = {part: [root / name for name in names if parts[name] == part] for part in _SPLITS if part}
    places = {
        file: [root, root / file.stem, root / "images" / file.stem, root / "images"]
        for part in files.values()
        for file in part
    }
    return Layout(writer="launcher data convert", files=files, images=places)


def _names_in(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (OSError, ValueError):
        return []


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _an_image_of(file: Path) -> str:
    """The name of one of its images, if it is near one of the file's ends; else empty."""
    if not _is_file(file):
        return ""
    try:
        with open(file, "rb") as opened:
            head = opened.read(_PEEKED)
            opened.seek(max(0, os.path.getsize(file) - _PEEKED))
            tail = opened.read(_PEEKED)
    except OSError:
        return ""
    match = _FILE_NAME.search(head) or _FILE_NAME.search(tail)
    try:
        return str(json.loads(match[1])) if match else ""
    except ValueError:
        return ""


def _content_of(folder: Path) -> str:
    if not os.path.isdir(folder):
        return "there is no such folder" if not os.path.lexists(folder) else "it is no folder"
    names = [name + "/" * os.path.isdir(folder / name) for name in _names_in(folder)]
    return f"it has {_listed(names)}" if names else "it is empty"


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return printable(", ".join(every[:_SHOWN]) + more)
