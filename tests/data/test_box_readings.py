"""All boxes of a file judged together: what they are meant as, where that is not [x, y, width, height] in pixels."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launcher.config.request import DatasetRequest
from launcher.data.facts import inspect_dataset
from launcher.data.plan import plan_dataset
from launcher.errors import DataError
from tests.data.examples import coco_content, keys_with, request_for, write_fruits

NO_MASKS = keys_with(MODEL__MASK_ON=False)
Box = tuple[float, float, float, float]
Size = tuple[int, int]
LANDSCAPE, PORTRAIT, SQUARE = (640, 480), (480, 640), (1000, 1000)


def notices_of(dataset: DatasetRequest) -> tuple[str, ...]:
    return plan_dataset(request_for(dataset, NO_MASKS), inspect_dataset(dataset, NO_MASKS)).notices


def sound_boxes(size: Size, number: int = 120, *, largest: float = 0.4) -> list[Box]:
    """Anywhere in an image, of any size up to a fraction of it."""
    rng = random.Random(3)
    boxes = []
    for _ in range(number):
        width, height = rng.uniform(5, largest * size[0]), rng.uniform(5, largest * size[1])
        boxes.append((rng.uniform(0, size[0] - width), rng.uniform(0, size[1] - height), width, height))
    return boxes


def write_boxes(
    folder: Path, boxes: list[Any], size: Size, *, area: Callable[[int], float] | None = None, split: str = "train"
) -> DatasetRequest:
    """One file whose objects have these boxes and no masks."""
    dataset = write_fruits(folder)
    content = coco_content()
    for image in content["images"]:
        image.update(width=size[0], height=size[1])
    content["annotations"] = [
        {
            "id": number + 1,
            "image_id": 1 + number % 2,
            "category_id": 1 + number // 2 % 2,
            "bbox": list(box),
            "area": area(number) if area else 1,
            "iscrowd": 0,
        }
        for number, box in enumerate(boxes)
    ]
    (folder / f"{split}.json").write_text(json.dumps(content))
    return dataset


def as_corners(box: Box, _: Size) -> Box:
    left, top, width, height = box
    return left, top, left + width, top + height


def as_center(box: Box, _: Size) -> Box:
    left, top, width, height = box
    return left + width / 2, top + height / 2, width, height


def swapped(box: Box, _: Size) -> Box:
    left, top, width, height = box
    return top, left, height, width


def as_swapped_corners(box: Box, _: Size) -> Box:
    left, top, width, height = box
    return top, left, top + height, left + width


def in_parts_of(whole: float) -> Callable[[Box, Size], Box]:
    def write(box: Box, size: Size) -> Box:
        left, top, width, height = box
        return whole * left / size[0], whole * top / size[1], whole * width / size[0], whole * height / size[1]

    return write


def as_corners_in_percent(box: Box, size: Size) -> Box:
    return as_corners(in_parts_of(100)(box, size), size)


OTHERWISE = [
    pytest.param(as_corners, LANDSCAPE, r"two corners \[x1, y1, x2, y2\]", id="corners"),
    pytest.param(as_center, LANDSCAPE, r"\[x, y\] of the center .* as YOLO has it", id="centers"),
    pytest.param(as_center, SQUARE, r"\[x, y\] of the center .* as YOLO has it", id="centers in square images"),
    pytest.param(swapped, LANDSCAPE, r"\[y, x, height, width\]", id="swapped"),
    pytest.param(swapped, PORTRAIT, r"\[y, x, height, width\]", id="swapped in upright images"),
    pytest.param(as_swapped_corners, LANDSCAPE, r"two corners \[y1, x1, y2, x2\]", id="swapped corners"),
    pytest.param(in_parts_of(100), LANDSCAPE, r"percent of the image size", id="percent"),
    pytest.param(as_corners_in_percent, LANDSCAPE, r"percent of the image size", id="corners in percent"),
    pytest.param(in_parts_of(1000), (4000, 3000), r"thousandths of the image size", id="thousandths"),
]


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize(("write", "size", "message"), OTHERWISE)
def test_boxes_that_are_all_written_otherwise_are_refused_once_with_their_number_an_example_and_the_cause(
    tmp_path: Path, write: Callable[[Box, Size], Box], size: Size, message: str, split: str
):
    boxes = [write(box, size) for box in sound_boxes(size)]

    where = rf"The data set cannot be used: dataset\.{split}\.json="  # and nothing else of the same cause
    with pytest.raises(DataError, match=rf"{where}.* 120 of 120 objects .*{message}.*\(annotation 1: "):
        notices_of(write_boxes(tmp_path, boxes, size, split=split))


@pytest.mark.parametrize("size", [LANDSCAPE, PORTRAIT, SQUARE, (4000, 3000), (64, 64)])
@pytest.mark.parametrize("largest", [0.05, 0.4, 1.0])
def test_sound_boxes_are_passed_over_in_silence(tmp_path: Path, size: Size, largest: float):
    largest = max(largest, 8 / min(size))

    assert notices_of(write_boxes(tmp_path, sound_boxes(size, largest=largest), size)) == ()


@pytest.mark.parametrize(
    "box",
    [
        pytest.param(lambda n: (100 + n, 80 + n, 430, 320), id="one large object per image"),
        pytest.param(lambda n: (20 + n / 9, 20 + n / 9, 60, 30), id="a stamp in the left top corner"),
        pytest.param(lambda n: (300 + n, 200 + n, 340.5 - n, 60), id="up to the right edge, by half a pixel beyond"),
        pytest.param(lambda n: (630 - n / 20, 200 + n, 13, 20 + n), id="carelessly beyond one edge"),
        pytest.param(lambda n: (0, 0, 639 + n / 100, 479 + n / 200), id="whole images"),
    ],
)
def test_sound_boxes_of_one_place_are_passed_over_in_silence(tmp_path: Path, box: Callable[[int], Box]):
    boxes = [box(number) for number in range(60)]
    areas = [width * height for _, _, width, height in boxes]

    assert notices_of(write_boxes(tmp_path, boxes, LANDSCAPE, area=areas.__getitem__)) == ()


def test_boxes_of_smaller_copies_are_a_notice(tmp_path: Path):
    edge = [(0, 0, 50, 50), (590, 430, 50, 50)]
    boxes = [tuple(value / 2 for value in box) for box in [*sound_boxes(LANDSCAPE), *edge]]

    (notice,) = notices_of(write_boxes(tmp_path, boxes, LANDSCAPE))

    assert "122 of 122 objects have a bbox in the left top quarter of their image" in notice


def test_corners_that_reach_beyond_no_image_are_known_by_their_areas(tmp_path: Path):
    sound = [box for box in sound_boxes((300, 220), largest=0.3) if box[0] > 5 and box[1] > 5]
    corners = [as_corners(box, LANDSCAPE) for box in sound]

    with pytest.raises(DataError, match=rf"{len(sound)} of {len(sound)} objects .*two corners"):
        notices_of(write_boxes(tmp_path, corners, LANDSCAPE, area=lambda n: sound[n][2] * sound[n][3]))


def test_a_file_of_a_few_boxes_is_not_judged_as_a_whole(tmp_path: Path):
    boxes = [in_parts_of(100)(box, LANDSCAPE) for box in sound_boxes(LANDSCAPE, number=19)]

    assert notices_of(write_boxes(tmp_path, boxes, LANDSCAPE)) == ()


def test_one_odd_box_does_not_hide_what_the_others_are(tmp_path: Path):
    boxes = [as_center(box, LANDSCAPE) for box in sound_boxes(LANDSCAPE)]
    boxes[7] = (1, 100, 80, 80)

    with pytest.raises(DataError, match=r"120 of 120 objects .*center"):
        notices_of(write_boxes(tmp_path, boxes, LANDSCAPE))


def test_boxes_of_the_left_top_quarter_that_touch_no_edge_are_sound(tmp_path: Path):
    boxes = [(60 + number, 50 + 0.75 * number, 100, 75) for number in range(120)]

    assert notices_of(write_boxes(tmp_path, boxes, LANDSCAPE)) == ()


def test_three_of_many_large_boxes_that_fit_as_corners_do_not_speak_for_all(tmp_path: Path):
    boxes = [(100 + number, 80 + number, 430, 320) for number in range(77)]
    careless = [(290 + number, 200, 430, 320) for number in range(3)]

    (notice,) = notices_of(write_boxes(tmp_path, [*boxes, *careless], LANDSCAPE))

    assert "3 of 80 objects have a bbox that does not fit" in notice


def test_three_of_many_boxes_beyond_both_edges_do_not_make_all_of_them_centers(tmp_path: Path):
    boxes = [(100 + number, 90 + number, 60, 40) for number in range(104)]
    careless = [(600, 200, 60, 40), (610, 300, 60, 40), (300, 450, 60, 40)]

    notices = notices_of(write_boxes(tmp_path, [*boxes, *careless], LANDSCAPE))

    assert not any("center" in notice for notice in notices)
