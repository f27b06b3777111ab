"""Every way in which data can be wrong has one broken example here, made from a sound one."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launcher.config.keys import Keys
from launcher.config.request import DatasetRequest
from launcher.data.facts import inspect_dataset
from launcher.data.plan import DatasetPlan, plan_dataset
from launcher.errors import DataError
from tests.data.examples import KEYS, annotation, coco_content, keys_with, request_for, write_fruits

Content = dict[str, Any]


def plan(dataset: DatasetRequest, keys: Keys = KEYS, overrides: tuple[str, ...] = ()) -> DatasetPlan:
    return plan_dataset(request_for(dataset, keys, overrides), inspect_dataset(dataset, keys))


def edit(folder: Path, split: str, change: Callable[[Content], object]) -> None:
    path = folder / f"{split}.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def set_in(part: str, place: int, **values: Any) -> Callable[[Content], object]:
    return lambda content: content[part][place].update(values)


def drop_in(part: str, place: int, key: str) -> Callable[[Content], object]:
    return lambda content: content[part][place].pop(key)


def add_to(part: str, entry: Any) -> Callable[[Content], object]:
    return lambda content: content[part].append(entry)


def replace(part: str, value: Any) -> Callable[[Content], object]:
    return lambda content: content.update({part: value})


def in_every_annotation(**values: Any) -> Callable[[Content], object]:
    return lambda content: [entry.update(values) for entry in content["annotations"]]


def test_a_valid_data_set_passes_without_a_notice(tmp_path: Path):
    dataset = write_fruits(tmp_path)

    planned = plan(dataset)

    assert planned.adjustments == ()
    assert planned.notices == ()
    assert [(split.name, split.json, split.images) for split in planned.splits] == [
        ("fruits_train", str(tmp_path / "train.json"), str(tmp_path / "train")),
        ("fruits_val", str(tmp_path / "val.json"), str(tmp_path / "val")),
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(drop_in("images", 0, "width"), r"1 images lack .*width.*images\[0\]", id="image without width"),
        pytest.param(set_in("images", 0, file_name=""), r"1 images lack .*file_name", id="image without name"),
        pytest.param(add_to("images", 3), r"1 images lack an id.*images\[2\]", id="image that is a number"),
        pytest.param(set_in("images", 1, id=1), r"1 images repeat the id.*id 1", id="image id twice"),
        pytest.param(
            set_in("images", 1, file_name="lost.jpg"),
            r"1 of 2 images have no file in .*train \(lost\.jpg\)\. Set dataset\.train\.images",
            id="image without file",
        ),
        pytest.param(replace("images", []), r"lists no images", id="no images"),
        pytest.param(replace("categories", []), r"defines no categories", id="no categories"),
        pytest.param(drop_in("categories", 0, "name"), r"1 categories lack .*name", id="category without name"),
        pytest.param(set_in("categories", 0, id="1"), r"1 categories lack a whole-number id", id="category id is text"),
        pytest.param(set_in("categories", 0, id=2), r"1 categories repeat the id", id="category id twice"),
        pytest.param(drop_in("annotations", 0, "id"), r"1 annotations lack an id", id="annotation without id"),
        pytest.param(
            set_in("annotations", 0, id=2), r"1 annotations repeat the id.*annotation 2", id="annotation id twice"
        ),
        pytest.param(
            set_in("annotations", 0, image_id=99),
            r"1 annotations belong to no image.*annotation 1: image_id 99",
            id="annotation without image",
        ),
        pytest.param(
            set_in("annotations", 0, image_id=[1]), r"1 annotations belong to no image", id="image_id is a list"
        ),
        pytest.param(
            set_in("annotations", 0, category_id=7),
            r"1 annotations have a category that the file does not define \(annotation 1: category_id 7\)",
            id="unknown category",
        ),
        pytest.param(set_in("annotations", 0, ignore=1), r"1 annotations are marked `ignore`", id="ignore"),
        pytest.param(drop_in("annotations", 0, "bbox"), r"1 annotations have no bbox of four", id="no box"),
        pytest.param(set_in("annotations", 0, bbox=[1, 2, "3", 4]), r"1 annotations have no bbox", id="box with text"),
        pytest.param(
            in_every_annotation(segmentation=[[1, 1, 5, 5]]),
            r"none of the 3 objects has a polygon of three points",
            id="no polygons at all",
        ),
        pytest.param(in_every_annotation(bbox=[1, 2, 0, 4]), r"all 3 boxes have no area", id="all boxes degenerate"),
        pytest.param(replace("annotations", []), r"no image has an annotation", id="no annotations"),
        pytest.param(in_every_annotation(iscrowd=1), r"no image has an annotation \(crowds", id="only crowds"),
        pytest.param(
            drop_in("annotations", 0, "segmentation"),
            r"1 of 3 annotations have no segmentation.*MODEL\.MASK_ON=False",
            id="one mask missing",
        ),
        pytest.param(
            in_every_annotation(segmentation=[]),
            r"3 of 3 annotations have no segmentation.*MODEL\.MASK_ON=False",
            id="no masks at all",
        ),
        pytest.param(set_in("annotations", 0, segmentation="x"), r"1 segmentations are neither", id="mask is text"),
        pytest.param(
            set_in("annotations", 0, segmentation={"size": [30, 40], "counts": None}),
            r"1 segmentations are neither",
            id="RLE without counts",
        ),
        pytest.param(set_in("annotations", 0, iscrowd=None), r"1 annotations have an `iscrowd` that", id="crowd null"),
        pytest.param(
            add_to("images", {"id": "a", "file_name": "1.jpg", "width": 40, "height": 30}),
            r'1 of 3 image ids are text and the others numbers \(id "a"\)',
            id="mixed image ids",
        ),
    ],
)
def test_a_broken_training_file_is_refused_with_what_and_where(
    tmp_path: Path, change: Callable[[Content], object], message: str
):
    dataset = write_fruits(tmp_path)
    edit(tmp_path, "train", change)

    with pytest.raises(DataError, match=message) as refusal:
        plan(dataset)

    assert "dataset.train.json=" in str(refusal.value)


@pytest.mark.parametrize("key", ["area", "iscrowd"])
def test_what_only_evaluation_reads_must_be_in_the_validation_file_alone(tmp_path: Path, key: str):
    dataset = write_fruits(tmp_path)
    edit(tmp_path, "train", drop_in("annotations", 0, key))
    plan(dataset)

    edit(tmp_path, "val", drop_in("annotations", 0, key))
    with pytest.raises(DataError, match=r"dataset\.val\.json=.*1 annotations lack `area` or `iscrowd`"):
        plan(dataset)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(set_in("annotations", 0, id="a1"), r"1 annotations have an id that is text", id="text id"),
        pytest.param(set_in("images", 0, width=40.0), r"1 of 2 images .*decimal point \(id 1: 40\.0", id="float size"),
        pytest.param(
            set_in("annotations", 0, segmentation=[[1, 2, 3, 4], [2, 3, 12, 3, 12, 11]]),
            r"1 annotations.* segmentation that evaluating masks stops at \(annotation 1\)",
            id="first polygon of two points",
        ),
        pytest.param(set_in("annotations", 0, segmentation=[[]]), r"evaluating masks stops at", id="empty polygon"),
        pytest.param(
            set_in("annotations", 2, iscrowd=1, segmentation=None), r"evaluating masks stops at", id="crowd without"
        ),
    ],
)
def test_what_only_evaluation_stops_at_is_refused_where_it_is_evaluated(
    tmp_path: Path, change: Callable[[Content], object], message: str
):
    dataset = write_fruits(tmp_path)
    edit(tmp_path, "train", change)
    plan(dataset)

    with pytest.raises(DataError, match=rf"dataset\.train\.json=.*{message}"):
        plan(dataset, keys_with(DATASETS__TEST=["fruits_train"]))

    edit(tmp_path, "val", change)
    with pytest.raises(DataError, match=rf"The data set cannot be used: dataset\.val\.json=.*{message}"):
        plan(dataset)


def test_masks_that_are_not_learnt_need_not_be_fit_for_evaluation(tmp_path: Path):
    dataset = write_fruits(tmp_path)
    edit(tmp_path, "val", set_in("images", 0, width=40.0))
    edit(tmp_path, "val", set_in("annotations", 0, segmentation=[[]]))

    plan(dataset, keys_with(MODEL__MASK_ON=False))


def test_the_command_that_numbers_annotations_makes_the_file_fit(tmp_path: Path):
    dataset = write_fruits(tmp_path / "my fruits")
    edit(tmp_path / "my fruits", "val", set_in("annotations", 0, id="a1"))
    with pytest.raises(DataError) as refusal:
        plan(dataset)

    command = str(refusal.value).partition("type: ")[2].partition(" (which")[0].replace("python", sys.executable, 1)
    subprocess.run(command, shell=True, check=True)

    plan(dataset)


@pytest.mark.parametrize("check", [True, False])
def test_annotation_id_0_is_said_in_one_line_where_it_is_evaluated(tmp_path: Path, check: bool):
    dataset = dataclasses.replace(write_fruits(tmp_path), check=check)
    for split in ("train", "val"):
        edit(tmp_path, split, set_in("annotations", 0, id=0))

    (notice,) = plan(dataset).notices

    assert notice.startswith(
        f"dataset.val.json={dataset.val.json}: an annotation has id 0, which COCO evaluation takes"
    )


def test_a_validation_file_that_is_not_evaluated_may_be_anything(tmp_path: Path):
    dataset = write_fruits(tmp_path)
    edit(tmp_path, "val", drop_in("annotations", 0, "area"))
    edit(tmp_path, "val", set_in("categories", 1, name="hazelnut"))

    plan(dataset, keys_with(DATASETS__TEST=[]))


def test_whole_numbers_with_a_decimal_point_are_ids_too(tmp_path: Path):
    def with_floats(content: Content) -> None:
        for part in ("images", "categories"):
            for entry in content[part]:
                entry["id"] = float(entry["id"])
        for entry in content["annotations"]:
            entry.update({key: float(entry[key]) for key in ("id", "image_id", "category_id")})

    dataset = write_fruits(tmp_path)
    edit(tmp_path, "train", with_floats)

    planned = plan(dataset, keys_with(MODEL__ROI_HEADS__NUM_CLASSES=80))

    assert [(each.setting, each.planned) for each in planned.adjustments] == [("MODEL.ROI_HEADS.NUM_CLASSES", 2)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(b'{"images": [\n  {"id": 1,}]}', r"broken JSON at line 2, column 1[12]: ", id="trailing comma"),
        pytest.param(b'{"images": [', r"broken JSON at line 1, column 13: ", id="cut off"),
        pytest.param(b"", r"the file is empty", id="empty"),
        pytest.param(b"\xff\xd8\xff\xe0", r"not text", id="a photograph"),
        pytest.param(json.dumps(coco_content()).encode("utf-16"), r"not text in UTF-8", id="UTF-16"),
        pytest.param(
            json.dumps(coco_content()).encode("utf-8-sig"), r"begins with a byte order mark", id="byte order mark"
        ),
        pytest.param(b"[]", r"this is a list", id="a list"),
        pytest.param(b"{}", r"images is missing, annotations is missing, categories is missing", id="empty object"),
        pytest.param(
            b'{"images": {}, "annotations": [], "categories": []}', r"images is a object, not a list", id="wrong type"
        ),
    ],
)
def test_a_file_that_is_not_coco_format_is_refused_with_the_place(tmp_path: Path, text: bytes, message: str):
    dataset = write_fruits(tmp_path)
    (tmp_path / "val.json").write_bytes(text)

    with pytest.raises(DataError, match=rf"dataset\.val\.json=.*val\.json: .*{message}"):
        plan(dataset)


def test_a_missing_file_is_refused_with_what_is_there_instead(tmp_path: Path):
    dataset = write_fruits(tmp_path)
    (tmp_path / "train.json").rename(tmp_path / "training.json")

    with pytest.raises(DataError, match=r"no such file; its folder has training\.json, val\.json"):
        plan(dataset)


def test_a_missing_folder_is_refused_with_the_part_that_exists(tmp_path: Path):
    dataset = write_fruits(tmp_path / "fruits")
    shutil.rmtree(tmp_path / "fruits")

    with pytest.raises(DataError, match=rf"not even its folder; {tmp_path} is the last part that exists"):
        plan(dataset)


def test_missing_demo_data_names_the_command_that_makes_it(tmp_path: Path):
    dataset = dataclasses.replace(write_fruits(tmp_path / "demo"), name="demo")
    shutil.rmtree(tmp_path / "demo")

    with pytest.raises(DataError, match=rf"launcher data demo {tmp_path}/demo\."):
        plan(dataset, keys_with(DATASETS__TRAIN=["demo_train"], DATASETS__TEST=["demo_val"]))


def test_a_folder_in_place_of_the_file_is_refused(tmp_path: Path):
    dataset = write_fruits(tmp_path)
    (tmp_path / "train.json").unlink()
    (tmp_path / "train.json").mkdir()

    with pytest.raises(DataError, match=r"cannot be read: it is a folder, not a file"):
        plan(dataset)


def test_all_problems_are_reported_at_once(tmp_path: Path):
    dataset = write_fruits(tmp_path)
    edit(tmp_path, "train", set_in("images", 0, file_name="lost.jpg"))
    edit(tmp_path, "train", set_in("annotations", 0, image_id=99))
    edit(tmp_path, "val", set_in("annotations", 0, category_id=99))

    with pytest.raises(DataError, match="3 problems") as refusal:
        plan(dataset)

    for part in ("lost.jpg", "image_id 99", "category_id 99"):
        assert part in str(refusal.value)


def test_many_examples_are_counted_and_only_the_first_are_named(tmp_path: Path):
    dataset = write_fruits(tmp_path)
    edit(
        tmp_path,
        "train",
        lambda content: content["annotations"].extend(annotation(number, image_id=99) for number in range(10, 30)),
    )

    with pytest.raises(DataError, match=r"20 annotations .*annotation 10: .*annotation 12: image_id 99, \.\.\.\)"):
        plan(dataset)


@pytest.mark.parametrize("test", [["fruits_val"], []])
def test_images_that_are_trained_on_and_evaluated_are_a_notice(tmp_path: Path, test: list[str]):
    dataset = write_fruits(tmp_path)
    edit(tmp_path, "val", set_in("images", 1, file_name="../train/2.jpg"))

    planned = plan(dataset, keys_with(DATASETS__TEST=test))

    said = [notice for notice in planned.notices if "trained on too" in notice]
    assert len(said) == len(test)
    assert all("1 of 2 images that are evaluated" in notice and "../train/2.jpg" in notice for notice in said)


def test_evaluating_the_training_data_by_its_name_is_no_notice(tmp_path: Path):
    planned = plan(write_fruits(tmp_path), keys_with(DATASETS__TEST=["fruits_train"]))

    assert not [notice for notice in planned.notices if "trained on too" in notice]


def test_different_categories_in_train_and_val_are_refused_and_named(tmp_path: Path):
    dataset = write_fruits(tmp_path)
    edit(tmp_path, "val", set_in("categories", 1, name="hazelnut"))

    with pytest.raises(DataError, match=r"categories .* differ \(only in train: 2 fig; only in val: 2 hazelnut\)"):
        plan(dataset)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(set_in("annotations", 0, bbox=[1, 2, 0, 4]), r"1 of 3 boxes have no area", id="degenerate"),
        pytest.param(set_in("annotations", 0, bbox=[1, 2, float("nan"), 4]), r"1 of 3 boxes", id="not a number"),
        pytest.param(set_in("annotations", 0, bbox=[1, 2, float("inf"), 4]), r"1 of 3 boxes", id="infinite"),
        pytest.param(
            set_in("annotations", 0, bbox=[40, 2, 5, 4]), r"1 of 3 objects have boxes that lie outside", id="outside"
        ),
        pytest.param(
            set_in("annotations", 0, segmentation=[[1, 2, 3, 4]]),
            r"1 objects have no polygon of three",
            id="two points",
        ),
        pytest.param(
            add_to("images", {"id": 3, "file_name": "3.jpg", "width": 40, "height": 30}),
            r"1 of 3 images have no objects and are left out",
            id="image without objects",
        ),
    ],
)
def test_what_detectron2_survives_is_a_notice(tmp_path: Path, change: Callable[[Content], object], message: str):
    import re

    dataset = write_fruits(tmp_path)
    edit(tmp_path, "train", change)

    (notice,) = plan(dataset).notices

    assert re.search(message, notice)


def test_images_in_subfolders_are_found_with_one_listing_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import os

    dataset = write_fruits(tmp_path)
    (tmp_path / "train" / "deep").mkdir()
    (tmp_path / "train" / "1.jpg").rename(tmp_path / "train" / "deep" / "1.jpg")
    edit(tmp_path, "train", set_in("images", 0, file_name="deep/1.jpg"))
    listed = []
    real = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(str(path)) or real(path))

    plan(dataset)

    assert sorted(listed) == sorted(str(tmp_path / folder) for folder in ("train", "train/deep", "val"))


def test_without_the_check_the_classes_are_read_and_nothing_else_is_looked_at(tmp_path: Path):
    dataset = dataclasses.replace(write_fruits(tmp_path), check=False)
    shutil.rmtree(tmp_path / "train")
    edit(tmp_path, "train", set_in("annotations", 0, image_id=99))

    planned = plan(dataset, keys_with(MODEL__ROI_HEADS__NUM_CLASSES=80))

    assert [(each.setting, each.planned) for each in planned.adjustments] == [("MODEL.ROI_HEADS.NUM_CLASSES", 2)]


def test_a_model_without_masks_needs_no_segmentation(tmp_path: Path):
    dataset = write_fruits(tmp_path)
    for split in ("train", "val"):
        edit(tmp_path, split, in_every_annotation(segmentation=None))

    assert plan(dataset, keys_with(MODEL__MASK_ON=False)).notices == ()


def test_crowds_need_no_polygon_but_their_image_needs_an_object(tmp_path: Path):
    dataset = write_fruits(tmp_path)
    edit(tmp_path, "train", set_in("annotations", 1, iscrowd=1, segmentation=None))

    planned = plan(dataset)

    assert ["1 of 2 classes have no objects (date)" in planned.notices[0], len(planned.notices)] == [True, 2]
    assert "1 of 2 images have no objects" in planned.notices[1]


def with_keypoints(number: int, names: int) -> Callable[[Content], None]:
    def change(content: Content) -> None:
        in_every_annotation(keypoints=[5, 6, 2] * number, num_keypoints=number)(content)
        content["categories"][0]["keypoints"] = ["left_end", "right_end", "middle"][:names]

    return change


@pytest.mark.parametrize(
    ("number", "names", "message"),
    [
        (0, 0, r"no annotation has keypoints.*MODEL\.KEYPOINT_ON=False"),
        (3, 2, r"3 keypoints, but the categories name 2"),
        (3, 3, r"3 keypoints needs as many numbers in TEST\.KEYPOINT_OKS_SIGMAS, which has the 17"),
    ],
)
def test_keypoints_that_do_not_fit_are_refused(tmp_path: Path, number: int, names: int, message: str):
    dataset = write_fruits(tmp_path)
    for split in ("train", "val"):
        edit(tmp_path, split, with_keypoints(number, names))

    with pytest.raises(DataError, match=message):
        plan(dataset, keys_with(MODEL__KEYPOINT_ON=True))


FITTING = {"MODEL__KEYPOINT_ON": True, "TEST__KEYPOINT_OKS_SIGMAS": [0.1, 0.1, 0.1]}


@pytest.mark.parametrize("split", ["train", "val"])
def test_every_object_needs_keypoints(tmp_path: Path, split: str):
    dataset = write_fruits(tmp_path)
    for each in ("train", "val"):
        edit(tmp_path, each, with_keypoints(3, 3))
    edit(tmp_path, split, drop_in("annotations", 0, "keypoints"))

    with pytest.raises(DataError, match=rf"dataset\.{split}\.json=.*1 of 3 annotations have no keypoints"):
        plan(dataset, keys_with(**FITTING))


def test_evaluating_keypoints_needs_their_number_for_each_annotation(tmp_path: Path):
    dataset = write_fruits(tmp_path)
    for split in ("train", "val"):
        edit(tmp_path, split, with_keypoints(3, 3))
        edit(tmp_path, split, drop_in("annotations", 0, "num_keypoints"))

    with pytest.raises(DataError, match=r"used: dataset\.val\.json=.*1 annotations, .* lack `keypoints` or `num_key"):
        plan(dataset, keys_with(**FITTING))


@pytest.mark.parametrize(
    ("names", "flip", "pairs", "noticed"),
    [
        (["Left eye", "Right eye", "nose"], "horizontal", (("Left eye", "Right eye"),), False),
        (["L eye", "R eye", "nose"], "horizontal", (), True),
        (["L eye", "R eye", "nose"], "none", (), False),
    ],
)
def test_keypoints_are_swapped_by_name_and_a_notice_reports_when_none_are(
    tmp_path: Path, names: list[str], flip: str, pairs: tuple[tuple[str, str], ...], noticed: bool
):
    dataset = write_fruits(tmp_path)
    for split in ("train", "val"):
        edit(tmp_path, split, with_keypoints(3, 3))
        edit(tmp_path, split, set_in("categories", 0, keypoints=names))

    planned = plan(dataset, keys_with(INPUT__RANDOM_FLIP=flip, **FITTING))

    assert planned.splits[0].keypoint_flip_map == pairs
    assert any("none change places" in notice for notice in planned.notices) == noticed


def test_keypoints_that_fit_set_their_number_and_which_change_places_in_a_mirrored_image(tmp_path: Path):
    dataset = write_fruits(tmp_path)
    for split in ("train", "val"):
        edit(tmp_path, split, with_keypoints(3, 3))

    planned = plan(dataset, keys_with(MODEL__KEYPOINT_ON=True, TEST__KEYPOINT_OKS_SIGMAS=[0.1, 0.1, 0.1]))

    (adjustment,) = planned.adjustments
    assert (adjustment.setting, adjustment.planned) == ("MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS", 3)
    assert planned.splits[0].keypoint_names == ("left_end", "right_end", "middle")
    assert planned.splits[0].keypoint_flip_map == (("left_end", "right_end"),)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            set_in("annotations", 0, id=2**63), r"id that does not fit 64 bits \(annotation 9", id="annotation"
        ),
        pytest.param(set_in("annotations", 0, id=1e300), r"id that does not fit 64 bits", id="annotation, decimal"),
        pytest.param(
            add_to("images", {"id": 2**64, "file_name": "1.jpg", "width": 40, "height": 30}),
            r"1 of 3 images have an id that does not fit",
            id="image",
        ),
        pytest.param(set_in("categories", 1, name="date"), r"1 categories repeat the name .*\(id 2: date\)", id="name"),
    ],
)
def test_what_would_spoil_an_ap_is_refused_where_it_is_evaluated(
    tmp_path: Path, change: Callable[[Content], object], message: str
):
    dataset = write_fruits(tmp_path)
    for split in ("train", "val"):
        edit(tmp_path, split, change)
    plan(dataset, keys_with(DATASETS__TEST=[]))

    with pytest.raises(DataError, match=rf"dataset\.val\.json=.*{message}"):
        plan(dataset)


def test_the_largest_id_of_64_bits_is_sound(tmp_path: Path):
    dataset = write_fruits(tmp_path)
    edit(tmp_path, "val", set_in("annotations", 0, id=2**63 - 1))

    assert plan(dataset).notices == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            set_in("annotations", 0, image_id="2"),
            r'annotation 1: image_id "2", but that is text and the file has the number 2\)',
            id="text beside numbers",
        ),
        pytest.param(
            lambda content: [image.update(id=str(image["id"])) for image in content["images"]],
            r'annotation 1: image_id 2, but that is a number and the file has the text "2"',
            id="number beside texts",
        ),
        pytest.param(
            set_in("annotations", 0, category_id="2"),
            r'category_id "2", but that is text and the file has the number 2',
            id="category",
        ),
        pytest.param(set_in("annotations", 0, image_id=None), r"annotation 1: image_id null\)", id="null"),
        pytest.param(set_in("annotations", 0, image_id="9" * 5000), r'image_id "999', id="5,000 digits of text"),
    ],
)
def test_ids_of_another_type_are_shown_with_it(tmp_path: Path, change: Callable[[Content], object], message: str):
    dataset = write_fruits(tmp_path)
    edit(tmp_path, "train", change)

    with pytest.raises(DataError, match=message):
        plan(dataset)


@pytest.mark.parametrize(
    "change",
    [
        set_in("categories", 0, id=2**63),
        set_in("categories", 0, name={"en": "date"}),
        set_in("categories", 0, keypoints=5),
        set_in("categories", 0, keypoints=[["left"]]),
    ],
)
def test_a_category_of_the_wrong_types_is_refused(tmp_path: Path, change: Callable[[Content], object]):
    dataset = write_fruits(tmp_path)
    edit(tmp_path, "train", change)

    with pytest.raises(DataError, match=r"1 categories .*categories\[0\]"):
        plan(dataset)


def test_a_class_without_objects_is_a_notice(tmp_path: Path):
    dataset = write_fruits(tmp_path)
    for split in ("train", "val"):
        edit(tmp_path, split, add_to("categories", {"id": 3, "name": "hazel\x1bnut"}))

    train, val = plan(dataset).notices

    assert "1 of 3 classes have no objects (hazel\\x1bnut)" in train
    assert "dataset.val.json" in val


@pytest.mark.parametrize("area", [-1, 1e11])
def test_an_area_that_evaluation_leaves_out_is_refused_where_it_is_evaluated(tmp_path: Path, area: float):
    dataset = write_fruits(tmp_path)
    edit(tmp_path, "train", set_in("annotations", 0, area=area))
    assert plan(dataset).notices == ()

    edit(tmp_path, "val", set_in("annotations", 0, area=area))
    with pytest.raises(DataError, match=r"1 annotations have an `area` below 0 or above 10\^10 \(annotation 1"):
        plan(dataset)


@pytest.mark.parametrize(
    ("area", "message"),
    [(0, "1 annotations have the `area` 0 (annotation 1)"), (8000, "larger than their bbox (annotation 1: 8000, its")],
)
def test_an_area_by_which_sizes_are_measured_wrongly_is_a_notice(tmp_path: Path, area: float, message: str):
    dataset = write_fruits(tmp_path)
    for split in ("train", "val"):
        edit(tmp_path, split, set_in("annotations", 0, area=area))

    (notice,) = plan(dataset).notices

    assert notice.startswith("dataset.val.json=")
    assert message in notice


def test_keypoints_are_not_evaluated_by_an_area_of_0(tmp_path: Path):
    dataset = write_fruits(tmp_path)
    for split in ("train", "val"):
        edit(tmp_path, split, with_keypoints(3, 3))
    edit(tmp_path, "val", set_in("annotations", 0, area=0))

    with pytest.raises(DataError, match=r"1 annotations have the `area` 0 .*keypoints are measured by"):
        plan(dataset, keys_with(**FITTING))


def test_a_file_of_crowds_is_a_notice_with_where_they_come_from(tmp_path: Path):
    dataset = write_fruits(tmp_path)
    for split in ("train", "val"):
        edit(tmp_path, split, set_in("annotations", 0, iscrowd=1))
        edit(tmp_path, split, set_in("annotations", 2, iscrowd=1))

    notices = plan(dataset).notices

    assert sum("2 annotations are crowds (iscrowd: 1) and 1 are objects" in notice for notice in notices) == 2


@pytest.mark.parametrize("change", [in_every_annotation(iscrowd=1), replace("annotations", [])])
def test_a_validation_file_without_objects_is_a_notice_because_no_ap_follows(
    tmp_path: Path, change: Callable[[Content], object]
):
    dataset = write_fruits(tmp_path)
    edit(tmp_path, "val", change)

    notices = plan(dataset).notices

    assert any("dataset.val.json" in notice and "every AP will be NaN" in notice for notice in notices)
    assert not any("every AP" in notice for notice in plan(dataset, keys_with(DATASETS__TEST=[])).notices)
