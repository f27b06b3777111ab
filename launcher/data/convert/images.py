"""Finding image files, and their sizes as detectron2 will have them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from launcher.data.convert.labels import Account

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm")
_PARTS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}
_EXIF_ORIENTATION = 0x112
_TURNED = (5, 6, 7, 8)


def images_below(folder: Path) -> Iterator[Path]:
    """Every image file in a folder and the folders in it, by name."""
    yield from (file for file in files_below(folder) if is_image(file))


def files_below(folder: Path) -> Iterator[Path]:
    """Every file in a folder and the folders in it, by name; hidden ones left out."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place, name) for name in sorted(names) if not name.startswith("."))


def part_of(file: Path, source: Path) -> str:
    """Train, val or test by the names of the folders that it lies in, below the source; train by none."""
    folders = {folder.lower() for folder in file.relative_to(source).parts[:-1]}
    return next((part for part, names in _PARTS.items() if folders & set(names)), "train")


def is_image(file: Path) -> bool:
    """By its name."""
    return file.suffix.lower() in ENDINGS


def beside(labels: Path) -> Path | None:
    """The image of the same name in the same folder, if there is one."""
    spellings = (labels.with_suffix(case) for ending in ENDINGS for case in (ending, ending.upper()))
    return next((file for file in spellings if file.is_file()), None)


def size_of(file: Path, account: Account) -> tuple[int, int] | None:
    """Width and height; None where it cannot be read, which is noted."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(file) as opened:
                is_turned = opened.getexif().get(_EXIF_ORIENTATION) in _TURNED
                return opened.size[::-1] if is_turned else opened.size
    except Exception:  # a format's reader raises anything at a damaged file
        account.lost.note("images that cannot be read, with their objects", str(file))
        return None
