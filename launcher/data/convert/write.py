"""Writes a labelled data set in COCO's format, all of it or nothing, and never over something else unasked."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.data.convert.labels import DIGITS, LabelledImage, LabelledObject, Labels
from launcher.errors import DataError, RequestError
from launcher.files import write_text

PARTS = ("train", "val", "test")
_IMAGES = "images"


@dataclass(frozen=True, kw_only=True)
class Written:
    """One file that was written."""

    file: Path
    num_images: int
    num_without: int
    """Images without an object."""
    num_boxes: int
    """Objects of which only a box is known."""
    num_masks: int
    num_crowds: int


def write_labels(
    labels: Labels, source: Path, folder: Path, *, copy_images: bool = False, force: bool = False
) -> tuple[Written, ...]:
    """Write `<part>.json` for each part into the folder, and copies of the images where asked.

    Raises:
        RequestError: files are there already.
        DataError: the files cannot be written.
    """
    parts = {part: images for part, images in labels.parts.items() if images}
    _refuse_others(folder, parts, force=force)
    every = dict.fromkeys(image.file for images in parts.values() for image in images)
    names = _copied_names(every, source) if copy_images else {file: _relative(file, folder) for file in every}
    if copy_images:
        _refuse_other_images(names, folder, force=force)
    contents = {part: content_of(images, labels.categories, names) for part, images in parts.items()}
    try:
        if copy_images:
            _copy(names, folder)
        for part, content in contents.items():
            write_text(folder / f"{part}.json", json.dumps(content))
    except OSError as error:
        raise DataError(f"{folder} cannot be written to: {error}. Choose another folder.") from error
    return tuple(_count(folder / f"{part}.json", images) for part, images in parts.items())


def _refuse_others(folder: Path, parts: Mapping[str, Any], *, force: bool) -> None:
    there = [part for part in PARTS if os.path.lexists(folder / f"{part}.json")]
    named = ", ".join(str(folder / f"{part}.json") for part in there)
    if there and not force:
        raise RequestError(f"Already there: {named}. Choose a new folder, or overwrite with --force.")
    if stale := [part for part in there if part not in parts]:
        raise RequestError(
            f"{folder / stale[0]}.json is there, and would be taken for a part of this data set, which has none such. "
            "Remove it, or choose a new folder."
        )


def _refuse_other_images(names: Mapping[Path, str], folder: Path, *, force: bool) -> None:
    there = [folder / name for name in names.values() if os.path.lexists(folder / name)]
    sources = {os.path.realpath(file) for file in names}
    if own := [file for file in there if os.path.realpath(file) in sources]:
        raise RequestError(f"{own[0]} is an image of the data set and would be overwritten. Choose a new folder.")
    if there and not force:
        raise RequestError(
            f"Already there: {there[0]}{f' and {len(there) - 1} more images' if len(there) > 1 else ''}. "
            "Choose a new folder, or overwrite with --force."
        )


def _relative(file: Path, folder: Path) -> str:
    """From the annotations, beside which images are looked for."""
    there = os.path.join(os.path.realpath(file.parent), file.name)  # `..` of a link is not where it lies
    return Path(os.path.relpath(there, os.path.realpath(folder))).as_posix()


def _copied_names(files: Mapping[Path, None], source: Path) -> dict[Path, str]:
    """In `images/`, under the names that they have in the source; each its own."""
    names: dict[Path, str] = {}
    taken: set[str] = set()
    root = source if source.is_dir() else source.parent
    for file in files:
        inside = os.path.relpath(file, root)
        name = file.name if inside.startswith("..") else inside
        number = 1
        while (made := f"{_IMAGES}/{Path(name).as_posix() if number == 1 else f'{number}_{file.name}'}") in taken:
            number += 1
        taken.add(made)
        names[file] = made
    return names


def _copy(names: Mapping[Path, str], folder: Path) -> None:
    for file, name in names.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)


def content_of(images: Sequence[LabelledImage], categories: Sequence[str], names: Mapping[Path, str]) -> dict[str, Any]:
    """As COCO has it, everything numbered from 1 on."""
    numbers = {name: number for number, name in enumerate(categories, 1)}
    annotations: list[dict[str, Any]] = []
    for image_id, image in enumerate(images, 1):
        for one in image.objects:
            annotations.append(_annotation(one, len(annotations) + 1, image_id, numbers))
    return {
        "info": {"description": "converted by launcher data convert"},
        "images": [
            {"id": number, "file_name": names[image.file], "width": image.width, "height": image.height}
            for number, image in enumerate(images, 1)
        ],
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for name, number in numbers.items()],
    }


def _annotation(one: LabelledObject, number: int, image_id: int, numbers: Mapping[str, int]) -> dict[str, Any]:
    mask = [_rounded(polygon) for polygon in one.polygons] or one.rle
    return {
        "id": number,
        "image_id": image_id,
        "category_id": numbers[one.category],
        "bbox": _rounded(one.bbox),
        "area": round(one.area, DIGITS),
        "iscrowd": int(one.is_crowd),
        **({"segmentation": mask} if mask else {}),
    }


def _rounded(numbers: Sequence[float]) -> list[float]:
    return [round(number, DIGITS) for number in numbers]


def _count(file: Path, images: Sequence[LabelledImage]) -> Written:
    objects = list(_objects_of(images))
    masks = sum(bool(one.polygons or one.rle) for one in objects if not one.is_crowd)
    crowds = sum(one.is_crowd for one in objects)
    return Written(
        file=file,
        num_images=len(images),
        num_without=sum(not image.objects for image in images),
        num_boxes=len(objects) - masks - crowds,
        num_masks=masks,
        num_crowds=crowds,
    )


def _objects_of(images: Sequence[LabelledImage]) -> Iterator[LabelledObject]:
    for image in images:
        yield from image.objects
