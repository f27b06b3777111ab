"""Data sets of which only the folder is named, as the programs write them that people label with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from launcher.config.layouts import find_files
from launcher.config.request import DatasetKind, DatasetRequest, Found, SplitRequest, ValRequest

# Files of annotations, each with where its image is from the root, and what is found: train and val.
LAYOUTS = {
    "Roboflow": (
        {
            "train/_annotations.coco.json": "train/1.jpg",
            "valid/_annotations.coco.json": "valid/1.jpg",
            "test/_annotations.coco.json": "test/1.jpg",
        },
        ("train/_annotations.coco.json", "train"),
        ("valid/_annotations.coco.json", "valid"),
    ),
    "Roboflow, not divided": (
        {"_annotations.coco.json": "1.jpg"},
        ("_annotations.coco.json", "."),
        None,
    ),
    "CVAT": (
        {
            "annotations/instances_train.json": "images/train/1.jpg",
            "annotations/instances_val.json": "images/val/1.jpg",
        },
        ("annotations/instances_train.json", "images/train"),
        ("annotations/instances_val.json", "images/val"),
    ),
    "CVAT, one folder of images": (
        {
            "annotations/instances_Train.json": "images/1.jpg",
            "annotations/instances_Validation.json": "images/1.jpg",
        },
        ("annotations/instances_Train.json", "images"),
        ("annotations/instances_Validation.json", "images"),
    ),
    "CVAT, one task": (
        {"annotations/instances_default.json": "images/default/1.jpg"},
        ("annotations/instances_default.json", "images/default"),
        None,
    ),
    "CVAT, images of one task beside each other": (
        {"annotations/instances_default.json": "images/1.jpg"},
        ("annotations/instances_default.json", "images"),
        None,
    ),
    "COCO": (
        {
            "annotations/instances_train2017.json": "train2017/1.jpg",
            "annotations/instances_val2017.json": "val2017/1.jpg",
            "annotations/person_keypoints_train2017.json": "train2017/1.jpg",
            "annotations/captions_train2017.json": "train2017/1.jpg",
        },
        ("annotations/instances_train2017.json", "train2017"),
        ("annotations/instances_val2017.json", "val2017"),
    ),
    "COCO's keypoints alone": (
        {"annotations/person_keypoints_train.json": "train/1.jpg"},
        ("annotations/person_keypoints_train.json", "train"),
        None,
    ),
    "FiftyOne": ({"labels.json": "data/1.jpg"}, ("labels.json", "data"), None),
    "FiftyOne, divided": (
        {"train/labels.json": "train/data/1.jpg", "validation/labels.json": "validation/data/1.jpg"},
        ("train/labels.json", "train/data"),
        ("validation/labels.json", "validation/data"),
    ),
    "the demo": (
        {"train.json": "train/1.jpg", "val.json": "val/1.jpg"},
        ("train.json", "train"),
        ("val.json", "val"),
    ),
    "converted": ({"train.json": "1.jpg", "val.json": "1.jpg"}, ("train.json", "."), ("val.json", ".")),
    "no training part": ({"val.json": "1.jpg"}, None, ("val.json", ".")),
}


def write(root: Path, files: dict[str, str]) -> None:
    for file, image in files.items():
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / image).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(json.dumps({"images": [{"id": 1, "file_name": Path(image).name}]}))
        (root / image).touch()


def request(root: Path | str, **settings: object) -> DatasetRequest:
    return DatasetRequest(**{"kind": DatasetKind.coco_json, "root": str(root), **settings})  # type: ignore[arg-type]


def shown(split: SplitRequest, root: Path) -> tuple[str, str] | None:
    if not split.json:
        return None
    return str(Path(split.json).relative_to(root)), str(Path(split.images).relative_to(root))


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_is_found_and_said(tmp_path: Path, name: str):
    files, train, val = LAYOUTS[name]
    write(tmp_path, files)

    dataset, found = find_files(request(tmp_path), {})

    assert found.problems == ()
    assert (shown(dataset.train, tmp_path), shown(dataset.val, tmp_path)) == (train, val)
    (note,) = found.notes
    assert all(part[0] in note for part in (train, val) if part)


def test_what_is_not_used_and_what_is_missing_is_said_with_the_setting_that_helps(tmp_path: Path):
    write(tmp_path, LAYOUTS["Roboflow"][0])
    (_, roboflow) = find_files(request(tmp_path), {})
    write(tmp_path / "one", LAYOUTS["FiftyOne"][0])
    (_, fifty_one) = find_files(request(tmp_path / "one"), {})

    assert "as Roboflow does it: train train/_annotations.coco.json (images in train/)" in roboflow.notes[0]
    assert roboflow.notes[0].endswith("test/_annotations.coco.json is not used")
    assert "as FiftyOne does it: train labels.json (images in data/)" in fifty_one.notes[0]
    assert "dataset.val.fraction=0.2" in fifty_one.notes[0]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, r"no data set in COCO format is found there \(it is empty\).*launcher data convert"),
        ({"notes/a.json": "b.jpg"}, r"is found there \(it has b\.jpg, notes/\)"),
        (
            {"labels.json": "data/1.jpg", "train/_annotations.coco.json": "train/1.jpg"},
            r"more than one data set is there \(.*train/_annotations\.coco\.json, .*labels\.json\).*train\.json=FILE",
        ),
        (
            {
                "annotations/instances_train2014.json": "train2014/1.jpg",
                "annotations/instances_train2017.json": "1.jpg",
            },
            r"not clear which to train on \(.*instances_train2014\.json, .*instances_train2017\.json\)",
        ),
        (
            {"annotations/instances_default.json": "images/1.jpg", "annotations/instances_train.json": "images/1.jpg"},
            r"not clear which to train on",
        ),
        (
            {"annotations/instances_default.json": "images/1.jpg", "annotations/instances_val.json": "images/1.jpg"},
            r"not clear which to train on",
        ),
        ({"test/labels.json": "test/data/1.jpg"}, r"no annotations to train or validate on.*only .*test/labels\.json"),
    ],
)
def test_what_is_not_found_or_not_clear_is_said_with_what_is_there_and_what_to_type(
    tmp_path: Path, files: dict[str, str], said: str
):
    import re

    write(tmp_path, files)

    dataset, found = find_files(request(tmp_path), {})

    (problem,) = found.problems
    assert re.search(rf"^dataset\.root={re.escape(str(tmp_path))}.*{said}", problem)
    assert "dataset.train.json=FILE" in problem
    assert dataset == request(tmp_path)


def test_a_data_set_one_folder_further_down_is_named(tmp_path: Path):
    write(tmp_path / "unpacked data", LAYOUTS["Roboflow"][0])

    _, found = find_files(request(tmp_path), {})

    (problem,) = found.problems
    assert problem.endswith(f"but below it. Type 'dataset.root={tmp_path}/unpacked data'.")


def test_a_folder_that_is_not_there_is_said(tmp_path: Path):
    _, found = find_files(request(tmp_path / "nothing"), {})

    assert "(there is no such folder)" in found.problems[0]


@pytest.mark.parametrize(("root", "environ"), [("datasets", {}), ("/mnt/data", {"DETECTRON2_DATASETS": "/mnt/data"})])
def test_the_place_of_all_data_sets_is_not_searched_for_one(root: str, environ: dict[str, str]):
    assert find_files(request(root), environ) == (request(root), Found())


def test_files_that_are_named_are_used_whatever_lies_in_the_folder(tmp_path: Path):
    write(tmp_path, LAYOUTS["CVAT"][0])
    named = request(tmp_path, train=SplitRequest(json="a.json", images="b"))

    assert find_files(named, {}) == (named, Found())


def test_other_kinds_of_data_are_left_alone(tmp_path: Path):
    write(tmp_path, LAYOUTS["CVAT"][0])

    assert find_files(DatasetRequest(root=str(tmp_path)), {}) == (DatasetRequest(root=str(tmp_path)), Found())


@pytest.mark.parametrize(
    ("first_in_file", "images"),
    [("1.jpg", True), ("2.jpg", False), ("", True)],
    ids=["it is there", "it is elsewhere", "nobody can say"],
)
def test_images_are_beside_their_annotations_unless_they_are_not_there(
    tmp_path: Path, first_in_file: str, images: bool
):
    (tmp_path / "1.jpg").touch()
    file = tmp_path / "a.json"
    file.write_text(json.dumps({"images": [{"file_name": first_in_file}] if first_in_file else []}))

    dataset, _ = find_files(request("datasets", train=SplitRequest(json=str(file))), {})

    assert dataset.train.images == (str(tmp_path) if images else "")


def test_the_name_of_an_image_is_found_behind_any_number_of_annotations(tmp_path: Path):
    file = tmp_path / "a.json"
    annotations = [{"id": number, "segmentation": [[0.5] * 100]} for number in range(10_000)]
    file.write_text(json.dumps({"annotations": annotations, "images": [{"file_name": "k\u00f6ln.jpg"}]}))

    elsewhere, _ = find_files(request("datasets", train=SplitRequest(json=str(file))), {})
    (tmp_path / "k\u00f6ln.jpg").touch()
    there, _ = find_files(request("datasets", train=SplitRequest(json=str(file))), {})

    assert (elsewhere.train.images, there.train.images) == ("", str(tmp_path))


def test_a_fraction_to_validate_with_is_of_the_training_files(tmp_path: Path):
    write(tmp_path, LAYOUTS["FiftyOne"][0])

    dataset, _ = find_files(request(tmp_path, val=ValRequest(fraction=0.2)), {})

    assert (dataset.val.json, dataset.val.images) == (dataset.train.json, dataset.train.images)
    assert dataset.val.fraction == 0.2


def test_a_fraction_of_a_data_set_that_has_a_validation_part_is_refused(tmp_path: Path):
    write(tmp_path, LAYOUTS["Roboflow"][0])

    _, found = find_files(request(tmp_path, val=ValRequest(fraction=0.2)), {})

    assert "Leave dataset.val.fraction out" in found.problems[0]
    assert f"dataset.train.json={tmp_path}/train/_annotations.coco.json" in found.problems[0]
