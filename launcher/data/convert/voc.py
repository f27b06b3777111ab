"""Reads Pascal VOC's annotations: a folder like VOC2007, or any folder of XML files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.parsers import expat

from launcher.data.convert.images import beside, files_below, images_in, is_image, note_unlabelled, part_of, size_of
from launcher.data.convert.labels import Account, LabelledImage, LabelledObject, Labels, area_of, box_around, has_extent
from launcher.errors import DataError

_PARTS = ("train", "val", "test")
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True, kw_only=True)
class VocOptions:
    """How what VOC's files do not say for certain is understood."""

    origin: int | None = None
    """The number of the first pixel, 1 or 0; None goes by the numbers."""
    difficult_as_objects: bool = False
    """Otherwise they are crowds."""


def is_voc(source: Path) -> bool:
    """Whether there are annotations of VOC's in that folder."""
    return any(_is_annotation(file) for file in files_below(source)) if source.is_dir() else False


def _is_annotation(file: Path) -> bool:
    if file.suffix.lower() != ".xml":
        return False
    with open(file, "rb") as opened:
        head = opened.read(1000)
    return not head.strip() or b"<annotation" in head  # an empty file is incomplete


def read_voc(source: Path, account: Account, options: VocOptions) -> Labels:
    """Read a whole data set.

    Raises:
        DataError: it is several data sets.
    """
    root = _root_of(source)
    parts = {part: _read_files(files, root, account) for part, files in _files_by_part(root, account).items()}
    for file in files_below(root):
        if file.suffix.lower() == ".xml" and not _is_annotation(file):
            account.lost.note("XML files that are no annotations", str(file))
    used = [image.file for images in parts.values() for image in images]
    beside_used = (file for folder in dict.fromkeys(file.parent for file in used) for file in images_in(folder))
    note_unlabelled(beside_used, filter(_is_annotation, files_below(root)), used, account)
    origin, why = _origin_of(parts, options)
    named = {one.name for images in parts.values() for image in images for one in image.objects}
    made = {part: [_as_labelled(image, origin, options, account) for image in images] for part, images in parts.items()}
    if (root / "SegmentationObject").is_dir():
        account.lost.note("masks of SegmentationObject/: only boxes are read", str(root / "SegmentationObject"))
    return Labels(parts=made, categories=tuple(sorted(named)), conventions=(why,))


def _root_of(source: Path) -> Path:
    if (source / "Annotations").is_dir():
        return source
    below = [folder.parent for folder in sorted(source.glob("*/Annotations"))]
    below += [folder.parent for folder in sorted(source.glob("VOCdevkit/*/Annotations"))]
    if len(below) > 1:
        raise DataError(f"{source} has several data sets: {', '.join(map(str, below))}. Convert each by itself.")
    return below[0] if below else source


def _files_by_part(root: Path, account: Account) -> dict[str, list[Path]]:
    """The annotation files, by ImageSets/Main or by the names of folders."""
    files = [file for file in files_below(root / "Annotations") if _is_annotation(file)]
    sets = root / "ImageSets" / "Main"
    if files and sets.is_dir():
        return _by_sets(files, sets, account)
    by_folder: dict[str, list[Path]] = {}
    for file in filter(_is_annotation, files_below(root)):
        by_folder.setdefault(part_of(file, root), []).append(file)
    return by_folder


def _by_sets(files: list[Path], sets: Path, account: Account) -> dict[str, list[Path]]:
    named = {part: sets / f"{part}.txt" for part in _PARTS}
    is_whole = not named["train"].is_file() and (sets / "trainval.txt").is_file()
    if is_whole:
        named["train"] = sets / "trainval.txt"
    by_name = _by_name(files)
    parts = {part: list(_listed(file, by_name, account)) for part, file in named.items() if file.is_file()}
    if not parts:
        parts = {"train": files}
    if is_whole:
        parts["train"] = [file for file in parts["train"] if file not in parts.get("val", ())]
    used = {file for listed in parts.values() for file in listed}
    for file in files:
        if file not in used:
            account.lost.note("annotation files that ImageSets/Main does not list", str(file))
    return {part: listed for part, listed in parts.items() if listed}


def _by_name(files: list[Path]) -> dict[str, list[Path]]:
    """By what a list may call them; files in several folders may have one name."""
    named: dict[str, list[Path]] = {}
    for file in files:
        named.setdefault(file.stem, []).append(file)
    return named


def _listed(file: Path, files: dict[str, list[Path]], account: Account) -> Iterator[Path]:
    for number, line in enumerate(file.read_text(encoding="utf-8-sig", errors="replace").splitlines(), 1):
        words = line.split()
        if words and words[0] in files:
            yield from files[words[0]]
        elif words:
            account.lost.note("listed images without annotations", f"{file}:{number}: {words[0]}")


# One file


@dataclass(frozen=True, kw_only=True)
class _Object:
    """As the file has it."""

    place: str
    name: str
    corners: tuple[float, float, float, float]
    polygon: tuple[float, ...]
    is_difficult: bool


@dataclass(frozen=True, kw_only=True)
class _Image:
    file: Path
    width: int
    height: int
    objects: tuple[_Object, ...]


class Element:
    """One element of an XML file and the line that it begins in."""

    def __init__(self, tag: str, line: int) -> None:
        self.tag = tag
        self.line = line
        self.text = ""
        self.children: list[Element] = []

    def all(self, tag: str) -> list[Element]:
        """Its children of that name."""
        return [child for child in self.children if child.tag == tag]

    def say(self, tag: str) -> str:
        """The text of its first child of that name; empty without one."""
        return next((child.text.strip() for child in self.all(tag)), "")


def parse(file: Path) -> Element:
    """Raises expat.ExpatError, OSError."""
    root = Element("", 0)
    open_elements = [root]
    parser = expat.ParserCreate()

    def start(tag: str, _: Any) -> None:
        element = Element(tag, parser.CurrentLineNumber)
        open_elements[-1].children.append(element)
        open_elements.append(element)

    def text(data: str) -> None:
        open_elements[-1].text += data

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _: open_elements.pop()
    parser.CharacterDataHandler = text
    parser.Parse(file.read_bytes(), True)
    return root.children[0]


def _read_files(files: Sequence[Path], root: Path, account: Account) -> list[_Image]:
    read = (_read_file(file, root, account) for file in files)
    return [image for image in read if image is not None]


def _read_file(file: Path, root: Path, account: Account) -> _Image | None:
    try:
        element = parse(file)
    except expat.ExpatError as error:
        account.malformed.append(f"{file}:{error.lineno}: this is no XML ({expat.ErrorString(error.code)})")
        return None
    image = _image_of(file, element, root)
    if image is None:
        account.lost.note("annotations without an image, with their objects", f"{file}: {element.say('filename')}")
        return None
    size = size_of(image, account)
    if size is None:
        return None
    _note_other_size(file, element, size, account)
    read = (_read_object(one, f"{file}:{one.line}", account) for one in element.all("object"))
    return _Image(file=image, width=size[0], height=size[1], objects=tuple(one for one in read if one is not None))


def _image_of(file: Path, element: Element, root: Path) -> Path | None:
    name = element.say("filename").replace("\\", "/")
    folders = (root / "JPEGImages", file.parent, root / "images", root)
    candidates = [folder / name for folder in folders if name] + [
        folder / Path(name).name for folder in folders if name
    ]
    # labelImg leaves the name of the first file in those that are copied, so the file's own name counts first.
    own = [made for folder in (file.parent, *folders) if (made := beside(folder / file.name)) is not None]
    return next((one for one in (*own, *candidates) if one.is_file() and is_image(one)), None)


def _note_other_size(file: Path, element: Element, size: tuple[int, int], account: Account) -> None:
    for said in element.all("size"):
        listed = (said.say("width"), said.say("height"))
        if listed not in ((str(size[0]), str(size[1])), ("0", "0"), ("", "")):
            account.changed.note(
                "images of another size than their <size>: the image's own is written",
                f"{file}:{said.line}: {listed[0]} x {listed[1]}, the image has {size[0]} x {size[1]}",
            )


def _read_object(element: Element, place: str, account: Account) -> _Object | None:
    name = element.say("name")
    if not name:
        account.malformed.append(f"{place}: an object without a <name>")
        return None
    if element.all("part"):
        account.lost.note("parts of objects (<part>), whose objects are kept", place)
    if not element.all("bndbox"):
        kind = next((child.tag for child in element.children if child.tag.endswith("bndbox")), "")
        _note_no_box(kind, place, account)
        return None
    box = element.all("bndbox")[0]
    corners = [_number(box.say(corner)) for corner in _CORNERS]
    polygon = _polygon_of(element)
    if any(value is None for value in (*corners, *polygon)):
        account.malformed.append(f"{file_line(place, box.line)}: a box or polygon whose numbers cannot be read")
        return None
    return _Object(
        place=place,
        name=name,
        corners=tuple(corners),  # type: ignore[arg-type]
        polygon=tuple(polygon),  # type: ignore[arg-type]
        is_difficult=element.say("difficult") == "1",
    )


def file_line(place: str, line: int) -> str:
    """Another line of the same file."""
    return f"{place.rpartition(':')[0]}:{line}"


def _note_no_box(kind: str, place: str, account: Account) -> None:
    if kind:
        account.lost.note(f"rotated boxes (<{kind}>), which COCO's format has not", place)
    else:
        account.malformed.append(f"{place}: an object without a <bndbox>")


def _polygon_of(element: Element) -> list[float | None]:
    """x1, y1, x2, ... as Roboflow and others write them beside the box; empty without."""
    for polygon in element.all("polygon"):
        spelled = {child.tag: child.text.strip() for child in polygon.children}
        number = sum(f"x{place}" in spelled for place in range(1, len(spelled) + 1))
        return [_number(spelled.get(f"{axis}{place}", "")) for place in range(1, number + 1) for axis in "xy"]
    return []


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


# What the numbers mean


def _origin_of(parts: dict[str, list[_Image]], options: VocOptions) -> tuple[int, str]:
    """The number of the first pixel, and a sentence about it."""
    if options.origin is not None:
        return options.origin, f"{_MEANINGS[options.origin]}, as asked"
    objects = [one for images in parts.values() for image in images for one in image.objects]
    zero = next((one for one in objects if min(one.corners[:2]) < 1), None)
    if zero is not None:
        return 0, f"{_MEANINGS[0]}: {zero.place} has one at {min(zero.corners[:2]):g} (--origin 1 if that is an error)"
    return 1, f"{_MEANINGS[1]} (--origin 0 if not)"


_MEANINGS = {
    0: "coordinates count from 0, and xmax and ymax are edges: x = xmin, width = xmax - xmin",
    1: "coordinates are Pascal VOC's: pixels from 1 on, xmax and ymax belong to the object: x = xmin - 1, "
    "width = xmax - xmin + 1",
}


def _as_labelled(image: _Image, origin: int, options: VocOptions, account: Account) -> LabelledImage:
    made = (_object_of(one, origin, options, account) for one in image.objects)
    objects = tuple(one for one in made if one is not None)
    return LabelledImage(file=image.file, width=image.width, height=image.height, objects=objects)


def _object_of(one: _Object, origin: int, options: VocOptions, account: Account) -> LabelledObject | None:
    left, top, right, bottom = one.corners
    box = (left - origin, top - origin, right - left + origin, bottom - top + origin)
    if not has_extent(box):
        account.lost.note("objects without width or height", f"{one.place}: {' '.join(f'{n:g}' for n in one.corners)}")
        return None
    if one.is_difficult:
        kept = "as objects" if options.difficult_as_objects else "as crowds (iscrowd: 1): neither learnt nor counted"
        account.changed.note(f"objects that are marked difficult, kept {kept}", one.place)
    made = LabelledObject(
        category=one.name,
        bbox=box,
        area=box[2] * box[3],
        is_crowd=one.is_difficult and not options.difficult_as_objects,
    )
    if len(one.polygon) < 6:
        return made
    polygon = tuple(value - origin for value in one.polygon)
    return replace(made, polygons=(polygon,), area=area_of(polygon), bbox=box_around([polygon]))
