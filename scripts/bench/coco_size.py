"""Annotations as large as COCO's: time and memory until the first iteration, plain detectron2 and the launcher in turn.

    python scripts/bench/coco_size.py make FOLDER [--images 118287] [--annotations 860001]
    python scripts/bench/coco_size.py run FOLDER [--rounds 1] [SETTING=VALUE ...]

`make` writes train.json, val.json, small.json (100 images) and the images, hard links to a few small ones.
`run` trains for two iterations on the CPU with a small model and two loader workers: plain detectron2, the launcher
with an empty cache, the launcher again, and the launcher with the file of 100 images.
"""

from __future__ import annotations

import argparse
import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

SHAPES = ((640, 480), (480, 640), (500, 375))
LINKS = 30_000
"""Names for one file; ext4 allows 65,000."""
CLASSES = 80


def make(folder: Path, num_images: int, num_annotations: int) -> None:
    (folder / "images").mkdir(parents=True, exist_ok=True)
    _link_images(folder / "images", num_images)
    _write(folder / "train.json", range(1, num_images + 1), num_annotations)
    _write(folder / "val.json", range(1, 101), 700)
    _write(folder / "small.json", range(1, 101), 700)


def _link_images(folder: Path, number: int) -> None:
    originals: dict[tuple[int, int], Path] = {}
    for image_id in range(1, number + 1):
        shape = image_id % len(SHAPES)
        original = originals.setdefault((shape, image_id // LINKS), folder / f"original_{shape}_{image_id}.jpg")
        if not original.exists():
            Image.new("RGB", SHAPES[shape], (90, 120, 150)).save(original)
        name = folder / f"{image_id:012}.jpg"
        if not name.exists():
            os.link(original, name)


def _write(file: Path, image_ids: range, num_annotations: int) -> None:
    numbers = random.Random(7)
    categories = [{"id": one, "name": f"class {one}", "supercategory": "thing"} for one in range(1, CLASSES + 1)]
    with open(file, "w", encoding="utf-8") as out:
        out.write('{"info": {"description": "made by scripts/bench/coco_size.py"}, "licenses": [], "images": [')
        _write_list(out, (_image(image_id) for image_id in image_ids))
        out.write('], "annotations": [')
        _write_list(out, (_annotation(one, numbers, image_ids) for one in range(1, num_annotations + 1)))
        out.write(f'], "categories": {json.dumps(categories)}}}')


def _write_list(out: Any, entries: Iterator[dict[str, Any]]) -> None:
    for place, entry in enumerate(entries):
        out.write((", " if place else "") + json.dumps(entry))


def _image(image_id: int) -> dict[str, Any]:
    width, height = SHAPES[image_id % len(SHAPES)]
    return {
        "license": 1,
        "file_name": f"{image_id:012}.jpg",
        "coco_url": f"http://images.example.org/train2017/{image_id:012}.jpg",
        "height": height,
        "width": width,
        "date_captured": "2013-11-14 11:18:45",
        "id": image_id,
    }


def _annotation(annotation_id: int, numbers: random.Random, image_ids: range) -> dict[str, Any]:
    """In no order of images, as in COCO; one of a hundred is a crowd."""
    image_id = image_ids[int(numbers.random() * len(image_ids))]
    width, height = SHAPES[image_id % len(SHAPES)]
    wide, high = 20 + numbers.random() * 200, 20 + numbers.random() * 200
    left, top = numbers.random() * (width - wide), numbers.random() * (height - high)
    is_crowd = annotation_id % 100 == 0
    return {
        "segmentation": _rle(width, height) if is_crowd else [_polygon(numbers, left, top, wide, high)],
        "area": round(wide * high * 0.8, 4),
        "iscrowd": int(is_crowd),
        "image_id": image_id,
        "bbox": [round(left, 2), round(top, 2), round(wide, 2), round(high, 2)],
        "category_id": 1 + int(numbers.random() ** 2 * CLASSES),
        "id": annotation_id,
    }


def _polygon(numbers: random.Random, left: float, top: float, wide: float, high: float) -> list[float]:
    """Around the box, with between 8 and 36 corners."""
    count = 2 + int(numbers.random() * 8)
    steps = [step / count for step in range(count)]
    points = [(step, 0.0) for step in steps] + [(1.0, step) for step in steps]
    points += [(1 - step, 1.0) for step in steps] + [(0.0, 1 - step) for step in steps]
    return [round(value, 2) for x, y in points for value in (left + x * wide, top + y * high)]


def _rle(width: int, height: int) -> dict[str, Any]:
    counts = [width * height // 40] * 40
    return {"counts": [*counts, width * height - sum(counts)], "size": [height, width]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("what")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=118_287)
    parser.add_argument("--annotations", type=int, default=860_001)
    asked = parser.parse_args()
    make(asked.folder, asked.images, asked.annotations)
