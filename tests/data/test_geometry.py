"""Polygons and keypoints are checked like boxes: what is no coordinate is refused with its annotation."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launcher.config.keys import Keys
from launcher.data.facts import inspect_dataset
from launcher.data.geometry import Extents, overlap
from launcher.data.plan import DatasetPlan, plan_dataset
from launcher.errors import DataError
from tests.data.examples import KEYS, coco_content, keys_with, request_for, write_fruits

SOUND = [2, 3, 12, 3, 12, 11, 2, 11]
NO_MASKS = keys_with(MODEL__MASK_ON=False)
WITH_KEYPOINTS = keys_with(MODEL__KEYPOINT_ON=True, TEST__KEYPOINT_OKS_SIGMAS=[0.1, 0.1])
VISIBLE = [5, 6, 2, 7, 8, 2]


def plan_with(
    folder: Path, keys: Keys, change: Callable[[dict[str, Any]], object], *, split: str = "train"
) -> DatasetPlan:
    """The plan for a sound data set, one of whose files is changed."""
    dataset = write_fruits(folder)
    for each in ("train", "val"):
        content = coco_content()
        content["categories"][0]["keypoints"] = ["left", "right"]
        for entry in content["annotations"]:
            entry.update(keypoints=list(VISIBLE), num_keypoints=2)
        if each == split:
            change(content)
        (folder / f"{each}.json").write_text(json.dumps(content))
    return plan_dataset(request_for(dataset, keys), inspect_dataset(dataset, keys))


def in_annotation_2(**values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda content: content["annotations"][1].update(values)


def in_all(**values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda content: [entry.update(values) for entry in content["annotations"]]


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize(
    ("polygons", "message"),
    [
        ([[math.nan, *SOUND[1:]]], r"number nan in place of a coordinate"),
        ([[math.inf, *SOUND[1:]]], r"number inf"),
        ([[None, *SOUND[1:]]], r"null None"),
        ([["2", *SOUND[1:]]], r'text "2"'),
        ([[True, *SOUND[1:]]], r"true/false"),
        ([[10**400, *SOUND[1:]]], r"number 1000"),
        ([SOUND, [2, 3, 12, 3, 12, -math.inf]], r"number -inf"),
        ([[[2, 3], [12, 3], [12, 11]]], r"points as pairs such as \[2, 3\].*one flat list"),
        ([[{"x": 2, "y": 3}] * 6], r"object \{'x': 2"),
        ([[2e8, *SOUND[1:]]], r"far beyond any image .*a coordinate of 2e\+08"),
        ([[-2e8, *SOUND[1:]]], r"far beyond any image"),
        ([[500_000, 5_400_000, 500_100, 5_400_000, 500_100, 5_400_100]], r"in map coordinates"),
    ],
)
def test_a_polygon_of_something_else_than_pixels_is_refused_with_its_annotation(
    tmp_path: Path, polygons: list[Any], message: str, split: str
):
    with pytest.raises(DataError, match=message):
        plan_with(tmp_path, KEYS, in_annotation_2(segmentation=polygons), split=split)


def test_one_refused_polygon_is_found_among_many(tmp_path: Path):
    with pytest.raises(
        DataError, match=r"dataset\.val\.json=.*: 1 annotations have polygons .*\(annotation 2: number nan"
    ):
        plan_with(tmp_path, KEYS, in_annotation_2(segmentation=[[math.nan, *SOUND[1:]]]), split="val")


def test_polygons_do_not_matter_where_no_masks_are_learnt(tmp_path: Path):
    assert plan_with(tmp_path, NO_MASKS, in_annotation_2(segmentation=[[math.nan, *SOUND[1:]]])).notices == ()


@pytest.mark.parametrize("short", [[2, 3, 12, 3], [2, 3, 12, 3, 12, 11, 2]])
def test_polygons_that_detectron2_leaves_out_of_an_object_are_a_notice(tmp_path: Path, short: list[float]):
    (notice,) = plan_with(tmp_path, KEYS, in_annotation_2(segmentation=[SOUND, short])).notices

    assert "1 objects have, beside others, polygons of fewer than three points" in notice


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize(
    ("keypoints", "message"),
    [
        ("text", r"no list of numbers \(annotation 2: text"),
        ({"0": 1}, r"no list of numbers \(annotation 2: object"),
        (5, r"no list of numbers \(annotation 2: number 5"),
        (True, r"no list of numbers \(annotation 2: true/false"),
        ([None, 6, 2, 7, 8, 2], r"no list of numbers \(annotation 2: null"),
        ([5, 6, 2, 7, 8, None], r"no list of numbers \(annotation 2: null"),
        (["5", 6, 2, 7, 8, 2], r"no list of numbers \(annotation 2: text"),
        ([[5, 6, 2], [7, 8, 2]], r"no list of numbers \(annotation 2: list"),
        ([5, 6, 2, 7], r"not three numbers each.*annotation 2: 4 numbers"),
        ([math.nan, 6, 2, 7, 8, 2], r"something else than finite numbers \(annotation 2"),
        ([5, 1e300, 2, 7, 8, 2], r"something else than finite numbers \(annotation 2"),
    ],
)
def test_keypoints_that_are_none_are_refused_with_their_annotation(
    tmp_path: Path, keypoints: Any, message: str, split: str
):
    with pytest.raises(DataError, match=message):
        plan_with(tmp_path, WITH_KEYPOINTS, in_annotation_2(keypoints=keypoints), split=split)


@pytest.mark.parametrize("keypoints", [[None, 6, 2], "text", 5])
def test_keypoints_at_which_detectron2_stops_are_refused_by_every_model(tmp_path: Path, keypoints: Any):
    with pytest.raises(DataError, match="no list of numbers"):
        plan_with(tmp_path, KEYS, in_annotation_2(keypoints=keypoints))


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (in_all(keypoints=[0, 0, 0, 0, 0, 0], num_keypoints=0), r"no object has a visible keypoint"),
        (in_all(keypoints=[0.1, 0.2, 2, 0.4, 0.5, 2]), r"3 of 3 objects .*keypoints.*fractions of the image size"),
        (in_all(keypoints=[500, 600, 2, 70, 80, 2]), r"3 of 3 objects have visible keypoints beyond their image"),
        (in_all(keypoints=[30, 25, 2, 35, 20, 2]), r"3 of 3 objects have most .* outside of their own bbox"),
        (in_all(num_keypoints=0), r"3 of 3 objects have a `num_keypoints` that is not the number"),
    ],
)
def test_keypoints_that_cannot_be_meant_are_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str, split: str
):
    with pytest.raises(DataError, match=rf"dataset\.{split}\.json=.*{message}"):
        plan_with(tmp_path, WITH_KEYPOINTS, change, split=split)


def test_single_keypoints_outside_of_their_box_are_sound(tmp_path: Path):
    half_outside = in_all(keypoints=[30, 25, 2, 7, 8, 2])

    assert plan_with(tmp_path, WITH_KEYPOINTS, half_outside).notices == ()


def test_a_strange_visibility_is_a_notice(tmp_path: Path):
    (notice,) = plan_with(tmp_path, WITH_KEYPOINTS, in_annotation_2(keypoints=[5, 6, 0.9, 7, 8, 2])).notices

    assert "1 annotations have a visibility that is not 0, 1 or 2 (annotation 2: 0.9)" in notice


def test_an_object_none_of_whose_keypoints_can_be_seen_is_sound_beside_others(tmp_path: Path):
    hidden = in_annotation_2(keypoints=[0, 0, 0, 0, 0, 0], num_keypoints=0)

    assert plan_with(tmp_path, WITH_KEYPOINTS, hidden).notices == ()


@pytest.mark.parametrize(
    ("other", "value"),
    [
        (Extents(left=0, top=0, right=10, bottom=10), 1.0),
        (Extents(left=5, top=0, right=15, bottom=10), 50 / 150),
        (Extents(left=10, top=0, right=20, bottom=10), 0.0),
        (Extents(left=3, top=3, right=3, bottom=9), 0.0),
    ],
)
def test_overlap_is_intersection_over_union(other: Extents, value: float):
    assert overlap(Extents(left=0, top=0, right=10, bottom=10), other) == pytest.approx(value)
