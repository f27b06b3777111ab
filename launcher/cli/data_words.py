"""Which data a command line means: a data set by its name, annotation files, or settings as a training takes them."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

from launcher.cli.flags import is_setting
from launcher.config.arguments import Arguments, take_apart
from launcher.config.places import expanded
from launcher.config.presets import config_folders, presets
from launcher.errors import RequestError

_SPLITS = ("train", "val")
_MOST_FILES = len(_SPLITS)
_FILE_NAME = re.compile(rb'"file_name"\s*:\s*("(?:[^"\\]|\\.)*")')
_NAMES = 3
"""Images that are looked for in each folder."""


def read_words(arguments: Sequence[str], *, command: str) -> list[str]:
    """Names and files as the settings that a training would be given, Hydra's flags behind them.

    Raises:
        RequestError: a word is neither, or there is none at all.
    """
    asked = take_apart(arguments)
    settings = [word for word in asked.overrides if is_setting(word)]
    words = [word for word in asked.overrides if word not in settings]
    files = [word for word in words if os.path.isfile(expanded(word))]
    names = [word for word in words if word not in files]
    if not words and not settings:
        raise RequestError(f"Which data? {_examples(command)}")
    if len(files) > _MOST_FILES:
        raise RequestError(
            f"{len(files)} files are named, and one run has two at most: launcher {command} TRAIN.json VAL.json"
        )
    if len(names) > 1 or (names and files):
        raise RequestError(f"{names[-1]} is one word too many: name one data set, or one or two annotation files.")
    ours = [*_of_files(files, settings), *(part for name in names for part in _of_name(name, asked, command))]
    return [*ours, *settings, *asked.flags]


def _of_name(name: str, asked: Arguments, command: str) -> list[str]:
    if os.path.isdir(expanded(name)):
        return ["dataset=coco_json", f"dataset.root={name}"]
    known = [preset.name for preset in presets("dataset", config_folders(asked.config_dir))]
    if name in known:
        return [f"dataset={name}"]
    near = get_close_matches(name, known, n=1)
    guess = f" Did you mean {near[0]!r}?" if near else ""
    raise RequestError(
        f"{name}: there is no such file, and no data set of that name ({', '.join(known)}).{guess} {_examples(command)}"
    )


def _of_files(files: Sequence[str], settings: Sequence[str]) -> Iterator[str]:
    if not files:
        return
    yield "dataset=coco_json"
    typed = {word.lstrip("+").partition("=")[0] for word in settings}
    for split, file in zip(_SPLITS, files, strict=False):
        yield f"dataset.{split}.json={file}"
        if f"dataset.{split}.images" not in typed:
            yield f"dataset.{split}.images={find_images_folder(Path(expanded(file)))}"


def find_images_folder(file: Path) -> Path:
    """Where the images of an annotation file are, by where such folders are; its own folder where none has them."""
    names = list(islice(_file_names(file), _NAMES))
    for folder in _likely_folders(file):
        if any(os.path.isfile(folder / name) for name in names):
            return folder
    return file.parent


def _file_names(file: Path) -> Iterator[str]:
    """Of the images, in order, without reading more of a large file than there is before the first ones."""
    with open(file, "rb") as opened, contextlib.suppress(ValueError, OSError):
        content = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        for found in _FILE_NAME.finditer(content):
            name = json.loads(found[1])
            if "\0" not in name:
                yield name


def _likely_folders(file: Path) -> Iterator[Path]:
    """Beside the file, in `images` or in a folder named as the file or as the end of its name; or one folder up."""
    last = file.stem.rpartition("_")[2]
    for parent in (file.parent, file.parent.parent):
        for name in dict.fromkeys((".", "images", file.stem, last, f"images/{file.stem}", f"images/{last}")):
            yield parent / name


def _examples(command: str) -> str:
    return f"For example: launcher {command} demo, or launcher {command} TRAIN.json VAL.json"
