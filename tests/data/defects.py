"""A small clean data set with real image files, and thirty-odd ways to spoil it, each under the code that names it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from launcher.config.keys import Keys
from launcher.config.known_keys import read_keys
from launcher.config.request import DatasetKind, DatasetRequest, RunRequest, SplitRequest, ValRequest
from launcher.data.facts import inspect_dataset
from launcher.data.opening import open_images
from launcher.data.report import DataReport, report_on
from tests.values import a_request, changed_keys

Content = dict[str, Any]
WIDTH, HEIGHT = 96, 72
IMAGES = {"train": 8, "val": 5}
OBJECTS = 4
"""On each image."""


def write_clean(folder: Path) -> DatasetRequest:
    """Two splits of images that look different, with boxes, polygons and three keypoints for each object."""
    for split, number in IMAGES.items():
        (folder / split).mkdir(parents=True)
        for image_id in range(1, number + 1):
            draw_image(folder / split / f"{image_id}.png", seed=image_id + 100 * (split == "val"))
        (folder / f"{split}.json").write_text(json.dumps(content_of(number)))
    return DatasetRequest(
        kind=DatasetKind.coco_json,
        name="fruits",
        root=str(folder),
        train=SplitRequest(json=str(folder / "train.json"), images=str(folder / "train")),
        val=ValRequest(json=str(folder / "val.json"), images=str(folder / "val")),
    )


def draw_image(file: Path, *, seed: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    """Coarse patches, so that no two look alike."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), np.uint8)
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(file)


def content_of(num_images: int) -> Content:
    images = [
        {"id": one, "file_name": f"{one}.png", "width": WIDTH, "height": HEIGHT} for one in range(1, num_images + 1)
    ]
    annotations = [an_annotation(number) for number in range(1, OBJECTS * num_images + 1)]
    categories = [{"id": one, "name": name, "keypoints": ["tip", "left end", "right end"]} for one, name in NAMES]
    return {"images": images, "annotations": annotations, "categories": categories}


NAMES = ((1, "date"), (2, "fig"))


def an_annotation(number: int) -> dict[str, Any]:
    left, top = 3.0 + 11 * (number % 5), 2.0 + 7 * (number % 4)
    width, height = 20.0 + number % 7, 24.0 + number % 11
    right, bottom = left + width, top + height
    return {
        "id": number,
        "image_id": 1 + (number - 1) // OBJECTS,
        "category_id": 1 + number % 2,
        "bbox": [left, top, width, height],
        "area": width * height,
        "iscrowd": 0,
        "segmentation": [[left, top, right, top, right, bottom, left, bottom]],
        "keypoints": [left + 5, top + 5, 2, left + 9, top + 9, 2, 0, 0, 0],
        "num_keypoints": 2,
    }


def asked_for(dataset: DatasetRequest, **keys: Any) -> RunRequest:
    """A training on it with detectron2's defaults, which is with no model that anybody chose, but for these keys."""
    defaults = {"DATASETS__TRAIN": ["fruits_train"], "DATASETS__TEST": ["fruits_val"]}
    return a_request(changed_keys(Keys(read_keys().defaults), **defaults, **keys), dataset=dataset)


def check(request: RunRequest) -> DataReport:
    """With every image opened."""
    facts = inspect_dataset(request.dataset, request.keys)
    opened = {
        coco.name: open_images([f"{coco.images}/{image.file_name}" for image in coco.listed], num_processes=1)
        for coco in facts.coco
    }
    return report_on(request, facts, opened)


class Defect(NamedTuple):
    code: str
    spoil: Callable[[Path], object]


def _edit(split: str, change: Callable[[Content], object]) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        file = folder / f"{split}.json"
        content = json.loads(file.read_text())
        change(content)
        file.write_text(json.dumps(content))

    return spoil


def _annotation(change: Callable[[dict[str, Any]], object], split: str = "train") -> Callable[[Path], object]:
    return _edit(split, lambda content: change(content["annotations"][3]))


def _every(change: Callable[[dict[str, Any]], object], split: str = "train") -> Callable[[Path], object]:
    return _edit(split, lambda content: [change(entry) for entry in content["annotations"]])


def _set(**values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda entry: entry.update(values)


def _image(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    return _edit("train", lambda content: change(content["images"][2]))


def _corners(entry: dict[str, Any]) -> None:
    left, top, width, height = entry["bbox"]
    entry["bbox"] = [left, top, left + width, top + height]


def _fractions(entry: dict[str, Any]) -> None:
    left, top, width, height = entry["bbox"]
    entry["bbox"] = [left / WIDTH, top / HEIGHT, width / WIDTH, height / HEIGHT]


def _scaled_polygons(entry: dict[str, Any]) -> None:
    entry["segmentation"] = [[value / 4 for value in polygon] for polygon in entry["segmentation"]]


def _truncate(folder: Path) -> None:
    file = folder / "train" / "2.png"
    file.write_bytes(file.read_bytes()[:-60])


def _save_16_bit(folder: Path) -> None:
    Image.fromarray(np.linspace(0, 60_000, WIDTH * HEIGHT).reshape(HEIGHT, WIDTH).astype(np.uint16)).save(
        folder / "train" / "2.png"
    )


def _turn(orientation: int, size: tuple[int, int]) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        draw_image(folder / "train" / "2.png", seed=77, size=size)
        image = Image.open(folder / "train" / "2.png")
        exif = image.getexif()
        exif[0x112] = orientation
        image.save(folder / "train" / "2.png", exif=exif)

    return spoil


def _copy(source: str, target: str) -> Callable[[Path], object]:
    return lambda folder: shutil.copy(folder / source, folder / target)


def _save_again(folder: Path) -> None:
    image = np.asarray(Image.open(folder / "train" / "2.png"))
    Image.fromarray(np.clip(image.astype(int) + 1, 0, 255).astype(np.uint8)).save(folder / "train" / "4.png")


def _drop(key: str) -> Callable[[dict[str, Any]], object]:
    return lambda entry: entry.pop(key)


DEFECTS = {
    "broken JSON": Defect("file.unreadable", lambda folder: (folder / "train.json").write_text('{"images": [')),
    "no such file": Defect("file.unreadable", lambda folder: (folder / "val.json").unlink()),
    "image without a size": Defect("image.malformed", _image(_drop("width"))),
    "image id twice": Defect("image.duplicate_id", _image(_set(id=1))),
    "image listed twice": Defect("image.repeated", _image(_set(file_name="1.png"))),
    "missing image": Defect("image.no_file", lambda folder: (folder / "train" / "2.png").unlink()),
    "truncated image": Defect("image.damaged", _truncate),
    "text in place of an image": Defect("image.damaged", lambda folder: (folder / "val" / "2.png").write_text("no")),
    "image of another size": Defect(
        "image.other_size", lambda folder: draw_image(folder / "train" / "2.png", seed=5, size=(50, 50))
    ),
    "16-bit image": Defect("image.wide", _save_16_bit),
    "EXIF-turned image, listed as stored": Defect("image.other_size", _turn(6, (WIDTH, HEIGHT))),
    "EXIF-mirrored image": Defect("image.turned", _turn(2, (WIDTH, HEIGHT))),
    "same image twice": Defect("image.same_content", _copy("train/1.png", "train/3.png")),
    "same image in train and val": Defect("image.in_both", _copy("train/1.png", "val/3.png")),
    "annotation id twice": Defect("annotation.duplicate_id", _annotation(_set(id=1))),
    "annotation without id": Defect("annotation.malformed", _annotation(_drop("id"))),
    "annotation of an unknown image": Defect("annotation.unknown_image", _annotation(_set(image_id=999))),
    "annotation of an unknown class": Defect("annotation.unknown_category", _annotation(_set(category_id=9))),
    "annotation marked ignore": Defect("annotation.ignore", _annotation(_set(ignore=1))),
    "iscrowd of 2": Defect("annotation.iscrowd", _annotation(_set(iscrowd=2))),
    "box of three numbers": Defect("box.malformed", _annotation(_set(bbox=[1, 2, 3]))),
    "box without area": Defect("box.degenerate", _annotation(_set(bbox=[5, 5, 0, 9]))),
    "boxes as corners": Defect("box.corners", _every(_corners)),
    "boxes as fractions": Defect("box.fraction", _every(_fractions)),
    "box outside its image": Defect("box.outside", _annotation(_set(bbox=[300, 300, 20, 20]))),
    "object twice": Defect(
        "annotation.repeated",
        _edit("train", lambda content: content["annotations"].append({**content["annotations"][3], "id": 500})),
    ),
    "object without a mask": Defect("mask.missing", _annotation(_set(segmentation=[]))),
    "polygon with NaN": Defect("polygon.malformed", _annotation(_set(segmentation=[[1, 2, float("nan"), 4, 5, 6]]))),
    "polygons at another scale": Defect("polygon.not_in_box", _every(_scaled_polygons)),
    "broken RLE": Defect("rle.malformed", _annotation(_set(segmentation={"size": [HEIGHT, WIDTH], "counts": "~~"}))),
    "RLE of another size": Defect(
        "rle.size", _annotation(_set(segmentation={"size": [HEIGHT, 50], "counts": [9, 90, HEIGHT * 50 - 99]}))
    ),
    "keypoints of two numbers each": Defect("keypoints.odd", _annotation(_set(keypoints=[5, 5, 9, 9]))),
    "num_keypoints that is not so": Defect("keypoints.number", _annotation(_set(num_keypoints=0))),
    "val without area": Defect("annotation.not_for_evaluation", _annotation(_drop("area"), "val")),
    "area in square meters": Defect("area.too_large", _annotation(_set(area=9e9), "val")),
    "classes that differ between train and val": Defect(
        "category.different", _edit("val", lambda content: content["categories"][1].update(name="fog"))
    ),
    "class id twice": Defect(
        "category.duplicate_id", _edit("train", lambda content: content["categories"][1].update(id=1))
    ),
    "class name twice": Defect(
        "category.duplicate_name", _edit("val", lambda content: content["categories"][1].update(name="date"))
    ),
    "class without objects": Defect(
        "category.unused", _edit("train", lambda content: content["categories"].append({"id": 3, "name": "nut"}))
    ),
    "no annotations": Defect("train.no_objects", _edit("train", lambda content: content["annotations"].clear())),
}
HINTED = {
    "EXIF-turned image, listed turned": Defect("image.turned_as_listed", _turn(6, (HEIGHT, WIDTH))),
    "nearly the same image": Defect("image.nearly_same", _save_again),
    "image without objects": Defect(
        "image.no_objects",
        _edit("train", lambda content: content.update(annotations=content["annotations"][OBJECTS:])),
    ),
}
