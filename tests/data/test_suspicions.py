"""Data that cannot be meant as it is written: reported by kind, refused where most objects are so."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from launcher.config.keys import Keys
from launcher.config.request import DatasetRequest
from launcher.data import coco_file
from launcher.data.facts import inspect_dataset
from launcher.data.plan import DatasetPlan, plan_dataset
from launcher.data.rle import run_lengths
from launcher.errors import DataError
from tests.data.examples import KEYS, annotation, coco_content, keys_with, request_for, write_fruits

Entry = dict[str, Any]
NO_MASKS = keys_with(MODEL__MASK_ON=False)
SIZE = 100


def plan(dataset: DatasetRequest, keys: Keys = KEYS) -> DatasetPlan:
    return plan_dataset(request_for(dataset, keys), inspect_dataset(dataset, keys))


def rectangle(left: float, top: float, width: float, height: float) -> list[float]:
    return [left, top, left + width, top, left + width, top + height, left, top + height]


def write_objects(
    folder: Path, spoil: Callable[[Entry], object], *, split: str = "train", num: int = 8
) -> DatasetRequest:
    """Eight sound objects per file in images of 100 x 100, of which `spoil` changes the first `num` of one file."""
    dataset = write_fruits(folder)
    for each in ("train", "val"):
        content = coco_content()
        for image in content["images"]:
            image.update(width=SIZE, height=SIZE)
        boxes = [[10 + 5 * number, 50 - 3 * number, 30, 40] for number in range(8)]
        content["annotations"] = [
            annotation(number, bbox=list(box), segmentation=[rectangle(*box)]) for number, box in enumerate(boxes, 1)
        ]
        for entry in content["annotations"][:num] if each == split else ():
            spoil(entry)
        (folder / f"{each}.json").write_text(json.dumps(content))
    return dataset


def as_fractions(entry: Entry) -> None:
    entry["bbox"] = [number / SIZE for number in entry["bbox"]]
    entry["segmentation"] = [[number / SIZE for number in entry["segmentation"][0]]]


def as_corners(entry: Entry) -> None:
    left, top, width, height = entry["bbox"]
    entry["bbox"] = [left, top, left + width, top + height]


def with_polygon(change: Callable[[float], float]) -> Callable[[Entry], None]:
    return lambda entry: entry.update(segmentation=[[change(number) for number in entry["segmentation"][0]]])


def with_values(**values: Any) -> Callable[[Entry], None]:
    return lambda entry: entry.update(values)


def in_turn(spoil: Callable[[Entry], object]) -> Callable[[Entry], None]:
    """As `spoil`, with a box that differs a little from object to object."""

    def spoil_and_differ(entry: Entry) -> None:
        spoil(entry)
        left, top, width, height = entry["bbox"]
        entry["bbox"] = [left, top, width + entry["id"] / 100, height]

    return spoil_and_differ


def bitmap_of(box: list[float]) -> np.ndarray:
    left, top, width, height = map(int, box)
    bitmap = np.zeros((SIZE, SIZE), np.uint8, order="F")
    bitmap[top : top + height, left : left + width] = 1
    return bitmap


def as_compressed_rle(entry: Entry, *, shift: int = 0) -> None:
    left, top, width, height = entry["bbox"]
    rle = coco_mask.encode(bitmap_of([left + shift, top, width, height]))
    entry["segmentation"] = {"size": [SIZE, SIZE], "counts": rle["counts"].decode()}


def as_rle(entry: Entry, *, shift: int = 0) -> None:
    as_compressed_rle(entry, shift=shift)
    entry["segmentation"]["counts"] = run_lengths(entry["segmentation"]["counts"])


def all_scaled(entry: Entry) -> None:
    entry["bbox"] = [2 * number for number in entry["bbox"]]
    with_polygon(lambda number: 2 * number)(entry)


def as_center(entry: Entry) -> None:
    left, top = 10 + 2 * entry["id"], 20 + entry["id"]
    entry.update(bbox=[left + 10, top + 10, 20, 20], segmentation=[rectangle(left, top, 20, 20)])


def exchanged(entry: Entry) -> None:
    left, top, width, height = entry["bbox"]
    entry["bbox"] = [top, left, height, width]


def as_exchanged_corners(entry: Entry) -> None:
    left, top = 10 + 2 * entry["id"], 20 + entry["id"]
    entry.update(bbox=[top, left, top + 20, left + 20], segmentation=[rectangle(left, top, 20, 20)])


def far_off(entry: Entry) -> None:
    """The box in another place than the mask, and in another one for every object."""
    entry["bbox"] = [80, 1, 5 + entry["id"], 5]


def far_off_rle(entry: Entry) -> None:
    as_rle(entry)
    far_off(entry)


def far_off_compressed_rle(entry: Entry) -> None:
    as_compressed_rle(entry)
    far_off(entry)


KINDS = [
    pytest.param(
        as_fractions, r"bbox.*fractions of the image size.*in pixels \(annotation 1: \[0\.1, ", id="fractions"
    ),
    pytest.param(as_corners, r"two corners \[x1, y1, x2, y2\].*annotation 1", id="corners"),
    pytest.param(with_polygon(lambda x: 10 * x), r"does not fit their own bbox: .*another scale", id="ten times"),
    pytest.param(
        with_polygon(lambda x: x / SIZE), r"segmentation.*polygons look like fractions", id="polygon fractions"
    ),
    pytest.param(
        with_values(segmentation=[rectangle(1, 1, 9, 9)]), r"does not fit their own bbox", id="another object"
    ),
    pytest.param(as_center, r"\[x, y\] of the center.*as YOLO has it.*annotation 1: .*its box: x 22", id="centers"),
    pytest.param(
        exchanged,
        r"\[y, x, height, width\], or in an image whose width and height are exchanged.*annotation 1",
        id="exchanged",
    ),
    pytest.param(as_exchanged_corners, r"corners \[y1, x1, y2, x2\].*annotation 1", id="exchanged corners"),
    pytest.param(far_off_compressed_rle, r"row by row .*annotation 1: x 10 to 40", id="compressed RLE elsewhere"),
    pytest.param(far_off_rle, r"row by row .*annotation 1: x 10 to 40", id="RLE elsewhere"),
    pytest.param(
        with_values(segmentation={"size": [SIZE, SIZE], "counts": "`h9"}),
        r"without a single pixel .*annotation 1: an RLE of background",
        id="blank compressed RLE",
    ),
    pytest.param(
        with_values(segmentation={"size": [SIZE, SIZE], "counts": [10_000]}),
        r"without a single pixel .*annotation 1: an RLE of background",
        id="blank RLE",
    ),
    pytest.param(
        with_values(segmentation=[[20, 60, 40, 60, 30, 60]]),
        r"without a single pixel .*annotation 1: polygons without area",
        id="polygons on a line",
    ),
    pytest.param(all_scaled, r"were the images resized", id="resized"),
    pytest.param(with_values(bbox=[400, 400, 20, 20]), r"lie outside their image", id="other images"),
]


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize(("spoil", "message"), KINDS)
def test_what_cannot_be_meant_is_refused_where_most_objects_are_so(
    tmp_path: Path, spoil: Callable[[Entry], object], message: str, split: str
):
    dataset = write_objects(tmp_path, spoil, split=split)

    with pytest.raises(DataError, match=rf"dataset\.{split}\.json=.* of 8 (objects|masks) .*{message}"):
        plan(dataset)


@pytest.mark.parametrize(("spoil", "message"), KINDS)
def test_what_cannot_be_meant_is_one_notice_where_few_objects_are_so(
    tmp_path: Path, spoil: Callable[[Entry], object], message: str
):
    (notice,) = plan(write_objects(tmp_path, spoil, num=1)).notices

    assert re.search(rf"1 of (8 objects|1 masks) .*{message}", notice)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(with_polygon(lambda x: x - 1.5 if x < 20 else x), id="a polygon outside by a pixel"),
        pytest.param(with_values(bbox=[-1, 20, 103, 79], segmentation=[rectangle(-1, 20, 103, 79)]), id="whole width"),
        pytest.param(
            with_values(bbox=[10, 10, 80, 20], segmentation=[rectangle(10, 10, 15, 20), rectangle(70, 10, 20, 20)]),
            id="occluded, in two parts",
        ),
        pytest.param(
            with_values(iscrowd=1, bbox=[0, 0, 1, 1], segmentation={"size": [100, 100], "counts": "`h9"}), id="crowd"
        ),
        pytest.param(with_values(bbox=[40, 40, 2, 1], segmentation=[[40, 40, 42, 40, 42, 41]]), id="two pixels"),
        pytest.param(with_values(bbox=[5, 30, 60, 60], segmentation=[rectangle(12, 40, 45, 40)]), id="a loose box"),
        pytest.param(as_rle, id="RLE"),
        pytest.param(as_compressed_rle, id="compressed RLE"),
    ],
)
def test_sound_data_is_passed_over_in_silence(tmp_path: Path, spoil: Callable[[Entry], object]):
    assert plan(write_objects(tmp_path, in_turn(spoil), num=4)).notices == ()


def test_masks_that_are_not_learnt_need_not_fit_the_boxes(tmp_path: Path):
    dataset = write_objects(tmp_path, with_polygon(lambda number: 10 * number))

    assert plan(dataset, NO_MASKS).notices == ()


def test_corners_are_refused_without_masks_too(tmp_path: Path):
    dataset = write_objects(tmp_path, lambda entry: (as_corners(entry), entry.pop("segmentation")))

    with pytest.raises(DataError, match=r"two corners"):
        plan(dataset, NO_MASKS)


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize(
    ("rle", "message"),
    [
        ({"size": [50, 100], "counts": "o"}, r"another size .*\[50, 100\] in an image of 100 x 100"),
        ({"size": [10**6, 10**6], "counts": "o"}, r"another size .*\[1000000, 1000000\] in an image of 100 x 100"),
        ({"size": [10**6, 10**6], "counts": [10**12]}, r"another size .*\[1000000, 1000000\]"),
        ({"size": [100], "counts": "o"}, r"broken RLEs .*size \[100\]"),
        ({"size": [100, "100"], "counts": "o"}, r"broken RLEs"),
        ({"size": [100, 100], "counts": [9000, 900]}, r"broken RLEs .*counts of 9900 pixels in a size of 10000"),
        ({"size": [100, 100], "counts": [10001, -1]}, r"broken RLEs .*no lengths of runs"),
        ({"size": [100, 100], "counts": [None]}, r"broken RLEs"),
        ({"size": [100, 100], "counts": "~~é"}, r"broken RLEs .*letters"),
    ],
)
def test_an_rle_that_is_not_its_images_is_refused_and_never_decoded(
    tmp_path: Path, rle: dict[str, Any], message: str, split: str
):
    dataset = write_objects(tmp_path, with_values(segmentation=rle), num=1, split=split)

    with pytest.raises(DataError, match=rf"dataset\.{split}\.json=.*{message}"):
        plan(dataset)


def test_an_rle_with_its_size_swapped_is_told_so(tmp_path: Path):
    dataset = write_fruits(tmp_path)
    content = coco_content()
    content["annotations"][0]["segmentation"] = {"size": [40, 30], "counts": [1200]}
    (tmp_path / "train.json").write_text(json.dumps(content))

    with pytest.raises(DataError, match=r"\[width, height\] in place of \[height, width\]"):
        plan(dataset)


def test_a_refusal_of_what_is_meant_so_names_the_way_to_train_on_it(tmp_path: Path):
    dataset = write_objects(tmp_path, all_scaled)
    with pytest.raises(DataError, match=r"Where it is meant so, dataset\.check=False trains on it"):
        plan(dataset)

    assert plan(dataclasses.replace(dataset, check=False)).notices == ()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (with_values(id=2**63), "does not fit 64 bits"),
        (with_values(area=-5), "`area` below 0"),
        (with_polygon(lambda number: number * 2e8), "far beyond any image"),
        (with_polygon(lambda number: number * float("nan")), "something else than finite numbers"),
    ],
)
def test_what_nothing_else_would_show_is_refused_without_the_check_too(
    tmp_path: Path, spoil: Callable[[Entry], object], message: str
):
    dataset = dataclasses.replace(write_objects(tmp_path, spoil, split="val", num=1), check=False)

    with pytest.raises(DataError, match=message):
        plan(dataset)


def repeat(content: dict[str, Any], number: int) -> None:
    copies = [{**entry, "id": 100 + entry["id"]} for entry in content["annotations"][:number]]
    content["annotations"] += copies


def change_file(folder: Path, split: str, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / f"{split}.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_objects_that_are_there_twice_are_one_notice(tmp_path: Path):
    dataset = write_objects(tmp_path, with_values())
    change_file(tmp_path, "val", lambda content: repeat(content, 2))

    (notice,) = plan(dataset).notices

    assert "dataset.val.json" in notice
    assert "2 of 10 objects repeat another one, with the same image, category and bbox" in notice
    assert "(annotation 101 and annotation 1; annotation 102 and annotation 2)" in notice


def test_a_file_merged_with_itself_is_refused_where_it_is_evaluated_and_noticed_where_it_is_learnt(tmp_path: Path):
    dataset = write_objects(tmp_path, with_values())
    change_file(tmp_path, "train", lambda content: repeat(content, 8))
    (notice,) = plan(dataset).notices
    assert "8 of 16 objects repeat another one" in notice

    change_file(tmp_path, "val", lambda content: repeat(content, 8))
    with pytest.raises(DataError, match=r"used: dataset\.val\.json=.*8 of 16 objects repeat .* the AP is too low"):
        plan(dataset)


@pytest.mark.parametrize("change", [{"category_id": 2}, {"image_id": 2}, {"bbox": [10, 50, 30.5, 40]}, {"iscrowd": 1}])
def test_objects_that_differ_do_not_repeat_each_other(tmp_path: Path, change: Entry):
    dataset = write_objects(tmp_path, lambda entry: entry.update(image_id=1, category_id=1))
    change_file(
        tmp_path,
        "train",
        lambda content: content["annotations"].append({**content["annotations"][0], "id": 99, **change}),
    )

    assert not [notice for notice in plan(dataset).notices if "repeat" in notice]


def test_images_that_are_listed_twice_are_a_notice_and_refused_where_most_are(tmp_path: Path):
    dataset = write_objects(tmp_path, with_values())
    again = {"id": 3, "file_name": "1.jpg", "width": SIZE, "height": SIZE}
    change_file(tmp_path, "val", lambda content: content["images"].append(again))
    (notice,) = plan(dataset).notices
    assert "1 of 3 images have the file_name of another one: list each image once" in notice
    assert "(1.jpg: id 3 and id 1)" in notice

    change_file(tmp_path, "val", lambda content: [image.update(file_name="1.jpg") for image in content["images"]])
    with pytest.raises(DataError, match=r"2 of 3 images have the file_name of another one"):
        plan(dataset)


def test_of_many_compressed_masks_a_sample_is_decoded_and_its_number_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(coco_file, "_MOST_DECODED", 2)
    dataset = write_objects(tmp_path, far_off_compressed_rle)

    with pytest.raises(DataError, match=r"2 of 2 masks \(RLE\) that were looked into .*annotation 1: .*annotation 5: "):
        plan(dataset)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ("o", "cut off"),
        ("`h9o", "cut off"),
        ("`h", "cut off"),
        ("PPPPPPPPPPPP0", "letters that no compressed RLE has"),
        ("0", "counts of 0 pixels in a size of 10000"),
        ("O", "no lengths of runs"),
    ],
)
def test_a_compressed_rle_that_is_damaged_is_refused(tmp_path: Path, counts: str, message: str):
    dataset = write_objects(tmp_path, with_values(segmentation={"size": [SIZE, SIZE], "counts": counts}), num=1)

    with pytest.raises(DataError, match=rf"broken RLEs .*{message}"):
        plan(dataset)
