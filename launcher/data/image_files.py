"""Looks at the image files that a COCO file names: at their listing, and into the headers of some. Decodes none."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence

from PIL import Image

from launcher.data.geometry import Size
from launcher.data.json_file import why_no_file
from launcher.data.listed_image import ListedImage
from launcher.data.tally import Tally
from launcher.process_limits import is_about_open_files, naming_limits

_MAX_HEADERS = 200
_MOST_PIXELS = 2 * (Image.MAX_IMAGE_PIXELS or 2**63)
"""Above, Pillow refuses to open an image."""
_WIDE_MODES = {"I;16": "16-bit", "I;16B": "16-bit", "I;16L": "16-bit", "I;16N": "16-bit", "I": "32-bit", "F": "floats"}
"""Modes of Pillow with more than eight bits for a value."""
EXIF_ORIENTATION = 0x112
TURNED = (5, 6, 7, 8)
"""EXIF orientations that exchange width and height."""


def look_for_files(folder: str, images: Sequence[ListedImage], tally: Tally) -> int:
    """Note images without a file, and what the headers of up to 200 of them say; returns how many those are.

    Raises:
        ProcessLimitError: no further file can be opened.
    """
    with naming_limits():
        return _look_for_files(folder, images, tally)


def _look_for_files(folder: str, images: Sequence[ListedImage], tally: Tally) -> int:
    # One listing per folder: asking for each file by itself takes minutes on a network file system.
    listings: dict[str, Mapping[str, bool]] = {}
    found = images if _are_there(folder, images, listings, tally) else _find(folder, images, listings, tally)
    sample = found[:: max(1, -(-len(found) // _MAX_HEADERS))]
    for image in sample:
        _look_into(os.path.join(folder, image.file_name), image, tally)
    return len(sample)


def _are_there(
    folder: str, images: Sequence[ListedImage], listings: dict[str, Mapping[str, bool]], tally: Tally
) -> bool:
    """Whether nothing is to be said of any: all lie in the folder itself, and none is too large."""
    names = [image.file_name for image in images]
    if not names or os.sep in "".join(names):
        return False
    if max(image.width for image in images) * max(image.height for image in images) > _MOST_PIXELS:
        return False
    listings[folder] = _listing(folder, tally)
    return all(map(listings[folder].get, names))


def _find(
    folder: str, images: Sequence[ListedImage], listings: dict[str, Mapping[str, bool]], tally: Tally
) -> list[ListedImage]:
    """Those that have a file; of all others it is noted why not."""
    found = []
    for image in images:
        if image.width * image.height > _MOST_PIXELS:
            tally.note("image.too_many_pixels", f"{image.label}: {image.width} x {image.height}")
        parent, base = _split(folder, image.file_name)
        if parent not in listings:
            listings[parent] = _listing(parent, tally)
        if base not in listings[parent]:
            tally.note("image.no_file", image.file_name)
        elif not listings[parent][base]:
            _note_no_file(os.path.join(parent, base), image.file_name, tally)
        else:
            found.append(image)
    return found


def _split(folder: str, file_name: str) -> tuple[str, str]:
    """The folder that an image lies in, and its name there."""
    return os.path.split(os.path.join(folder, file_name)) if os.sep in file_name else (folder, file_name)


def _listing(folder: str, tally: Tally) -> dict[str, bool]:
    """Names, and whether each is a regular file."""
    try:
        return {entry.name: _is_file(entry) for entry in os.scandir(folder)}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        if is_about_open_files(error):
            raise
        tally.note("image.unreadable_folder", f"{folder}: {error.strerror}")
    except ValueError as error:
        tally.note("image.unreadable_folder", f"{folder}: {error}")
    return {}


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link that may not be followed, or in a circle
        return False


def _note_no_file(path: str, file_name: str, tally: Tally) -> None:
    try:
        kind = why_no_file(path)
    except OSError:
        tally.note("image.no_file", f"{file_name}, a link to nothing")
        return
    tally.note("image.not_a_file", f"{file_name}: {kind or 'no file'}")


def _look_into(path: str, image: ListedImage, tally: Tally) -> None:
    try:
        mode, size, is_turned = read_header(path)
    except Image.DecompressionBombError as error:
        tally.note("image.too_many_pixels", f"{image.file_name}: {error}")
        return
    except Exception as error:  # a format's reader raises anything at a damaged file, which training replaces and names
        if is_about_open_files(error):
            raise
        return
    note_unlike_listed(image, mode, size, tally, is_turned=is_turned)


def note_unlike_listed(image: ListedImage, mode: str, size: Size, tally: Tally, *, is_turned: bool) -> None:
    """Note more than eight bits for a value, and another size than listed; `size` is the one after turning."""
    if mode in _WIDE_MODES:
        tally.note("image.wide", f"{image.file_name}: {_WIDE_MODES[mode]}")
    if size != image.size:
        listed = f"{image.size[0]} x {image.size[1]}"
        how = " turned as its EXIF orientation says" if is_turned else ""
        tally.note("image.other_size", f"{image.file_name}: {size[0]} x {size[1]}{how}, listed as {listed}")


def read_header(path: str | os.PathLike[str]) -> tuple[str, tuple[int, int], bool]:
    """Pillow's mode, the size as detectron2 will have it, and whether the header has it turned for that."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(path) as opened:
            is_turned = opened.getexif().get(EXIF_ORIENTATION) in TURNED
            return opened.mode, opened.size[::-1] if is_turned else opened.size, is_turned
