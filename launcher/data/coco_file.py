"""Reads one COCO-format file and its image folder, and says what is there. No judgement: see `checks.py`."""

from __future__ import annotations

import json
import math
import os
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_MAX_EXAMPLES = 3
_FOUND_WITHOUT_CHECK = ("annotation.id_zero",)
"""Flaws that would silently give wrong metrics; every other one stops the run at some point."""


@dataclass(frozen=True, kw_only=True)
class Flaw:
    """One kind of thing that is wrong with the entries of a file."""

    code: str
    """For example `annotation.unknown_image`; `checks.py` says what each means."""
    count: int
    examples: tuple[str, ...]
    """The first few."""


@dataclass(frozen=True, kw_only=True)
class CocoObjects:
    """The annotations of a file that are no crowds."""

    num: int
    num_images: int
    """Images with at least one of them: detectron2 trains on no others."""
    num_with_rle: int
    num_with_keypoints: int
    keypoints_per_object: tuple[int, ...]
    """The different numbers of keypoints found."""


NO_OBJECTS = CocoObjects(num=0, num_images=0, num_with_rle=0, num_with_keypoints=0, keypoints_per_object=())


@dataclass(frozen=True, kw_only=True)
class CocoFacts:
    """What one COCO-format file and its image folder hold."""

    name: str
    """Under what name it is registered."""
    split: str
    """train or val."""
    json: str
    """Absolute."""
    images: str
    """Absolute."""
    checksum: int = 0
    """CRC-32 of the annotation file; 0 when it was not read."""
    unreadable: str = ""
    """Why the annotations could not be read, empty when they could."""
    num_images: int = 0
    objects: CocoObjects = NO_OBJECTS
    categories: tuple[tuple[int, str], ...] = ()
    """(id, name), by id: the order in which detectron2 numbers them."""
    keypoint_names: tuple[str, ...] = ()
    flaws: tuple[Flaw, ...] = ()


@dataclass
class _Tally:
    """Counts while a file is read."""

    flaws: dict[str, tuple[int, list[str]]] = field(default_factory=dict)

    def note(self, code: str, example: str) -> None:
        count, examples = self.flaws.setdefault(code, (0, []))
        if len(examples) < _MAX_EXAMPLES:
            examples.append(example)
        self.flaws[code] = (count + 1, examples)

    def result(self) -> tuple[Flaw, ...]:
        return tuple(
            Flaw(code=code, count=count, examples=tuple(examples)) for code, (count, examples) in self.flaws.items()
        )


def read_coco(name: str, split: str, json_file: Path, images: Path, *, check: bool = True) -> CocoFacts:
    """Read the file once and, when `check`, every entry of it and the listing of its image folder."""
    text, checksum, why_not = _read(json_file)
    content, why_not = ({}, why_not) if why_not else _parse(text)
    if why_not:
        return CocoFacts(name=name, split=split, json=str(json_file), images=str(images), unreadable=why_not)

    tally = _Tally()
    categories, keypoint_names = _read_categories(content["categories"], tally)
    image_sizes, file_names = _read_images(content["images"], tally)
    if check:
        _look_for_files(images, file_names, tally)
    objects = _read_annotations(content["annotations"], image_sizes, dict(categories), tally)
    return CocoFacts(
        name=name,
        split=split,
        json=str(json_file),
        images=str(images),
        checksum=checksum,
        num_images=len(image_sizes),
        objects=objects,
        categories=categories,
        keypoint_names=keypoint_names,
        flaws=tuple(flaw for flaw in tally.result() if check or flaw.code in _FOUND_WITHOUT_CHECK),
    )


def _read(json_file: Path) -> tuple[str, int, str]:
    """The file's text and checksum, or why there are none."""
    try:
        content = json_file.read_bytes()
        # As text: from bytes json would also read UTF-16 and byte order marks, which pycocotools does not.
        return content.decode("utf-8"), zlib.crc32(content), ""
    except FileNotFoundError:
        return "", 0, f"there is no such file{_neighbours(json_file)}"
    except UnicodeDecodeError:
        return "", 0, "the file is not text in UTF-8, so it is not JSON that pycocotools can read"
    except OSError as error:
        return "", 0, f"it cannot be read: {error.strerror}"


def _parse(text: str) -> tuple[dict[str, Any], str]:
    """What the text holds, or why that is not COCO format."""
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        if error.doc.strip() == "":
            return {}, "the file is empty"
        if error.doc.startswith("\ufeff"):
            return {}, "the file begins with a byte order mark, which pycocotools cannot read. Save it as UTF-8 without"
        return {}, f"broken JSON at line {error.lineno}, column {error.colno}: {error.msg}"
    except RecursionError:
        return {}, "the JSON is nested too deeply"

    if not isinstance(content, dict):
        return {}, f"COCO format is an object with images, annotations and categories; this is a {_kind(content)}"
    wrong = [
        f"{part} is missing" if part not in content else f"{part} is a {_kind(content[part])}, not a list"
        for part in ("images", "annotations", "categories")
        if not isinstance(content.get(part), list)
    ]
    return (content, "") if not wrong else ({}, "this is not COCO format: " + ", ".join(wrong))


def _kind(value: object) -> str:
    names = {dict: "object", list: "list", str: "text", bool: "true/false", type(None): "null"}
    return names.get(type(value), "number")


def _neighbours(json_file: Path) -> str:
    """What else is there, for a path that is nearly right."""
    folder = json_file.parent
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    if folder != json_file.parent:
        return f", not even its folder; {folder} is the last part that exists"
    try:
        others = sorted(entry.name for entry in os.scandir(folder) if entry.name.endswith(".json"))
    except OSError:
        return ""
    return f"; its folder has {', '.join(others[:5])}" if others else "; its folder has no .json at all"


def _read_categories(entries: list[Any], tally: _Tally) -> tuple[tuple[tuple[int, str], ...], tuple[str, ...]]:
    names: dict[int, str] = {}
    keypoint_names: tuple[str, ...] = ()
    for place, entry in enumerate(entries):
        if not isinstance(entry, Mapping) or not _is_whole(entry.get("id")) or not entry.get("name"):
            tally.note("category.malformed", f"categories[{place}]")
            continue
        if entry["id"] in names:
            tally.note("category.duplicate_id", f"id {entry['id']}")
        names[int(entry["id"])] = str(entry["name"])
        keypoint_names = keypoint_names or tuple(map(str, entry.get("keypoints") or ()))
    return tuple(sorted(names.items())), keypoint_names


def _read_images(entries: list[Any], tally: _Tally) -> tuple[dict[Any, tuple[float, float]], list[str]]:
    """Width and height by image id, and all file names."""
    sizes: dict[Any, tuple[float, float]] = {}
    file_names = []
    for place, entry in enumerate(entries):
        if not isinstance(entry, Mapping) or not _is_id(entry.get("id")):
            tally.note("image.malformed", f"images[{place}]")
            continue
        file_name, width, height = entry.get("file_name"), entry.get("width"), entry.get("height")
        if not isinstance(file_name, str) or not file_name or not (_is_positive(width) and _is_positive(height)):
            tally.note("image.malformed", f"images[{place}] (id {entry['id']})")
        else:
            file_names.append(file_name)
            if not (isinstance(width, int) and isinstance(height, int)):
                tally.note("image.fractional_size", f"id {entry['id']}: {width} x {height}")
        if entry["id"] in sizes:
            tally.note("image.duplicate_id", f"id {entry['id']}")
        sizes[entry["id"]] = (_or_infinite(width), _or_infinite(height))
    texts = [image_id for image_id in sizes if isinstance(image_id, str)]
    if len(texts) < len(sizes):
        for image_id in texts:
            tally.note("image.mixed_ids", f'id "{image_id}"')
    return sizes, file_names


def _is_whole(value: object) -> bool:
    """Whether it is a whole number; 1.0 is one, as pandas writes it."""
    return type(value) is int or (isinstance(value, float) and value.is_integer())


def _is_id(value: object) -> bool:
    return isinstance(value, str) or _is_whole(value)


def _is_positive(value: object) -> bool:
    return isinstance(value, (int, float)) and value > 0


def _or_infinite(length: Any) -> float:
    """Where an image's size is not known, no box is outside."""
    return length if _is_positive(length) else math.inf


def _look_for_files(images: Path, file_names: Iterable[str], tally: _Tally) -> None:
    # One listing per folder: asking for each file by itself takes minutes on a network file system.
    listings: dict[str, frozenset[str]] = {}
    for file_name in file_names:
        folder, base = os.path.split(os.path.join(images, file_name))
        if folder not in listings:
            listings[folder] = _listing(folder)
        if base not in listings[folder]:
            tally.note("image.no_file", file_name)


def _listing(folder: str) -> frozenset[str]:
    try:
        return frozenset(entry.name for entry in os.scandir(folder))
    except OSError:
        return frozenset()


def _read_annotations(
    entries: list[Any], image_sizes: Mapping[Any, tuple[float, float]], categories: Mapping[int, str], tally: _Tally
) -> CocoObjects:
    masks: Counter[str] = Counter()
    keypoints: Counter[int] = Counter()
    seen_ids: set[Any] = set()
    images_with_objects: set[Any] = set()
    for place, entry in enumerate(entries):
        if not isinstance(entry, Mapping) or not _is_id(entry.get("id")):
            tally.note("annotation.malformed", f"annotations[{place}]")
            continue
        label = f"annotation {entry['id']}"
        if entry["id"] in seen_ids:
            tally.note("annotation.duplicate_id", label)
        seen_ids.add(entry["id"])
        size = _find_image(entry, image_sizes, label, tally)
        _check_entry(entry, categories, label, tally)
        _check_box(entry.get("bbox"), size, label, tally)
        _check_for_evaluation(entry, label, tally)
        if _is_crowd(entry):
            continue
        if size:
            images_with_objects.add(entry["image_id"])
        mask = _kind_of_mask(entry.get("segmentation"))
        masks[mask] += 1
        if mask in ("missing", "malformed", "no_polygon"):
            tally.note(f"mask.{mask}", label)
        keypoints[len(entry.get("keypoints") or ()) // 3] += 1
    return CocoObjects(
        num=masks.total(),
        num_images=len(images_with_objects),
        num_with_rle=masks["rle"],
        num_with_keypoints=keypoints.total() - keypoints[0],
        keypoints_per_object=tuple(sorted(number for number in keypoints if number)),
    )


def _find_image(
    entry: Mapping[str, Any], image_sizes: Mapping[Any, tuple[float, float]], label: str, tally: _Tally
) -> tuple[float, float] | None:
    image_id = entry.get("image_id")
    size = image_sizes.get(image_id) if _is_id(image_id) else None
    if size is None:
        tally.note("annotation.unknown_image", f"{label}: image_id {image_id}")
    return size


def _check_entry(entry: Mapping[str, Any], categories: Mapping[int, str], label: str, tally: _Tally) -> None:
    category_id = entry.get("category_id")
    if not _is_whole(category_id) or category_id not in categories:
        tally.note("annotation.unknown_category", f"{label}: category_id {category_id}")
    if entry.get("ignore", 0):
        tally.note("annotation.ignore", label)
    if entry.get("iscrowd", 0) not in (0, 1):
        tally.note("annotation.iscrowd", label)


def _is_crowd(entry: Mapping[str, Any]) -> bool:
    # The same test as detectron2's, for which null is a crowd too.
    return bool(entry.get("iscrowd", 0) != 0)


def _check_for_evaluation(entry: Mapping[str, Any], label: str, tally: _Tally) -> None:
    """What pycocotools needs of every annotation, crowds included."""
    if not isinstance(entry.get("area"), (int, float)) or "iscrowd" not in entry:
        tally.note("annotation.not_for_evaluation", label)
    if isinstance(entry["id"], str):
        tally.note("annotation.text_id", label)
    elif entry["id"] == 0:
        tally.note("annotation.id_zero", label)
    if _stops_evaluation(_kind_of_mask(entry.get("segmentation")), entry):
        tally.note("mask.not_for_evaluation", label)
    if not isinstance(entry.get("keypoints"), list) or not _is_whole(entry.get("num_keypoints")):
        tally.note("keypoints.not_for_evaluation", label)


def _check_box(box: Any, size: tuple[float, float] | None, label: str, tally: _Tally) -> None:
    if not isinstance(box, list) or len(box) != 4 or not all(isinstance(number, (int, float)) for number in box):
        tally.note("box.malformed", label)
        return
    left, top, width, height = box
    # Written so that NaN counts as degenerate.
    if not (width > 0 and height > 0 and all(map(math.isfinite, box))):
        tally.note("box.degenerate", f"{label}: {box}")
    elif size and (left >= size[0] or top >= size[1] or left + width <= 0 or top + height <= 0):
        tally.note("box.outside", f"{label}: {box}")


def _kind_of_mask(segmentation: Any) -> str:
    if not segmentation:
        return "missing"
    if isinstance(segmentation, Mapping):
        whole = isinstance(segmentation.get("counts"), (list, str)) and isinstance(segmentation.get("size"), list)
        return "rle" if whole else "malformed"
    if isinstance(segmentation, list) and all(isinstance(polygon, list) for polygon in segmentation):
        # The same test as detectron2's loader, which drops the whole object when no polygon passes.
        passes = any(len(polygon) >= 6 and len(polygon) % 2 == 0 for polygon in segmentation)
        return "polygons" if passes else "no_polygon"
    return "malformed"


def _stops_evaluation(mask: str, entry: Mapping[str, Any]) -> bool:
    """Whether evaluating masks stops at this one, which training does not refuse."""
    if mask in ("polygons", "no_polygon"):
        # pycocotools takes the whole list for boxes when its first member has four numbers.
        return len(entry["segmentation"][0]) <= 4
    return mask != "rle" and _is_crowd(entry)
