"""Finding image files, and their sizes as detectron2 will have them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from launcher.data.convert.labels import Account
from launcher.data.image_files import read_header
from launcher.process_limits import limit_reached

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm")
_PARTS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}


def images_below(folder: Path) -> Iterator[Path]:
    """Every image file in a folder and the folders in it, by name."""
    yield from (file for file in files_below(folder) if is_image(file))


def images_in(folder: Path) -> Iterator[Path]:
    """Every image file in a folder itself, by name."""
    yield from (file for file in sorted(folder.iterdir()) if is_image(file) and file.is_file())


def files_below(folder: Path) -> Iterator[Path]:
    """Every file in a folder and the folders in it, by name; hidden ones left out."""
    entered = {os.path.realpath(folder)}
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if _is_new(os.path.join(place, name), entered))
        yield from (Path(place, name) for name in sorted(names) if not name.startswith("."))


def _is_new(folder: str, entered: set[str]) -> bool:
    """Whether it is neither hidden nor, through a link, a folder that was entered before."""
    real = os.path.realpath(folder)
    if os.path.basename(folder).startswith(".") or real in entered:
        return False
    entered.add(real)
    return True


def note_unlabelled(
    images: Iterable[Path], annotations: Iterable[Path], used: Iterable[Path], account: Account
) -> None:
    """Count the images that no annotation file is about, by its name or by what it says."""
    names = {file.stem for file in annotations}
    known = {os.path.abspath(file) for file in used}
    for image in images:
        if image.stem not in names and os.path.abspath(image) not in known:
            account.lost.note("images without annotations", str(image))


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
    """Width and height; None where it cannot be read, which is noted.

    Raises:
        ProcessLimitError: no further file can be opened.
    """
    try:
        _, size, _ = read_header(file)
        return size
    except Exception as error:  # a format's reader raises anything at a damaged file
        if reached := limit_reached(error):
            raise reached from error
        account.lost.note("images that cannot be read, with their objects", str(file))
        return None
