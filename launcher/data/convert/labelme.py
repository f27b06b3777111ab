"""Reads labelme's files: JSON, one for each image, with shapes."""

from __future__ import annotations

import base64
import binascii
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from launcher.data.convert.images import beside, files_below, images_below, is_image, note_unlabelled, part_of, size_of
from launcher.data.convert.labels import (
    Account,
    LabelledImage,
    LabelledObject,
    Labels,
    Polygon,
    area_of,
    box_around,
    has_extent,
)

_NO_CLASSES = ("__ignore__", "_background_")
_CORNERS = 64
"""Of the polygon that a circle becomes."""
_DROPPED = ("point", "points", "line", "linestrip")


def is_labelme(source: Path) -> bool:
    """Whether there are labelme's files in that folder."""
    return any(_is_annotation(file) for file in files_below(source)) if source.is_dir() else False


def _is_annotation(file: Path) -> bool:
    """The keys are near both ends, and the image may be in between; an incomplete one lacks what comes last."""
    if file.suffix.lower() != ".json":
        return False
    with open(file, "rb") as opened:
        head = opened.read(4000)
        opened.seek(0, 2)
        opened.seek(max(0, opened.tell() - 4000))
        return b'"shapes"' in head + opened.read()


def read_labelme(source: Path, account: Account) -> Labels:
    """Read a whole data set."""
    parts: dict[str, list[LabelledImage]] = {}
    for file in files_below(source):
        if not _is_annotation(file):
            if file.suffix.lower() == ".json":
                account.lost.note("JSON files that are not labelme's", str(file))
        elif (image := _read_file(file, account)) is not None:
            parts.setdefault(part_of(file, source), []).append(image)
    images = [image for part in parts.values() for image in part]
    annotations = filter(_is_annotation, files_below(source))
    note_unlabelled(images_below(source), annotations, (image.file for image in images), account)
    named = {one.category for image in images for one in image.objects}
    return Labels(parts=parts, categories=tuple(sorted(named)))


@dataclass(frozen=True, kw_only=True)
class _Shape:
    """One shape as an object, or a piece of one."""

    label: str
    group: Any
    place: str
    bbox: tuple[float, float, float, float]
    polygon: Polygon | None
    rle: Mapping[str, Any] | None
    area: float

    @property
    def outline(self) -> Polygon:
        """Also of a box."""
        x, y, width, height = self.bbox
        return self.polygon or (x, y, x + width, y, x + width, y + height, x, y + height)


def _read_file(file: Path, account: Account) -> LabelledImage | None:
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        account.malformed.append(f"{file}:{error.lineno}: this is no JSON ({error.msg})")
        return None
    except (OSError, ValueError) as error:
        account.malformed.append(f"{file}: it cannot be read ({error})")
        return None
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        account.malformed.append(f"{file}: `shapes` is no list")
        return None
    return _read_image(file, content, account)


def _read_image(file: Path, content: Mapping[str, Any], account: Account) -> LabelledImage | None:
    image = _image_of(file, content)
    if image is None:
        held = " (the file has it as imageData)" if content.get("imageData") else ""
        account.lost.note(
            "annotations without an image, with their objects", f"{file}: {content.get('imagePath')}{held}"
        )
        return None
    size = size_of(image, account)
    if size is None:
        return None
    listed = (content.get("imageWidth"), content.get("imageHeight"))
    if listed != size and all(listed):
        account.changed.note(
            "images of another size than their file says: the image's own is written",
            f"{file}: {listed[0]} x {listed[1]}, the image has {size[0]} x {size[1]}",
        )
    if _is_any_true(content.get("flags")):
        account.lost.note("flags of images", str(file))
    read = [_read_shape(one, f"{file}: shapes[{place}]", size, account) for place, one in enumerate(content["shapes"])]
    objects = tuple(_joined([one for one in read if one is not None], account))
    return LabelledImage(file=image, width=size[0], height=size[1], objects=objects)


def _image_of(file: Path, content: Mapping[str, Any]) -> Path | None:
    named = str(content.get("imagePath") or "").replace("\\", "/")
    candidates = [file.parent / named, file.parent / Path(named).name] if named else []
    found = next((one for one in candidates if one.is_file() and is_image(one)), None)
    return found or beside(file)


def _is_any_true(flags: Any) -> bool:
    return isinstance(flags, dict) and any(flags.values())


def _read_shape(shape: Any, place: str, size: tuple[int, int], account: Account) -> _Shape | None:
    label = shape.get("label") if isinstance(shape, dict) else None
    if not isinstance(label, str) or not label:
        account.malformed.append(f"{place}: it has no label")
        return None
    place = f"{place} ({label})"
    if label in _NO_CLASSES:
        account.lost.note(f"shapes that are called {label}, which is no class", place)
        return None
    if _is_any_true(shape.get("flags")) or shape.get("description"):
        account.lost.note("flags and descriptions of shapes, whose shapes are kept", place)
    points = _points_of(shape)
    if points is None:
        account.malformed.append(f"{place}: its points are no list of pairs of numbers")
        return None
    drawn = _draw(str(shape.get("shape_type") or "polygon"), points, shape, place, size, account)
    if drawn is None:
        return None
    polygon, rle, bbox, area = drawn
    if not has_extent(bbox):
        account.lost.note("shapes without width or height", place)
        return None
    group = shape.get("group_id")
    return _Shape(label=label, group=group, place=place, bbox=bbox, polygon=polygon, rle=rle, area=area)


def _points_of(shape: Mapping[str, Any]) -> list[tuple[float, float]] | None:
    points = shape.get("points")
    if not isinstance(points, list) or not all(isinstance(point, list) and len(point) == 2 for point in points):
        return None
    flat = [value for point in points for value in point]
    if not all(type(value) in (int, float) and math.isfinite(value) for value in flat):
        return None
    return [(float(x), float(y)) for x, y in points]


Drawn = tuple["Polygon | None", "Mapping[str, Any] | None", tuple[float, float, float, float], float]


def _draw(
    kind: str,
    points: list[tuple[float, float]],
    shape: Mapping[str, Any],
    place: str,
    size: tuple[int, int],
    account: Account,
) -> Drawn | None:
    """Polygon or mask, box and area."""
    if kind == "polygon" and len(points) >= 3:
        return _outlined([value for point in points for value in point])
    if kind == "rectangle" and len(points) in (2, 4):
        box = box_around([[value for point in points for value in point]])
        return None, None, box, box[2] * box[3]
    if kind == "circle" and len(points) == 2:
        account.changed.note(f"circles, kept as polygons of {_CORNERS} corners", place)
        return _circle(points)
    if kind == "mask" and len(points) == 2:
        return _masked(points, shape.get("mask"), place, size, account)
    if kind in (*_DROPPED, "polygon"):
        reason = "fewer than three points" if kind == "polygon" else "no area"
        account.lost.note(f"shapes of the kind {kind} with {reason}", place)
        return None
    if kind in ("rectangle", "circle"):
        account.malformed.append(f"{place}: a {kind} of {len(points)} points")
    else:
        account.lost.note(f"shapes of the kind {kind}, which is not known", place)
    return None


def _outlined(polygon: Polygon) -> Drawn:
    return polygon, None, box_around([polygon]), area_of(polygon)


def _circle(points: list[tuple[float, float]]) -> Drawn:
    """From its center and a point of it: a polygon of the same area, and the circle's own box."""
    (x, y), edge = points
    radius = math.dist((x, y), edge)
    turn = 2 * math.pi / _CORNERS
    outer = radius * math.sqrt(turn / math.sin(turn))
    corners = ((x + outer * math.cos(turn * step), y + outer * math.sin(turn * step)) for step in range(_CORNERS))
    polygon = [value for corner in corners for value in corner]
    return polygon, None, (x - radius, y - radius, 2 * radius, 2 * radius), math.pi * radius**2


def _masked(
    points: list[tuple[float, float]], encoded: Any, place: str, size: tuple[int, int], account: Account
) -> Drawn | None:
    """A bitmap within a box, as a run-length encoding of the image's size."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(encoded, validate=True))) as opened:
            bitmap = np.asarray(opened.convert("L")) > 0
    except (binascii.Error, UnidentifiedImageError, OSError, TypeError, ValueError):
        account.malformed.append(f"{place}: its mask is no image")
        return None
    whole = np.zeros((size[1], size[0]), bool)
    left, top = (round(value) for value in points[0])
    part = whole[max(0, top) : max(0, top + bitmap.shape[0]), max(0, left) : max(0, left + bitmap.shape[1])]
    part[:] = bitmap[max(0, -top) :, max(0, -left) :][: part.shape[0], : part.shape[1]]
    rows, columns = np.flatnonzero(whole.any(1)), np.flatnonzero(whole.any(0))
    if len(rows) == 0:
        account.lost.note("masks without a pixel", place)
        return None
    box = (columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1)
    return None, run_lengths(whole), tuple(map(float, box)), float(whole.sum())  # type: ignore[return-value]


def run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """COCO's uncompressed run-length encoding: column after column, beginning with how many are not of the object."""
    flat = np.concatenate([[False], mask.ravel(order="F")])
    changes = np.flatnonzero(np.diff(flat))
    counts = np.diff([0, *changes.tolist(), mask.size])
    return {"size": list(mask.shape), "counts": counts.tolist()}


def _joined(shapes: Sequence[_Shape], account: Account) -> Iterator[LabelledObject]:
    """Objects: shapes of one label and group_id are parts of one."""
    groups: dict[Any, list[_Shape]] = {}
    for place, shape in enumerate(shapes):
        key = (place,) if shape.group is None else (shape.label, str(shape.group))
        groups.setdefault(key, []).append(shape)
    _note_mixed_groups(shapes, account)
    for members in groups.values():
        yield from [_object_of(members)] if _can_be_joined(members, account) else map(_alone, members)


def _note_mixed_groups(shapes: Sequence[_Shape], account: Account) -> None:
    labels: dict[str, set[str]] = {}
    for shape in shapes:
        if shape.group is not None:
            known = labels.setdefault(str(shape.group), set())
            if known and shape.label not in known:
                account.changed.note("group ids of several labels: an object for each label", shape.place)
            known.add(shape.label)


def _can_be_joined(shapes: Sequence[_Shape], account: Account) -> bool:
    if len(shapes) > 1 and any(shape.rle for shape in shapes):
        account.changed.note("masks with a group_id, kept as objects of their own", shapes[0].place)
        return False
    return True


def _alone(shape: _Shape) -> LabelledObject:
    return _object_of([shape])


def _object_of(shapes: Sequence[_Shape]) -> LabelledObject:
    first = shapes[0]
    is_box = all(shape.polygon is None for shape in shapes) and len(shapes) == 1
    corners = [(x, y, x + width, y + height) for x, y, width, height in (shape.bbox for shape in shapes)]
    return LabelledObject(
        category=first.label,
        bbox=box_around(corners),
        polygons=() if is_box else tuple(shape.outline for shape in shapes),
        rle=first.rle,
        area=sum(shape.area for shape in shapes),
    )
