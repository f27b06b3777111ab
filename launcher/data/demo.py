"""Demo data: real handwritten digits on crops of real photographs, in COCO format, from scikit-learn's bundled data.

Nothing is downloaded. The same arguments give the same bytes as long as Pillow and scikit-learn stay the same.
"""

from __future__ import annotations

import colorsys
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from launcher.errors import DataError, RequestError

CLASS_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SPLITS = ("train", "val")

_VAL_SHARE = 0.2
"""The part of the digit images that only the validation scenes use."""
_MIN_VISIBLE = 0.75
"""A digit is not pasted where it would leave less than this part of another one to be seen."""
_OBJECTS_PER_SCENE = (5, 9)
_DIGIT_SIZE = (0.17, 0.36)
"""Side of a pasted digit as a part of the scene's side."""
_JPEG_QUALITY = 90
_MIN_SIZE = 32


@dataclass(frozen=True, kw_only=True)
class DemoSpec:
    """What a demo data set is made from; kept in the files' `info`, so that a folder can be recognised."""

    num_train: int
    num_val: int
    size: int
    seed: int
    layout: int = 1
    """Counts up when the same numbers give other scenes than before."""


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The real images that scenes are made of."""

    digits: np.ndarray
    """(N, 8, 8), 0 to 1."""
    labels: np.ndarray
    photos: tuple[Image.Image, ...]


@dataclass(frozen=True, kw_only=True)
class PastedDigit:
    source: int
    """Which of the bundled digit images."""
    label: int
    mask: np.ndarray
    """(size, size) bool: its pixels that can be seen in the finished scene."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    pixels: np.ndarray
    """(size, size, 3) uint8."""
    digits: tuple[PastedDigit, ...]


def write_demo(folder: Path, *, num_train: int = 200, num_val: int = 50, size: int = 256, seed: int = 0) -> None:
    """Make `train.json`, `val.json` and their images in `folder`; a folder that holds them already is left alone.

    Raises:
        RequestError: a number makes no sense.
        DataError: scikit-learn is missing, or the folder holds something else or cannot be written.
    """
    spec = DemoSpec(num_train=num_train, num_val=num_val, size=size, seed=seed)
    if wrong := _wrong_numbers(spec):
        raise RequestError(f"The demo data cannot be made so: {'; '.join(wrong)}.")
    try:
        folder = folder.resolve()
        if not _is_complete(folder, spec):
            _make(folder, spec)
    except OSError as error:
        raise DataError(
            f"The demo data cannot be written to {folder}: {error.strerror or error}. Name another folder."
        ) from error


def _wrong_numbers(spec: DemoSpec) -> list[str]:
    least = (("--train", spec.num_train, 1), ("--val", spec.num_val, 1), ("--size", spec.size, _MIN_SIZE))
    return [
        f"{option} is {number}, it must be at least {minimum}"
        for option, number, minimum in (*least, ("--seed", spec.seed, 0))
        if number < minimum
    ]


def _make(folder: Path, spec: DemoSpec) -> None:
    sources = load_sources()
    folder.parent.mkdir(parents=True, exist_ok=True)
    # A folder that is there may be the current one or a mount point: it is filled, not replaced.
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder if folder.exists() else folder.parent))
    try:
        for split, scenes in make_scenes(spec, sources).items():
            _write_split(aside, split, scenes, spec)
        # mkdtemp's folder is private to its owner; the data set should be as readable as any other new folder.
        aside.chmod(0o777 & ~_current_umask())
        _move_into_place(aside, folder, spec)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def load_sources() -> Sources:
    """scikit-learn's bundled digits and photographs.

    Raises:
        DataError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits, load_sample_images
    except ImportError as error:
        raise DataError(
            "The demo data is made from images that come with scikit-learn, and scikit-learn is not installed. "
            'Install it with: pip install "detectron2-launcher[demo]" (or: pip install scikit-learn)'
        ) from error

    digits = load_digits()
    photos = tuple(Image.fromarray(photo) for photo in load_sample_images().images)
    return Sources(digits=digits.images / 16.0, labels=digits.target, photos=photos)


def split_digits(num_digits: int, seed: int) -> dict[str, np.ndarray]:
    """Which digit images each split may use; none is in both."""
    order = np.random.default_rng([seed, 0]).permutation(num_digits)
    num_val = int(num_digits * _VAL_SHARE)
    return {"train": order[num_val:], "val": order[:num_val]}


def make_scenes(spec: DemoSpec, sources: Sources) -> dict[str, Iterator[Scene]]:
    """The scenes of each split, one by one."""
    counts = {"train": spec.num_train, "val": spec.num_val}
    allowed = split_digits(len(sources.digits), spec.seed)
    return {
        split: _scenes(counts[split], spec.size, sources, allowed[split], np.random.default_rng([spec.seed, number]))
        for number, split in enumerate(SPLITS, start=1)
    }


def _scenes(
    num_scenes: int, size: int, sources: Sources, allowed: np.ndarray, rng: np.random.Generator
) -> Iterator[Scene]:
    supply = _endless(allowed, rng)
    for _ in range(num_scenes):
        background = _background(sources.photos, size, rng)
        low, high = _OBJECTS_PER_SCENE
        chosen = [next(supply) for _ in range(rng.integers(low, high + 1))]
        yield make_scene(background, sources, chosen, rng)


def _endless(indices: np.ndarray, rng: np.random.Generator) -> Iterator[int]:
    """Every index once in a random order, then again in another one."""
    while True:
        yield from (int(index) for index in rng.permutation(indices))


def _background(photos: Sequence[Image.Image], size: int, rng: np.random.Generator) -> np.ndarray:
    photo = photos[int(rng.integers(len(photos)))]
    side = int(rng.integers(min(photo.size) // 2, min(photo.size) + 1))
    left = int(rng.integers(photo.width - side + 1))
    top = int(rng.integers(photo.height - side + 1))
    crop = photo.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
    pixels = np.asarray(crop, dtype=np.float32)
    return pixels[:, ::-1] if rng.random() < 0.5 else pixels


def make_scene(background: np.ndarray, sources: Sources, chosen: Sequence[int], rng: np.random.Generator) -> Scene:
    """Paste the chosen digits on the background; a digit that finds no place without hiding others stays out."""
    pixels = np.array(background, dtype=np.float32)
    # Which digit is on top at each pixel: its place in `placed`, or -1.
    owner = np.full(pixels.shape[:2], -1)
    full_areas: list[int] = []
    placed: list[int] = []
    for source in chosen:
        found = _find_place(sources.digits[source], owner, full_areas, rng)
        if found is None:
            continue
        opacity, window = found
        mask = opacity > 0.5
        tint = _tint_against(pixels[window][mask].mean(axis=0), rng)
        pixels[window] += opacity[..., None] * (tint - pixels[window])
        owner[window][mask] = len(placed)
        full_areas.append(int(mask.sum()))
        placed.append(source)
    digits = tuple(
        PastedDigit(source=source, label=int(sources.labels[source]), mask=owner == number)
        for number, source in enumerate(placed)
    )
    return Scene(pixels=np.clip(pixels + 0.5, 0, 255).astype(np.uint8), digits=digits)


def _find_place(
    digit: np.ndarray, owner: np.ndarray, full_areas: Sequence[int], rng: np.random.Generator, tries: int = 20
) -> tuple[np.ndarray, tuple[slice, slice]] | None:
    """The digit's opacity at a random size, and a random window of the scene where all others stay visible."""
    size = len(owner)
    visible = np.bincount(owner[owner >= 0], minlength=len(full_areas))
    for _ in range(tries):
        opacity = _scaled(digit, max(8, round(size * rng.uniform(*_DIGIT_SIZE))))
        height, width = opacity.shape
        top, left = int(rng.integers(size - height + 1)), int(rng.integers(size - width + 1))
        window = (slice(top, top + height), slice(left, left + width))
        below = owner[window][opacity > 0.5]
        left_over = visible - np.bincount(below[below >= 0], minlength=len(full_areas))
        if np.all(left_over >= _MIN_VISIBLE * np.array(full_areas)):
            return opacity, window
    return None


def _scaled(digit: np.ndarray, side: int) -> np.ndarray:
    """The 8 x 8 digit as the opacity of a smooth stroke, `side` pixels wide before empty borders are cut off."""
    gray = Image.fromarray(np.pad(digit, 1).astype(np.float32))
    large = np.asarray(gray.resize((side * 10 // 8, side * 10 // 8), Image.Resampling.BICUBIC))
    opacity = np.clip((large - 0.4) / 0.15, 0, 1)
    rows, columns = np.nonzero(opacity.any(axis=1))[0], np.nonzero(opacity.any(axis=0))[0]
    return opacity[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _tint_against(behind: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random colour that is lighter than a dark background and darker than a light one."""
    dark = behind.mean() > 127
    saturation = rng.uniform(0.5, 1.0) if dark else rng.uniform(0.2, 0.7)
    value = rng.uniform(0.1, 0.5) if dark else rng.uniform(0.85, 1.0)
    return 255 * np.array(colorsys.hsv_to_rgb(rng.random(), saturation, value), dtype=np.float32)


def _write_split(folder: Path, split: str, scenes: Iterator[Scene], spec: DemoSpec) -> None:
    (folder / split).mkdir()
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, scene in enumerate(scenes, start=1):
        file_name = f"{image_id:05d}.jpg"
        Image.fromarray(scene.pixels).save(folder / split / file_name, quality=_JPEG_QUALITY)
        images.append({"id": image_id, "file_name": file_name, "height": spec.size, "width": spec.size, "license": 1})
        for digit in scene.digits:
            annotations.append(_annotation(digit, image_id=image_id, annotation_id=len(annotations) + 1))
    content = {
        "info": {
            "description": f"Handwritten digits on photographs, {split} split",
            "version": str(spec.layout),
            "year": 2026,
            "contributor": "UCI Optical Recognition of Handwritten Digits; photographs by danielbuechele and vultilion",
            "url": "",
            "date_created": "2026-01-01",
            "demo": asdict(spec),
        },
        "licenses": [
            {"id": 1, "name": "Photographs: CC BY 2.0", "url": "https://creativecommons.org/licenses/by/2.0/"}
        ],
        "images": images,
        "annotations": annotations,
        "categories": [
            {"id": number, "name": name, "supercategory": "digit"} for number, name in enumerate(CLASS_NAMES, start=1)
        ],
    }
    (folder / f"{split}.json").write_text(json.dumps(content), encoding="utf-8")


def _annotation(digit: PastedDigit, *, image_id: int, annotation_id: int) -> dict[str, Any]:
    from pycocotools import mask as coco_mask

    rle = coco_mask.encode(np.asfortranarray(digit.mask, dtype=np.uint8))
    return {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": digit.label + 1,
        "bbox": [float(number) for number in coco_mask.toBbox(rle)],
        "area": int(digit.mask.sum()),
        "iscrowd": 0,
        # Polygons cannot hold the hole of a 0 or an 8.
        "segmentation": {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")},
        "source_digit": digit.source,
    }


def _is_complete(folder: Path, spec: DemoSpec) -> bool:
    """Whether the folder holds this very data set.

    Raises:
        DataError: it holds something else, which we do not touch.
    """
    if not folder.exists():
        return False
    if not folder.is_dir():
        raise DataError(f"The demo data was to be written to {folder}, which is a file. Name a folder instead.")
    strangers = sorted(set(_visible(folder)) - {"train", "val", "train.json", "val.json"})
    if strangers:
        raise DataError(
            f"The demo data was to be written to {folder}, which holds other files ({', '.join(strangers[:3])}). "
            "Name a new folder instead."
        )
    found = _spec_of(folder)
    if found is None:
        return False
    if found != asdict(spec):
        raise DataError(
            f"{folder} holds demo data made with {found}, asked was {asdict(spec)}. "
            "Name another folder, or remove this one first."
        )
    counts = {"train": spec.num_train, "val": spec.num_val}
    return all((folder / split).is_dir() and len(_visible(folder / split)) == counts[split] for split in SPLITS)


def _visible(folder: Path) -> list[str]:
    """What is in it but for what file managers and other programs hide there, such as .DS_Store."""
    return [name for name in os.listdir(folder) if not name.startswith(".")]


def _spec_of(folder: Path) -> dict[str, Any] | None:
    """What the demo data in the folder was made with, or None where it is incomplete."""
    specs = []
    for split in SPLITS:
        try:
            specs.append(json.loads((folder / f"{split}.json").read_text(encoding="utf-8"))["info"]["demo"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{folder / f'{split}.json'} was not written by `launcher data demo`. Name a new folder instead."
            ) from error
    return specs[0] if specs[0] == specs[1] else None


def _move_into_place(aside: Path, folder: Path, spec: DemoSpec) -> None:
    # Another process may have finished the same work in the meantime; its result is as good as ours.
    if _is_complete(folder, spec):
        return
    if not folder.exists():
        os.replace(aside, folder)
        return
    for split in SPLITS:
        shutil.rmtree(folder / split, ignore_errors=True)
        os.replace(aside / split, folder / split)
    # Last, because a folder counts as complete by them.
    for split in SPLITS:
        os.replace(aside / f"{split}.json", folder / f"{split}.json")


def _current_umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask
