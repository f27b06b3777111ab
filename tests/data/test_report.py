"""A check of data finds what is wrong, by its code, and nothing in data that is sound."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.config.request import DatasetKind, DatasetRequest, SplitRequest, ValRequest
from launcher.data.finding import Finding, Severity
from launcher.data.report import DataReport
from tests.data.defects import DEFECTS, HINTED, asked_for, check, write_clean

FRUITS = Path(__file__).parents[2].parent / "shared" / "data" / "fruits_nuts"


def alarms(report: DataReport) -> list[Finding]:
    return [finding for finding in report.findings if finding.severity is not Severity.hint]


def test_clean_data_raises_no_alarm(tmp_path: Path):
    report = check(asked_for(write_clean(tmp_path)))

    assert report.findings == ()
    assert not report.is_refused
    assert [(file.data_set, file.num_images, file.num_objects, file.num_opened) for file in report.files] == [
        ("train", 8, 32, 8),
        ("val", 5, 20, 5),
    ]


@pytest.mark.parametrize("name", DEFECTS)
def test_a_seeded_defect_is_found_by_its_code(name: str, tmp_path: Path):
    code, spoil = DEFECTS[name]
    dataset = write_clean(tmp_path)
    spoil(tmp_path)

    report = check(asked_for(dataset))

    assert code in {finding.code for finding in alarms(report)}


@pytest.mark.parametrize("name", HINTED)
def test_what_may_be_meant_is_a_hint_and_no_alarm(name: str, tmp_path: Path):
    code, spoil = HINTED[name]
    dataset = write_clean(tmp_path)
    spoil(tmp_path)

    report = check(asked_for(dataset))

    assert [finding.code for finding in report.findings] == [code]
    assert alarms(report) == []


def test_the_table_of_defects_has_at_least_thirty_kinds():
    assert len({defect.code for defect in DEFECTS.values()}) >= 30


def test_the_demo_raises_no_alarm(small_demo: Path):
    assert alarms(check(asked_for(_files(small_demo, "train", "val")))) == []


@pytest.mark.skipif(not FRUITS.is_dir(), reason="needs the photographs of ../shared/data/fruits_nuts")
def test_real_photographs_raise_no_alarm():
    report = check(asked_for(_files(FRUITS, "images", "images")))

    assert report.findings == ()
    assert next((one.name, one.objects, one.images) for one in report.files[0].classes) == ("date", 50, 12)


def _files(folder: Path, train: str, val: str) -> DatasetRequest:
    return DatasetRequest(
        kind=DatasetKind.coco_json,
        name="fruits",
        root=str(folder),
        train=SplitRequest(json=str(folder / "train.json"), images=str(folder / train)),
        val=ValRequest(json=str(folder / "val.json"), images=str(folder / val)),
    )


def test_more_unusable_images_than_a_training_replaces_stop_it(tmp_path: Path):
    dataset = write_clean(tmp_path)
    for name in ("2.png", "3.png"):
        (tmp_path / "train" / name).write_text("no image")

    tolerated = check(asked_for(dataset))
    refused = check(asked_for(replace(dataset, max_bad=1)))

    assert [finding.code for finding in tolerated.findings] == ["image.damaged"]
    assert not tolerated.is_refused
    assert refused.is_refused
    assert "dataset.max_bad=2" in refused.findings[0].fix


def test_without_a_model_what_only_a_mask_model_stops_at_is_a_warning(tmp_path: Path):
    dataset = write_clean(tmp_path)
    DEFECTS["object without a mask"].spoil(tmp_path)

    boxes, masks = check(asked_for(dataset)), check(asked_for(dataset, MODEL__MASK_ON=True, MODEL__WEIGHTS="w.pkl"))

    assert [(one.code, one.severity) for one in boxes.findings] == [("mask.missing", Severity.warning)]
    assert ("mask.missing", Severity.error) in [(one.code, one.severity) for one in masks.findings]
    assert (boxes.is_refused, masks.is_refused) == (False, True)


def test_anchors_are_compared_where_a_model_was_chosen(tmp_path: Path):
    dataset = write_clean(tmp_path)
    keys = {"MODEL__WEIGHTS": "w.pkl", "INPUT__MIN_SIZE_TRAIN": [72], "INPUT__MAX_SIZE_TRAIN": 96}

    fitting = check(asked_for(dataset, **keys, MODEL__ANCHOR_GENERATOR__SIZES=[[16], [32]]))
    unfit = check(asked_for(dataset, **keys, MODEL__ANCHOR_GENERATOR__SIZES=[[256], [512]]))
    without_model = check(asked_for(dataset))

    assert fitting.findings == ()
    assert {(one.code, one.severity) for one in unfit.findings} == {("box.anchors", Severity.warning)}
    assert "MODEL.ANCHOR_GENERATOR.SIZES=[[2" in unfit.findings[0].fix
    assert without_model.findings == ()
    assert without_model.files[0].sizes is not None
    assert without_model.files[0].sizes.in_model is None


def test_the_sizes_that_are_suggested_fit(tmp_path: Path):
    dataset = write_clean(tmp_path)
    keys = {"MODEL__WEIGHTS": "w.pkl", "INPUT__MIN_SIZE_TRAIN": [72], "INPUT__MAX_SIZE_TRAIN": 96}
    unfit = check(asked_for(dataset, **keys, MODEL__ANCHOR_GENERATOR__SIZES=[[256], [512]]))
    suggested = json.loads(unfit.findings[0].fix.partition("SIZES=")[2])

    assert check(asked_for(dataset, **keys, MODEL__ANCHOR_GENERATOR__SIZES=suggested)).findings == ()
