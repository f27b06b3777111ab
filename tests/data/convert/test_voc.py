"""Pascal VOC's files, as the challenge has them and as programs write them."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.data.convert.voc import VocOptions
from launcher.errors import DataError
from tests.data.convert.written import (
    SIZE,
    boxes,
    changes,
    converted,
    losses,
    picture,
    text,
    voc_file,
    voc_object,
)


def challenge(root: Path) -> Path:
    """A folder like VOC2007: two images to train on, one to validate with, one that no list has."""
    for name in ("1", "2", "3", "4"):
        picture(root / "JPEGImages" / f"{name}.jpg")
        voc_file(root / "Annotations" / f"{name}.xml", voc_object("pear", (int(name), 2, 10, 12)))
    text(root / "ImageSets/Main/train.txt", "1", "2  -1")
    text(root / "ImageSets/Main/val.txt", "3")
    text(root / "ImageSets/Main/trainval.txt", "1", "2", "3")
    text(root / "ImageSets/Main/pear_train.txt", "4 1")
    return root


@pytest.mark.parametrize("named", [".", ".."])
def test_a_folder_like_that_of_the_challenge_is_read_by_its_lists(tmp_path: Path, named: str):
    root = challenge(tmp_path / "devkit/VOC2007")

    done, content = converted(root if named == "." else root.parent, folder=tmp_path / "coco")

    assert boxes(content["train"]) == [("pear", [0, 1, 10, 11]), ("pear", [1, 1, 9, 11])]
    assert boxes(content["val"]) == [("pear", [2, 1, 8, 11])]
    assert content["train"]["images"][0]["file_name"] == "../devkit/VOC2007/JPEGImages/1.jpg"
    assert losses(done) == {"annotation files that ImageSets/Main does not list": 1}
    assert "Pascal VOC's: pixels from 1 on" in done.conventions[0]


def test_trainval_trains_where_there_is_no_train(tmp_path: Path):
    root = challenge(tmp_path / "VOC2007")
    for name in ("train", "val"):
        (root / f"ImageSets/Main/{name}.txt").unlink()

    _, content = converted(root)

    assert [len(part["images"]) for part in content.values()] == [3]


def test_several_data_sets_are_refused(tmp_path: Path):
    for year in ("VOC2007", "VOC2012"):
        challenge(tmp_path / "devkit" / year)

    with pytest.raises(DataError, match=r"several data sets: .*VOC2007, .*VOC2012\. Convert each by itself"):
        converted(tmp_path / "devkit")


def test_files_beside_their_images_are_read_and_parts_are_folders(tmp_path: Path):
    for place in ("train/a", "valid/b", "c"):
        picture(tmp_path / "voc" / f"{place}.png")
        voc_file(tmp_path / "voc" / f"{place}.xml", voc_object("pear", (1, 1, 5, 5)), filename="old name.jpg")

    _, content = converted(tmp_path / "voc")

    assert {part: len(of_part["images"]) for part, of_part in content.items()} == {"train": 2, "val": 1}


@pytest.mark.parametrize(
    ("corners", "origin", "box"),
    [
        ((1, 1, 40, 30), None, [0, 0, 40, 30]),
        ((0, 1, 40, 30), None, [0, 1, 40, 29]),
        ((1, 1, 40, 30), 0, [1, 1, 39, 29]),
        ((0, 1, 40, 30), 1, [-1, 0, 41, 30]),
        ((1.5, 2.25, 3, 4), None, [0.5, 1.25, 2.5, 2.75]),
    ],
)
def test_what_coordinates_mean_is_found_out_or_asked_for_and_said(
    tmp_path: Path, corners: tuple[float, ...], origin: int | None, box: list[float]
):
    picture(tmp_path / "voc/a.jpg")
    voc_file(tmp_path / "voc/a.xml", voc_object("pear", corners))

    done, content = converted(tmp_path / "voc", voc=VocOptions(origin=origin))

    assert boxes(content["train"]) == [("pear", box)]
    (said,) = done.conventions
    assert ("as asked" in said) is (origin is not None)
    if origin is None:
        assert ("--origin 1" in said and "a.xml:4 has one at 0" in said) is (corners[0] == 0)


@pytest.mark.parametrize("as_objects", [False, True])
def test_difficult_objects_are_crowds_unless_asked_otherwise(tmp_path: Path, as_objects: bool):
    picture(tmp_path / "voc/a.jpg")
    difficult = voc_object("pear", (1, 1, 5, 5), "<difficult>1</difficult>")
    voc_file(tmp_path / "voc/a.xml", difficult, voc_object("pear", (7, 1, 9, 5), "<difficult>0</difficult>"))

    done, content = converted(tmp_path / "voc", voc=VocOptions(difficult_as_objects=as_objects))

    assert [one["iscrowd"] for one in content["train"]["annotations"]] == [0 if as_objects else 1, 0]
    (kind,) = changes(done)
    assert ("as objects" in kind) is as_objects
    assert done.files[0].num_crowds == (0 if as_objects else 1)


def test_polygons_beside_a_box_are_kept(tmp_path: Path):
    picture(tmp_path / "voc/a.jpg")
    polygon = "".join(f"<x{n}>{x}</x{n}><y{n}>{y}</y{n}>" for n, (x, y) in enumerate([(2, 2), (8, 2), (8, 6)], 1))
    voc_file(tmp_path / "voc/a.xml", voc_object("pear", (2, 2, 8, 6), f"<polygon>{polygon}</polygon>"))

    _, content = converted(tmp_path / "voc")

    (one,) = content["train"]["annotations"]
    assert (one["segmentation"], one["bbox"], one["area"]) == ([[1, 1, 7, 1, 7, 5]], [1, 1, 6, 4], 12)


def test_what_cocos_format_has_not_is_counted(tmp_path: Path):
    root = challenge(tmp_path / "VOC2007")
    text(root / "Annotations/notes.xml", "<notes/>")
    (root / "SegmentationObject").mkdir()
    part = "<part><name>head</name><bndbox></bndbox></part>"
    voc_file(
        root / "Annotations/1.xml",
        voc_object("pear", (1, 2, 5, 6), part),
        voc_object("pear", (5, 2, 4, 6)),
        "<object><name>pear</name><robndbox><cx>3</cx></robndbox></object>",
        size=(400, 300),
    )
    (root / "JPEGImages/3.jpg").unlink()
    text(root / "ImageSets/Main/val.txt", "3", "5")

    done, content = converted(root)

    assert losses(done) == {
        "annotation files that ImageSets/Main does not list": 1,
        "annotations without an image, with their objects": 1,
        "listed images without annotations": 1,
        "masks of SegmentationObject/: only boxes are read": 1,
        "objects without width or height": 1,
        "parts of objects (<part>), whose objects are kept": 1,
        "XML files that are no annotations": 1,
        "rotated boxes (<robndbox>), which COCO's format has not": 1,
    }
    assert changes(done) == {"images of another size than their <size>: the image's own is written": 1}
    assert (content["train"]["images"][0]["width"], content["train"]["images"][0]["height"]) == SIZE
    assert list(content) == ["train"]


@pytest.mark.parametrize(
    ("content", "line", "said"),
    [
        ("<annotation>\n<object>\n<name>pear</object>", 3, "this is no XML"),
        ("<annotation>\n<object>", 3, "this is no XML"),
        ("", 2, "this is no XML"),
        ("<annotation>\n\n<object><bndbox/></object></annotation>", 3, "an object without a <name>"),
        ("<annotation>\n<object><name>a</name></object></annotation>", 2, "an object without a <bndbox>"),
        (
            "<annotation><object><name>a</name>\n<bndbox><xmin>x</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax>"
            "</bndbox></object></annotation>",
            2,
            "a box or polygon whose numbers cannot be read",
        ),
        (
            "<annotation><object><name>a</name>\n<bndbox><xmin>1</xmin><ymin>inf</ymin><xmax>2</xmax></bndbox>"
            "</object></annotation>",
            2,
            "a box or polygon whose numbers cannot be read",
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_its_line(tmp_path: Path, content: str, line: int, said: str):
    picture(tmp_path / "voc/a.jpg")
    text(tmp_path / "voc/a.xml", content)
    voc_file(tmp_path / "voc/b.xml")

    with pytest.raises(DataError, match=rf"voc/a\.xml:{line}: {said}"):
        converted(tmp_path / "voc")


corner = st.integers(1, 200)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(corner, corner, corner, corner), min_size=1, max_size=5))
def test_boxes_of_whole_pixels_survive_the_way_to_voc_and_back(boxes_of_coco: list[tuple[int, int, int, int]]):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "voc")
        picture(root / "a.png", (500, 500))
        voc_file(
            root / "a.xml",
            *(voc_object("a", (x, y, x + width - 1, y + height - 1)) for x, y, width, height in boxes_of_coco),
            size=(500, 500),
        )

        _, content = converted(root)

    # VOC's first pixel is 1, COCO's 0.
    assert [box for _, box in boxes(content["train"])] == [[x - 1, y - 1, w, h] for x, y, w, h in boxes_of_coco]


def test_what_validates_is_taken_out_of_trainval(tmp_path: Path):
    root = challenge(tmp_path / "VOC2007")
    (root / "ImageSets/Main/train.txt").unlink()

    done, content = converted(root)

    assert [Path(one["file_name"]).name for one in content["train"]["images"]] == ["1.jpg", "2.jpg"]
    assert [Path(one["file_name"]).name for one in content["val"]["images"]] == ["3.jpg"]
    assert not changes(done)


def test_files_of_one_name_in_several_folders_are_all_read(tmp_path: Path):
    root = tmp_path / "VOC"
    for place in ("a", "b"):
        picture(root / "Annotations" / place / "1.jpg")
        voc_file(root / "Annotations" / place / "1.xml", voc_object(place, (1, 2, 10, 12)))
    text(root / "ImageSets/Main/train.txt", "1")

    _, content = converted(root)

    assert [name for name, _ in boxes(content["train"])] == ["a", "b"]


def test_images_without_annotations_are_counted(tmp_path: Path):
    root = challenge(tmp_path / "VOC2007")
    picture(root / "JPEGImages/5.jpg")
    picture(root / "SegmentationClass/6.png")

    done, _ = converted(root)

    assert losses(done)["images without annotations"] == 1
