"""Writes data sets as YOLO, Pascal VOC and labelme have them, from one description; and reads what came of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from launcher.data.convert.convert import Conversion, Converted, convert
from launcher.data.convert.voc import VocOptions

SIZE = (40, 30)


def picture(file: Path, size: tuple[int, int] = SIZE) -> Path:
    """An image of that size, in a folder that is made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size).save(file)
    return file


def text(file: Path, *lines: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def converted(source: Path, **options: Any) -> tuple[Converted, dict[str, Any]]:
    """What came of a conversion into `coco` beside the source, and the content of each file."""
    folder = source.parent / "coco"
    done = convert(Conversion(**{"source": source, "folder": folder, "voc": VocOptions(), **options}))
    return done, {file.file.stem: json.loads(file.file.read_text()) for file in done.files}


def boxes(content: Mapping[str, Any]) -> list[tuple[str, list[float]]]:
    """Names of classes and boxes, in the order of the file."""
    names = {one["id"]: one["name"] for one in content["categories"]}
    return [(names[one["category_id"]], one["bbox"]) for one in content["annotations"]]


def losses(done: Converted) -> dict[str, int]:
    return {flaw.code: flaw.count for flaw in done.losses}


def changes(done: Converted) -> dict[str, int]:
    return {flaw.code: flaw.count for flaw in done.changes}


def voc_object(name: str, corners: Sequence[float], more: str = "") -> str:
    tags = zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    return f"<object><name>{name}</name>{more}<bndbox>{''.join(f'<{t}>{n}</{t}>' for t, n in tags)}</bndbox></object>"


def voc_file(file: Path, *objects: str, filename: str = "", size: tuple[int, int] = SIZE) -> Path:
    return text(
        file,
        "<annotation>",
        f"<filename>{filename or file.stem + '.jpg'}</filename>",
        f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>",
        *objects,
        "</annotation>",
    )


def labelme_file(file: Path, *shapes: Mapping[str, Any], **others: Any) -> Path:
    content = {
        "version": "5.5.0",
        "flags": {},
        "shapes": [{"group_id": None, "flags": {}, "shape_type": "polygon", **shape} for shape in shapes],
        "imagePath": f"{file.stem}.jpg",
        "imageData": None,
        "imageHeight": SIZE[1],
        "imageWidth": SIZE[0],
        **others,
    }
    return text(file, json.dumps(content, indent=2))
