"""Reads one COCO-format file and its image folder, and says what is there. No judgement: see `checks.py`."""

from __future__ import annotations

import contextlib
import gc
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from launcher.data.box_readings import BoxCollector, PlacedBox, PlacedBoxes, judge_boxes
from launcher.data.geometry import (
    Extents,
    Size,
    check_box,
    check_keypoints,
    check_polygons,
    check_rle,
    is_number,
    kind_of_mask,
)
from launcher.data.image_files import look_for_files
from launcher.data.json_file import kind_of, read_coco_lists
from launcher.data.listed_image import ListedImage
from launcher.data.portion import Portion
from launcher.data.repeats import KeyCollector, Keys, label_of, note_repeated
from launcher.data.tally import Flaw, Tally

_ID_LIMIT = 2**63
"""pycocotools and detectron2 hold ids in 64 bits."""
_MOST_AREA = 1e10
"""COCO evaluation leaves out larger objects."""
_AREA_SLACK = 1.5
"""Of a box: how much larger the area of an object may be that fills it."""
_MOST_DECODED = 1000
"""Compressed RLEs of a file that are decoded."""
_SAMPLED_BOXES = 500
_FOUND_WITHOUT_CHECK = (
    "annotation.id_zero",
    "annotation.id_too_large",
    "image.id_too_large",
    "category.duplicate_name",
    "area.ignored",
    "polygon.malformed",
    "polygon.far",
)
"""Flaws that would silently give wrong metrics or take all memory; every other one stops the run at some point."""


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
    num_with_mask: int = 0
    """Objects that have a segmentation of any kind."""
    num_with_visible: int = 0
    """Objects with at least one keypoint that can be seen."""
    num_decoded: int = 0
    """RLEs that were looked into for where they lie."""
    num_crowds: int = 0
    """Annotations that are no objects."""
    unused_categories: tuple[str, ...] = ()
    """Names of the classes that no object has."""
    per_class: tuple[tuple[int, int], ...] = ()
    """Objects of each class and images with one of them, in the order of the file's categories."""
    box_sample: tuple[tuple[float, float, float, float], ...] = ()
    """Width and height of some boxes, evenly spread over the file, with those of their images."""


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
    num_headers: int = 0
    """Image files whose headers were read."""
    objects: CocoObjects = NO_OBJECTS
    categories: tuple[tuple[int, str], ...] = ()
    """(id, name), by id: the order in which detectron2 numbers them."""
    keypoint_names: tuple[str, ...] = ()
    flaws: tuple[Flaw, ...] = ()
    listed: tuple[ListedImage, ...] = ()
    """The images that have a file name, as the file lists them; empty where they are not looked for."""
    is_registered: bool = False
    """It is one of detectron2's own, which no setting of ours names."""
    is_opened: bool = False
    """All its images have been opened."""
    portion: Portion | None = None
    """The part of the file that all of this is about; None for the whole."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Header:
    """The categories and images of a file: what its annotations refer to."""

    categories: tuple[tuple[int, str], ...]
    keypoint_names: tuple[str, ...]
    sizes: Mapping[Any, Size]
    """By image id."""
    listed: Sequence[ListedImage]
    """The images that have a file name, as the file lists them."""
    flaws: tuple[Flaw, ...]


@dataclass(frozen=True, kw_only=True)
class FileFacts:
    """What a COCO-format file says by itself, whatever its image folder holds."""

    checksum: int
    num_images: int
    objects: CocoObjects
    categories: tuple[tuple[int, str], ...]
    keypoint_names: tuple[str, ...]
    flaws_of_header: tuple[Flaw, ...]
    flaws_of_annotations: tuple[Flaw, ...]


def read_coco(
    name: str, split: str, json_file: Path, images: Path, *, check: bool = True, portion: Portion | None = None
) -> CocoFacts:
    """Read the file once and, when `check`, every entry of it (or of that part) and the listing of its image folder."""
    asked = CocoFacts(name=name, split=split, json=str(json_file), images=str(images), portion=portion)
    with without_collection():
        return _read_coco(asked, json_file, check=check)


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
    """What is read has no circles, and looking for some among millions of lists takes a quarter of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _read_coco(asked: CocoFacts, json_file: Path, *, check: bool) -> CocoFacts:
    content, checksum, why_not = read_coco_lists(json_file)
    if why_not:
        return replace(asked, unreadable=why_not)
    images, annotations = content["images"], content["annotations"]
    of_images = (entry.get("image_id") if isinstance(entry, dict) else None for entry in annotations)
    part = places_of(asked.portion, images, of_images, len(annotations))
    header = read_header(content["categories"], images, part.images)
    judge = AnnotationJudge(header, len(part.annotations))
    for place in part.annotations:
        judge.see(place, annotations[place])
    return with_images(asked, file_facts(checksum, header, judge.found(), annotations), header.listed, check=check)


def file_facts(checksum: int, header: Header, seen: Seen, annotations: Sequence[Any]) -> FileFacts:
    """What was found, once every annotation has been seen."""
    tally = Tally()
    tally.add(seen.flaws)
    note_repeated(seen.keys, annotations, tally)
    judge_boxes(seen.boxes, tally)
    return FileFacts(
        checksum=checksum,
        num_images=len(header.sizes),
        objects=seen.count.result(dict(header.categories), _sample_of(seen.boxes)),
        categories=header.categories,
        keypoint_names=header.keypoint_names,
        flaws_of_header=header.flaws,
        flaws_of_annotations=tally.result(),
    )


def _sample_of(boxes: PlacedBoxes) -> tuple[tuple[float, float, float, float], ...]:
    rows = boxes.rows[:: max(1, -(-len(boxes) // _SAMPLED_BOXES)), 2:6]
    return tuple(tuple(row) for row in rows.tolist())


def with_images(asked: CocoFacts, found: FileFacts, listed: Sequence[ListedImage], *, check: bool) -> CocoFacts:
    """What was asked for, with what its file says and, when `check`, what its image folder holds."""
    tally = Tally()
    num_headers = look_for_files(asked.images, listed, tally) if check else 0
    flaws = (*found.flaws_of_header, *tally.result(), *found.flaws_of_annotations)
    return replace(
        asked,
        checksum=found.checksum,
        num_images=found.num_images,
        num_headers=num_headers,
        objects=found.objects,
        categories=found.categories,
        keypoint_names=found.keypoint_names,
        flaws=tuple(flaw for flaw in flaws if check or flaw.code in _FOUND_WITHOUT_CHECK),
        listed=tuple(listed) if check else (),
    )


class Places(NamedTuple):
    """Which entries of a file's lists are read."""

    images: Sequence[int]
    annotations: Sequence[int]


def places_of(portion: Portion | None, images: Sequence[Any], image_ids: Iterable[Any], num_annotations: int) -> Places:
    """All of them, or those of a part; `image_ids` are those of all annotations, and looked at for a part only."""
    if portion is None:
        return Places(range(len(images)), range(num_annotations))
    return Places(portion.images(images), portion.annotations(image_ids, images))


def read_header(categories: Iterable[Any], images: Sequence[Any], places: Sequence[int]) -> Header:
    """Read what annotations refer to, the images at those places, and note what is wrong with it."""
    tally = Tally()
    named, keypoint_names = _read_categories(categories, tally)
    sizes, listed = _read_images(((place, images[place]) for place in places), tally)
    return Header(categories=named, keypoint_names=keypoint_names, sizes=sizes, listed=listed, flaws=tally.result())


def _read_categories(entries: Iterable[Any], tally: Tally) -> tuple[tuple[tuple[int, str], ...], tuple[str, ...]]:
    names: dict[int, str] = {}
    keypoint_names: tuple[str, ...] = ()
    for place, entry in enumerate(entries):
        if not is_category(entry):
            tally.note("category.malformed", f"categories[{place}]")
            continue
        if entry["id"] in names:
            tally.note("category.duplicate_id", f"id {entry['id']}")
        elif str(entry["name"]) in names.values():
            tally.note("category.duplicate_name", f"id {entry['id']}: {entry['name']}")
        names[int(entry["id"])] = str(entry["name"])
        keypoint_names = keypoint_names or tuple(map(str, entry.get("keypoints") or ()))
    return tuple(sorted(names.items())), keypoint_names


def is_category(entry: Any) -> bool:
    """Whether it is one that annotations can be of."""
    if not isinstance(entry, Mapping) or not _is_whole(entry.get("id")) or not _is_in_64_bits(entry["id"]):
        return False
    is_name = isinstance(entry.get("name"), (str, int, float)) and bool(entry["name"])
    keypoints = entry.get("keypoints") or []
    return is_name and isinstance(keypoints, list) and all(isinstance(name, (str, int, float)) for name in keypoints)


def _read_images(entries: Iterable[tuple[int, Any]], tally: Tally) -> tuple[dict[Any, Size], list[ListedImage]]:
    """Width and height by image id, and the images that have a file name."""
    sizes: dict[Any, Size] = {}
    first: dict[str, str] = {}
    listed = []
    width: Any
    height: Any
    for place, entry in entries:
        if not isinstance(entry, Mapping) or not _is_id(entry.get("id")):
            tally.note("image.malformed", f"images[{place}]")
            continue
        label = f"id {_show_id(entry['id'])}"
        file_name, width, height = entry.get("file_name"), entry.get("width"), entry.get("height")
        if not isinstance(file_name, str) or not file_name or not (_is_positive(width) and _is_positive(height)):
            tally.note("image.malformed", f"images[{place}] ({label})")
        else:
            listed.append(ListedImage(label, file_name, width, height))
            if (other := first.setdefault(file_name, label)) is not label:
                tally.note("image.repeated", f"{file_name}: {label} and {other}")
            if not (isinstance(width, int) and isinstance(height, int)):
                tally.note("image.fractional_size", f"{label}: {width} x {height}")
        if entry["id"] in sizes:
            tally.note("image.duplicate_id", label)
        if not _is_in_64_bits(entry["id"]):
            tally.note("image.id_too_large", label)
        sizes[entry["id"]] = (_or_infinite(width), _or_infinite(height))
    _note_mixed_ids(sizes, tally)
    return sizes, listed


def _note_mixed_ids(image_ids: Mapping[Any, Size], tally: Tally) -> None:
    texts = [image_id for image_id in image_ids if isinstance(image_id, str)]
    if len(texts) < len(image_ids):
        for image_id in texts:
            tally.note("image.mixed_ids", f"id {_show_id(image_id)}")


def _is_whole(value: object) -> bool:
    """Whether it is a whole number; 1.0 is one, as pandas writes it."""
    return type(value) is int or (isinstance(value, float) and value.is_integer())


def _is_id(value: object) -> bool:
    return isinstance(value, str) or _is_whole(value)


def _is_in_64_bits(number: object) -> bool:
    """Also where it is text, which is not held as a number."""
    return isinstance(number, str) or bool(-_ID_LIMIT <= number < _ID_LIMIT)  # type: ignore[operator]


def _show_id(value: object) -> str:
    """As the file has it: a text with its quotes, so that "1" and 1 look different."""
    if isinstance(value, (list, dict)):
        return f"a {kind_of(value)}"
    return json.dumps(value, ensure_ascii=False)


def _is_positive(value: object) -> bool:
    return is_number(value) and value > 0  # type: ignore[operator]


def _or_infinite(length: Any) -> float:
    """Where an image's size is not known, no box is outside."""
    return length if _is_positive(length) else math.inf


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """What was seen of some annotations of a file, in the order of the file."""

    count: Count
    flaws: tuple[Flaw, ...]
    boxes: PlacedBoxes
    keys: Keys

    @classmethod
    def of_parts(cls, parts: Sequence[Seen]) -> Seen:
        """What was seen of all, of parts that follow each other."""
        tally, count = Tally(), Count()
        for part in parts:
            tally.add(part.flaws)
            count.update(part.count)
        boxes = PlacedBoxes.of_parts([part.boxes for part in parts])
        return cls(count=count, flaws=tally.result(), boxes=boxes, keys=Keys.of_parts([part.keys for part in parts]))


class AnnotationJudge:
    """Sees one annotation after the other, and counts them and what is wrong with them."""

    def __init__(self, header: Header, num_annotations: int) -> None:
        self._tally = Tally()
        self._count = Count()
        self._boxes = BoxCollector()
        self._keys = KeyCollector()
        self._sizes = header.sizes
        self._categories = dict(header.categories)
        self._every = -(-num_annotations // _MOST_DECODED)

    def found(self) -> Seen:
        """What has been seen so far."""
        return Seen(count=self._count, flaws=self._tally.result(), boxes=self._boxes.result(), keys=self._keys.result())

    def see(self, place: int, entry: Any) -> None:
        """Judge the annotation at that place of the file's list."""
        tally = self._tally
        if not isinstance(entry, dict) or not _is_id(entry.get("id")):
            tally.note("annotation.malformed", f"annotations[{place}]")
            return
        label = label_of(entry)
        self._keys.add_id(place, entry)
        size = _find_image(entry, self._sizes, label, tally)
        _check_entry(entry, self._categories, label, tally)
        shapes = _check_shapes(entry, size, label, tally, decode=place % self._every == 0)
        _check_for_evaluation(entry, shapes, label, tally)
        if _is_crowd(entry):
            self._count.num_crowds += 1
            return
        self._count.add(entry, shapes, size)
        if shapes.box and size and not shapes.box.is_fraction(size) and math.isfinite(size[0] + size[1]):
            self._boxes.add(PlacedBox(label, entry["bbox"], size, entry.get("area"), shapes.is_confirmed))
        if shapes.box and size and _is_whole(entry.get("category_id")):
            self._keys.add_object(place, entry)
        if shapes.mask in ("missing", "malformed", "no_polygon"):
            tally.note(f"mask.{shapes.mask}", label)


class _Shapes(NamedTuple):
    """What was found of one annotation's box, mask and keypoints."""

    mask: str
    """As `kind_of_mask` calls it."""
    box: Extents | None
    """None where it is not sound."""
    is_confirmed: bool
    """Whether its polygons fit the box."""
    is_decoded: bool
    """Whether its RLE was looked into."""
    num_visible: int


@dataclass
class Count:
    """Counts the objects of a file."""

    masks: Counter[str] = field(default_factory=Counter)
    keypoints: Counter[int] = field(default_factory=Counter)
    categories: Counter[Any] = field(default_factory=Counter)
    images: set[Any] = field(default_factory=set)
    images_of: dict[Any, set[Any]] = field(default_factory=dict)
    """Ids of images by category."""
    num_with_visible: int = 0
    num_decoded: int = 0
    num_crowds: int = 0

    def add(self, entry: Mapping[str, Any], shapes: _Shapes, size: Size | None) -> None:
        if size:
            self.images.add(entry["image_id"])
        self.masks[shapes.mask] += 1
        keypoints = entry.get("keypoints")
        self.keypoints[len(keypoints) // 3 if isinstance(keypoints, list) else 0] += 1
        if _is_whole(entry.get("category_id")):
            self.categories[entry["category_id"]] += 1
            if size:
                self.images_of.setdefault(entry["category_id"], set()).add(entry["image_id"])
        self.num_with_visible += shapes.num_visible > 0
        self.num_decoded += shapes.is_decoded

    def update(self, other: Count) -> None:
        """Add what was counted elsewhere."""
        self.masks.update(other.masks)
        self.keypoints.update(other.keypoints)
        self.categories.update(other.categories)
        self.images.update(other.images)
        for category, images in other.images_of.items():
            self.images_of.setdefault(category, set()).update(images)
        self.num_with_visible += other.num_with_visible
        self.num_decoded += other.num_decoded
        self.num_crowds += other.num_crowds

    def result(
        self, categories: Mapping[int, str], box_sample: tuple[tuple[float, float, float, float], ...]
    ) -> CocoObjects:
        return CocoObjects(
            num=self.masks.total(),
            num_images=len(self.images),
            num_with_rle=self.masks["rle"],
            num_with_keypoints=self.keypoints.total() - self.keypoints[0],
            keypoints_per_object=tuple(sorted(number for number in self.keypoints if number)),
            num_with_mask=self.masks.total() - self.masks["missing"],
            num_with_visible=self.num_with_visible,
            num_decoded=self.num_decoded,
            num_crowds=self.num_crowds,
            unused_categories=tuple(name for number, name in categories.items() if not self.categories[number]),
            per_class=tuple((self.categories[number], len(self.images_of.get(number, ()))) for number in categories),
            box_sample=box_sample,
        )


def _find_image(entry: Mapping[str, Any], image_sizes: Mapping[Any, Size], label: str, tally: Tally) -> Size | None:
    image_id = entry.get("image_id")
    size = image_sizes.get(image_id) if _is_id(image_id) else None
    if size is None:
        other = f", but {twin}" if (twin := _other_kind_of_id(image_id, image_sizes)) else ""
        tally.note("annotation.unknown_image", f"{label}: image_id {_show_id(image_id)}{other}")
    return size


def _other_kind_of_id(wanted: object, known: Mapping[Any, object]) -> str:
    """Where the same id is there as the other type: what each is."""
    if isinstance(wanted, str):
        # Of so many digits as an id has; int() refuses thousands.
        number = int(wanted) if wanted.isascii() and wanted.isdigit() and len(wanted) < 20 else None
        return f"that is text and the file has the number {number}" if number in known else ""
    if _is_whole(wanted) and str(wanted) in known:
        return f"that is a number and the file has the text {_show_id(str(wanted))}"
    return ""


def _check_entry(entry: Mapping[str, Any], categories: Mapping[int, str], label: str, tally: Tally) -> None:
    category_id = entry.get("category_id")
    if not _is_whole(category_id) or category_id not in categories:
        other = f", but {twin}" if (twin := _other_kind_of_id(category_id, categories)) else ""
        tally.note("annotation.unknown_category", f"{label}: category_id {_show_id(category_id)}{other}")
    if entry.get("ignore", 0):
        tally.note("annotation.ignore", label)
    if entry.get("iscrowd", 0) not in (0, 1):
        tally.note("annotation.iscrowd", label)


def _is_crowd(entry: Mapping[str, Any]) -> bool:
    # The same test as detectron2's, for which null is a crowd too.
    return bool(entry.get("iscrowd", 0) != 0)


def _check_shapes(entry: Mapping[str, Any], size: Size | None, label: str, tally: Tally, *, decode: bool) -> _Shapes:
    """Note what is wrong with box, mask and keypoints."""
    segmentation = entry.get("segmentation")
    mask = kind_of_mask(segmentation)
    is_crowd = _is_crowd(entry)
    known = None if is_crowd else size  # where crowds lie is nobody's concern
    box = check_box(entry.get("bbox"), known, label, tally)
    is_confirmed = is_decoded = False
    if mask == "rle":
        is_decoded = check_rle(segmentation, size, None if is_crowd else box, label, tally, decode=decode)  # type: ignore[arg-type]
    elif mask in ("polygons", "no_polygon"):
        is_confirmed = check_polygons(segmentation, known, box, label, tally)  # type: ignore[arg-type]
    num_visible = check_keypoints(entry, size, box if known else None, label, tally)
    return _Shapes(mask, box, is_confirmed, is_decoded, num_visible)


def _check_for_evaluation(entry: Mapping[str, Any], shapes: _Shapes, label: str, tally: Tally) -> None:
    """What pycocotools needs of every annotation, crowds included."""
    _check_area(entry, shapes.box, label, tally)
    if isinstance(entry["id"], str):
        tally.note("annotation.text_id", label)
    elif entry["id"] == 0:
        tally.note("annotation.id_zero", label)
    elif not _is_in_64_bits(entry["id"]):
        tally.note("annotation.id_too_large", label)
    if _stops_evaluation(shapes.mask, entry):
        tally.note("mask.not_for_evaluation", label)
    if not isinstance(entry.get("keypoints"), list) or not _is_whole(entry.get("num_keypoints")):
        tally.note("keypoints.not_for_evaluation", label)


def _check_area(entry: Mapping[str, Any], box: Extents | None, label: str, tally: Tally) -> None:
    area = entry.get("area")
    if not is_number(area) or "iscrowd" not in entry:
        tally.note("annotation.not_for_evaluation", label)
    elif not 0 <= area <= _MOST_AREA:  # type: ignore[operator]
        tally.note("area.ignored", f"{label}: {area}")
    elif area == 0:
        tally.note("area.zero", label)
    elif box and area > _AREA_SLACK * _whole_pixels(box) and not _is_crowd(entry):  # type: ignore[operator]
        tally.note("area.too_large", f"{label}: {area}, its bbox {entry['bbox']}")


def _whole_pixels(box: Extents) -> float:
    return (box.right - box.left + 1) * (box.bottom - box.top + 1)


def _stops_evaluation(mask: str, entry: Mapping[str, Any]) -> bool:
    """Whether evaluating masks stops at this one, which training does not refuse."""
    if mask in ("polygons", "no_polygon"):
        # pycocotools takes the whole list for boxes when its first member has four numbers.
        return len(entry["segmentation"][0]) <= 4
    return mask != "rle" and _is_crowd(entry)
