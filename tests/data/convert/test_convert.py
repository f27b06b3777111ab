"""From any format to files that a training reads: found out, written whole or not at all, and told."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from launcher.config.layouts import find_files
from launcher.config.request import DatasetKind, DatasetRequest
from launcher.data.coco_file import read_coco
from launcher.data.convert.convert import Format, detect
from launcher.errors import DataError, RequestError
from tests.data.convert.written import converted, labelme_file, picture, text, voc_file, voc_object

BOX = {"label": "pear", "points": [[2, 3], [12, 11]], "shape_type": "rectangle"}


def yolo(root: Path) -> Path:
    for part in ("train", "val"):
        picture(root / "images" / part / "a.jpg")
        text(root / "labels" / part / "a.txt", "0 0.5 0.5 0.5 0.5")
    text(root / "data.yaml", "train: images/train", "val: images/val", "names: [pear]")
    return root


def voc(root: Path) -> Path:
    picture(root / "a.jpg")
    voc_file(root / "a.xml", voc_object("pear", (1, 1, 5, 5)))
    return root


def labelme(root: Path) -> Path:
    picture(root / "b.jpg")
    labelme_file(root / "b.json", BOX)
    return root


MAKERS = {Format.yolo: yolo, Format.voc: voc, Format.labelme: labelme}


@pytest.mark.parametrize("kind", Format)
def test_the_format_is_found_out(tmp_path: Path, kind: Format):
    assert detect(MAKERS[kind](tmp_path / "source")) is kind


def test_two_formats_in_one_folder_are_asked_about_and_read_as_told(tmp_path: Path):
    source = labelme(voc(tmp_path / "source"))

    with pytest.raises(RequestError, match=r"of Pascal VOC and of labelme.*--from voc or --from labelme"):
        converted(source)
    done, _ = converted(source, format=Format.labelme)

    assert done.format is Format.labelme


@pytest.mark.parametrize("make", [lambda root: root.mkdir(), lambda root: picture(root / "a.jpg")])
def test_no_format_that_is_known_is_said_with_what_was_looked_for(tmp_path: Path, make):  # type: ignore[no-untyped-def]
    make(tmp_path / "source")

    with pytest.raises(RequestError, match=r"no data\.yaml \(YOLO\), no XML.*dataset\.root=FOLDER"):
        converted(tmp_path / "source")


def test_a_source_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(RequestError, match="source is not there"):
        converted(tmp_path / "source")


@pytest.mark.parametrize("copy_images", [False, True])
@pytest.mark.parametrize("kind", Format)
def test_what_is_written_is_found_and_sound(tmp_path: Path, kind: Format, copy_images: bool):
    converted(MAKERS[kind](tmp_path / "source"), copy_images=copy_images)

    asked = DatasetRequest(kind=DatasetKind.coco_json, root=str(tmp_path / "coco"))
    dataset, found = find_files(asked, {})

    assert found.problems == ()
    assert (dataset.val.json != "") is (kind is Format.yolo)
    for split in (dataset.train, dataset.val):
        if split.json:
            facts = read_coco("a", "train", Path(split.json), Path(split.images))
            assert (facts.unreadable, facts.objects.num, facts.num_headers) == ("", 1, 1)
            # Only a mask would be missing, and is asked for by models of masks alone.
            assert {flaw.code for flaw in facts.flaws} <= {"mask.missing", "keypoints.not_for_evaluation"}


def test_images_stay_where_they_are_unless_copies_are_asked_for(tmp_path: Path):
    source = yolo(tmp_path / "source")

    _, there = converted(source)
    _, copied = converted(source, folder=tmp_path / "copied", copy_images=True)

    assert there["train"]["images"][0]["file_name"] == "../source/images/train/a.jpg"
    assert copied["train"]["images"][0]["file_name"] == "images/images/train/a.jpg"
    assert sorted(os.listdir(tmp_path / "coco")) == ["train.json", "val.json"]
    assert (tmp_path / "copied/images/images/train/a.jpg").read_bytes() == (source / "images/train/a.jpg").read_bytes()


def test_copies_of_images_of_one_name_from_elsewhere_are_told_apart(tmp_path: Path):
    for place in ("a", "b"):
        picture(tmp_path / place / "1.jpg", (40, 30 if place == "a" else 20))
    text(tmp_path / "source/data.yaml", "train: [../a, ../b]", "names: [pear]")
    for place in ("a", "b"):
        text(tmp_path / place / "1.txt", "0 0.5 0.5 0.5 0.5")

    _, content = converted(tmp_path / "source", copy_images=True)

    assert [image["file_name"] for image in content["train"]["images"]] == ["images/1.jpg", "images/2_1.jpg"]
    assert len(os.listdir(tmp_path / "coco/images")) == 2


def test_nothing_is_overwritten_unless_asked_for(tmp_path: Path):
    source = yolo(tmp_path / "source")
    (tmp_path / "coco").mkdir()
    (tmp_path / "coco/val.json").write_text("mine")

    with pytest.raises(RequestError, match=r"Already there: .*coco/val\.json.*--force"):
        converted(source)
    assert os.listdir(tmp_path / "coco") == ["val.json"]
    _, content = converted(source, force=True)

    assert len(content["val"]["images"]) == 1


def test_a_part_of_something_else_is_not_left_beside_what_is_written(tmp_path: Path):
    (tmp_path / "coco").mkdir()
    (tmp_path / "coco/val.json").write_text("mine")

    with pytest.raises(RequestError, match=r"coco/val\.json is there, and would be taken for a part"):
        converted(voc(tmp_path / "source"), force=True)


def test_images_without_a_single_object_are_nothing_to_write(tmp_path: Path):
    picture(tmp_path / "source/a.jpg")
    voc_file(tmp_path / "source/a.xml")

    with pytest.raises(DataError, match="has no objects that can be carried over, so nothing was written"):
        converted(tmp_path / "source")


def test_turned_images_have_the_size_that_detectron2_sees(tmp_path: Path):
    from PIL import Image

    source = voc(tmp_path / "source")
    exif = Image.Exif()
    exif[0x112] = 6
    Image.new("RGB", (40, 30)).save(source / "a.jpg", exif=exif)

    _, content = converted(source)

    (image,) = content["train"]["images"]
    assert (image["width"], image["height"]) == (30, 40)


def test_ids_are_numbered_from_1_and_belong_together(tmp_path: Path):
    source = yolo(tmp_path / "source")
    text(source / "labels/train/a.txt", "0 0.5 0.5 0.5 0.5", "0 0.5 0.5 0.25 0.5")

    converted(source)

    content = json.loads((tmp_path / "coco/train.json").read_text())
    assert [one["id"] for one in content["annotations"]] == [1, 2]
    assert {one["image_id"] for one in content["annotations"]} == {one["id"] for one in content["images"]} == {1}


def test_images_that_train_and_validate_are_counted(tmp_path: Path):
    source = yolo(tmp_path / "source")
    text(source / "data.yaml", "train: images/train", "val: [images/train, images/val]", "names: [pear]")

    done, _ = converted(source)

    (shared,) = done.changes
    assert (shared.code, shared.count) == ("images that several parts have: measured on them, the AP is too high", 1)
    assert shared.examples[0].endswith("a.jpg: train and val")


def test_images_are_found_from_a_folder_that_is_a_link(tmp_path: Path):
    source = yolo(tmp_path / "source")
    (tmp_path / "deep/er").mkdir(parents=True)
    (tmp_path / "out").symlink_to(tmp_path / "deep/er")

    _, content = converted(source, folder=tmp_path / "out")

    assert (tmp_path / "out" / content["train"]["images"][0]["file_name"]).is_file()


def test_images_are_not_overwritten_unless_asked_for_and_never_those_that_are_copied(tmp_path: Path):
    source = tmp_path / "source"
    for name in ("1.jpg", "images/1.jpg"):
        picture(source / name)
        text((source / name).with_suffix(".txt"), "0 0.5 0.5 0.5 0.5")
    text(source / "data.yaml", "train: [1.jpg, images/1.jpg]", "names: [pear]")
    mine = text(tmp_path / "coco/images/1.jpg", "mine")

    with pytest.raises(RequestError, match=r"Already there: .*coco/images/1\.jpg\. .*--force"):
        converted(source, copy_images=True)
    assert mine.read_text() == "mine\n"
    with pytest.raises(RequestError, match=r"source/images/1\.jpg is an image of the data set"):
        converted(source, folder=source, copy_images=True, force=True)
    converted(source, copy_images=True, force=True)

    assert mine.read_bytes() == (source / "1.jpg").read_bytes()
