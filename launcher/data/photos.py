"""The image files that files, folders and patterns name, for predictions. Looks at names only; opens none."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from launcher.errors import DataError, RequestError

IMAGES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm", ".jfif"})
"""What Pillow reads and people have. Of a folder, files that end otherwise are left out."""
VIDEOS = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".mts", ".ts"})
PATTERN = frozenset("*?[")


def find_images(inputs: Sequence[str]) -> tuple[str, ...]:
    """The files, absolute, each once; of a folder its images and those of its subfolders by name.

    Raises:
        RequestError: a video is named.
        DataError: something that is named is not there, or has no images.
    """
    found: dict[str, None] = {}
    problems: list[str] = []
    for one in inputs:
        _refuse_video(one)
        images = list(_images_of(one))
        if not images:
            problems.append(_why_nothing(one))
        found.update(dict.fromkeys(images))
    if problems:
        raise DataError("\n".join(problems))
    return tuple(found)


def _images_of(one: str) -> Iterable[str]:
    if os.path.isdir(one):
        return _images_below(one)
    if os.path.lexists(one):
        return [os.path.abspath(one)]
    matches = sorted(glob.glob(one, recursive=True)) if PATTERN & set(one) else []
    return [os.path.abspath(match) for match in matches if os.path.isfile(match) and _suffix(match) not in VIDEOS]


def _images_below(folder: str) -> Iterator[str]:
    for parent, folders, names in os.walk(os.path.abspath(folder)):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (
            os.path.join(parent, name) for name in sorted(names) if _suffix(name) in IMAGES and not name.startswith(".")
        )


def _suffix(name: str) -> str:
    return Path(name).suffix.lower()


def _refuse_video(one: str) -> None:
    if _suffix(one) in VIDEOS and not os.path.isdir(one):
        frames = f"{Path(one).stem}-%06d.jpg"
        raise RequestError(
            f"{one} is a video, which is not supported. Write its frames as images first, for example with "
            f"ffmpeg -i {Path(one).name} FOLDER/{frames}, and name that folder."
        )


def _why_nothing(one: str) -> str:
    if os.path.isdir(one):
        return f"{one} is a folder without images ({', '.join(sorted(IMAGES))}). Name one that has some."
    if PATTERN & set(one):
        return f"{one}: no image matches. Name files, a folder, or another pattern in quotes."
    return f"{one}: there is no such file or folder. Name an image, a folder of images, or a pattern in quotes."
