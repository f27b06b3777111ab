"""labelme's files, with every shape that it draws."""

from __future__ import annotations

import base64
import io
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as of_numpy
from PIL import Image

from launcher.data.convert.labelme import run_lengths
from launcher.errors import DataError
from tests.data.convert.written import SIZE, boxes, changes, converted, labelme_file, losses, picture, text

TRIANGLE = [[2, 3], [12, 3], [12, 11]]


def one_image(root: Path, *shapes: dict[str, Any], **others: Any) -> Path:
    picture(root / "a.jpg")
    labelme_file(root / "a.json", *shapes, **others)
    return root


def test_a_polygon_and_a_rectangle_are_what_they_are(tmp_path: Path):
    source = one_image(
        tmp_path / "labelme",
        {"label": "pear", "points": TRIANGLE},
        {"label": "apple", "points": [[20, 25], [10, 5]], "shape_type": "rectangle"},
    )

    done, content = converted(source)

    assert boxes(content["train"]) == [("pear", [2, 3, 10, 8]), ("apple", [10, 5, 10, 20])]
    polygon, box = content["train"]["annotations"]
    assert (polygon["segmentation"], polygon["area"]) == ([[2, 3, 12, 3, 12, 11]], 40)
    assert "segmentation" not in box
    assert box["area"] == 200
    assert (done.losses, done.changes) == ((), ())
    assert (done.files[0].num_masks, done.files[0].num_boxes) == (1, 1)


def test_a_circle_is_a_polygon_of_its_area_in_its_box(tmp_path: Path):
    circle = {"label": "pear", "points": [[20, 15], [20, 25]], "shape_type": "circle"}

    done, content = converted(one_image(tmp_path / "labelme", circle))

    (one,) = content["train"]["annotations"]
    x, y = np.array(one["segmentation"][0]).reshape(-1, 2).T
    shoelace = abs(np.dot(x, np.roll(y, -1)) - np.dot(np.roll(x, -1), y)) / 2
    assert one["bbox"] == [10, 5, 20, 20]
    assert shoelace == pytest.approx(math.pi * 100, rel=1e-4) == one["area"]
    assert np.hypot(x - 20, y - 15) == pytest.approx(10, abs=0.05)
    assert changes(done) == {"circles, kept as polygons of 64 corners": 1}


def test_shapes_of_one_group_and_label_are_one_object(tmp_path: Path):
    source = one_image(
        tmp_path / "labelme",
        {"label": "pear", "points": TRIANGLE, "group_id": 1},
        {"label": "pear", "points": [[20, 20], [30, 25]], "group_id": 1, "shape_type": "rectangle"},
        {"label": "apple", "points": TRIANGLE, "group_id": 1},
        {"label": "pear", "points": TRIANGLE},
        {"label": "pear", "points": TRIANGLE, "group_id": 0},
    )

    done, content = converted(source)

    annotations = content["train"]["annotations"]
    assert [len(one["segmentation"]) for one in annotations] == [2, 1, 1, 1]
    assert annotations[0]["bbox"] == [2, 3, 28, 22]
    assert annotations[0]["area"] == 40 + 50
    assert annotations[0]["segmentation"][1] == [20, 20, 30, 20, 30, 25, 20, 25]
    assert changes(done) == {"group ids of several labels: an object for each label": 1}


def bitmap(mask: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_a_mask_is_run_length_encoded_where_it_is(tmp_path: Path):
    mask = np.array([[1, 1, 0], [0, 1, 0]], bool)
    shape = {"label": "pear", "points": [[5, 7], [7, 8]], "shape_type": "mask", "mask": bitmap(mask)}

    _, content = converted(one_image(tmp_path / "labelme", shape))

    (one,) = content["train"]["annotations"]
    rle = one["segmentation"]
    decoded = mask_util.decode(mask_util.frPyObjects(rle, *rle["size"]))
    assert rle["size"] == [SIZE[1], SIZE[0]]
    assert np.argwhere(decoded).tolist() == [[7, 5], [7, 6], [8, 6]]
    assert (one["bbox"], one["area"]) == ([5, 7, 2, 2], 3)


@given(of_numpy.arrays(bool, st.tuples(st.integers(1, 6), st.integers(1, 6))))
def test_run_lengths_are_those_that_pycocotools_reads(mask: np.ndarray):
    rle = run_lengths(mask)

    assert (mask_util.decode(mask_util.frPyObjects(rle, *rle["size"])) == mask).all()


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ({"points": [[1, 2]], "shape_type": "point"}, "shapes of the kind point with no area"),
        ({"points": [[1, 2], [3, 4]], "shape_type": "line"}, "shapes of the kind line with no area"),
        ({"points": TRIANGLE, "shape_type": "linestrip"}, "shapes of the kind linestrip with no area"),
        ({"points": [[1, 2], [3, 4]]}, "shapes of the kind polygon with fewer than three points"),
        ({"points": TRIANGLE, "shape_type": "star"}, "shapes of the kind star, which is not known"),
        ({"points": [[1, 2], [1, 9]], "shape_type": "rectangle"}, "shapes without width or height"),
        ({"points": TRIANGLE, "label": "__ignore__"}, "shapes that are called __ignore__, which is no class"),
        (
            {"points": [[0, 0], [1, 1]], "shape_type": "mask", "mask": bitmap(np.zeros((2, 2)))},
            "masks without a pixel",
        ),
    ],
)
def test_a_shape_that_cannot_be_carried_over_is_counted_with_its_place(
    tmp_path: Path, shape: dict[str, Any], kind: str
):
    source = one_image(tmp_path / "labelme", {"label": "pear", "points": TRIANGLE}, {"label": "pear", **shape})

    done, content = converted(source)

    assert losses(done) == {kind: 1}
    assert done.losses[0].examples[0].startswith(f"{source}/a.json: shapes[1]")
    assert len(content["train"]["annotations"]) == 1


def test_what_else_is_lost_is_counted(tmp_path: Path):
    source = one_image(
        tmp_path / "labelme",
        {"label": "pear", "points": TRIANGLE, "flags": {"blurred": True}},
        {"label": "pear", "points": TRIANGLE, "description": "half hidden", "flags": {"blurred": False}},
        flags={"night": True},
        imageWidth=400,
    )
    labelme_file(source / "b.json", {"label": "pear", "points": TRIANGLE}, imageData="aGVsbG8=")
    text(source / "coco.json", '{"images": []}')

    done, content = converted(source)

    assert losses(done) == {
        "annotations without an image, with their objects": 1,
        "JSON files that are not labelme's": 1,
        "flags and descriptions of shapes, whose shapes are kept": 2,
        "flags of images": 1,
    }
    (lost,) = (flaw for flaw in done.losses if flaw.code.startswith("annotations without"))
    assert "the file has it as imageData" in lost.examples[0]
    assert changes(done) == {"images of another size than their file says: the image's own is written": 1}
    assert len(content["train"]["annotations"]) == 2


def test_images_are_found_where_windows_and_other_folders_have_them(tmp_path: Path):
    root = tmp_path / "labelme"
    picture(root / "images/a.jpg")
    picture(root / "val/b.png")
    labelme_file(root / "labels/a.json", {"label": "pear", "points": TRIANGLE}, imagePath="..\\images\\a.jpg")
    labelme_file(root / "val/b.json", {"label": "pear", "points": TRIANGLE}, imagePath="C:\\photos\\gone.jpg")

    _, content = converted(root)

    assert content["train"]["images"][0]["file_name"] == "../labelme/images/a.jpg"
    assert content["val"]["images"][0]["file_name"] == "../labelme/val/b.png"


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ({"label": "pear", "points": [[1, 2, 3]]}, r"shapes\[0\] \(pear\): its points are no list of pairs"),
        ({"label": "pear", "points": "none"}, "its points are no list of pairs"),
        ({"label": "pear", "points": [[1, None], [2, 3], [4, 5]]}, "its points are no list of pairs"),
        ({"points": TRIANGLE}, r"shapes\[0\]: it has no label"),
        ({"label": "pear", "points": [[1, 2]], "shape_type": "circle"}, "a circle of 1 points"),
        ({"label": "pear", "points": [[1, 2], [3, 4]], "shape_type": "mask", "mask": "?"}, "its mask is no image"),
    ],
)
def test_a_shape_that_cannot_be_read_is_refused_with_its_place(tmp_path: Path, shape: dict[str, Any], said: str):
    with pytest.raises(DataError, match=rf"a\.json: .*{said}"):
        converted(one_image(tmp_path / "labelme", shape))


def test_broken_json_is_refused_with_its_line(tmp_path: Path):
    source = one_image(tmp_path / "labelme", {"label": "pear", "points": TRIANGLE})
    text(source / "b.json", "{", '"shapes": [],', '"imagePath": "a.jpg"', '"flags": 1}')
    text(source / "c.json", "{", '"shapes": [')

    with pytest.raises(DataError, match=r"2 labels.*\n.*b\.json:4: this is no JSON.*\n.*c\.json:3: this is no JSON"):
        converted(source)


points = st.lists(st.tuples(st.floats(0, 500), st.floats(0, 400)), min_size=3, max_size=8)


@settings(max_examples=40, deadline=None)
@given(points)
def test_polygons_survive_the_way_from_labelme(polygon: list[tuple[float, float]]):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "labelme")
        picture(root / "a.jpg", (500, 400))
        shapes = [{"label": "pear", "points": TRIANGLE}, {"label": "apple", "points": [list(p) for p in polygon]}]
        labelme_file(root / "a.json", *shapes, imageWidth=500, imageHeight=400)

        done, content = converted(root)

    extents = [max(axis) - min(axis) for axis in zip(*polygon, strict=True)]
    if round(min(extents), 4) <= 0:
        assert losses(done) == {"shapes without width or height": 1}
        return
    kept = content["train"]["annotations"][1]["segmentation"][0]
    assert kept == pytest.approx([value for point in polygon for value in point], abs=1e-4)


def test_images_without_annotations_are_counted(tmp_path: Path):
    source = one_image(tmp_path / "labelme", {"label": "pear", "points": TRIANGLE})
    picture(source / "deep/z.png")

    done, _ = converted(source)

    assert losses(done) == {"images without annotations": 1}


@pytest.mark.parametrize("corner", [[-9, 7], [5, -9], [99, 7], [5, 99]])
def test_a_mask_beyond_its_image_is_counted(tmp_path: Path, corner: list[int]):
    mask = {"label": "pear", "points": [corner, corner], "shape_type": "mask", "mask": bitmap(np.ones((3, 3), bool))}

    done, content = converted(one_image(tmp_path / "labelme", mask, {"label": "pear", "points": TRIANGLE}))

    assert losses(done) == {"masks without a pixel": 1}
    assert len(content["train"]["annotations"]) == 1
