from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from launcher.config.values import read_json
from launcher.run.evaluation import EvaluationSummary
from launcher.train.evaluation.coco import RESULTS_FILE
from launcher.train.evaluation.matches import match
from launcher.train.evaluation.precision import mean_average_precision
from launcher.train.evaluation.report import Measured, read_measured, write_report
from tests.train.evaluation.examples import SIZE, random_data

NAME = "reported"


@pytest.fixture
def measured(tmp_path: Path) -> Iterator[Measured]:
    """A registered data set of real files, and detections on it in the evaluation's folder."""
    truth, detections = random_data(11)
    for image in truth["images"]:
        image["file_name"] = f"{image['id']}.png"
        Image.fromarray(np.full((SIZE, SIZE, 3), 90, dtype=np.uint8)).save(tmp_path / image["file_name"])
    detections = [{key: one[key] for key in ("image_id", "category_id", "bbox", "score")} for one in detections]
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    (tmp_path / RESULTS_FILE).write_text(json.dumps(detections))
    records = [{"image_id": one["id"], "file_name": str(tmp_path / one["file_name"])} for one in truth["images"]]
    DatasetCatalog.register(NAME, lambda: records)
    MetadataCatalog.get(NAME).set(json_file=str(tmp_path / "truth.json"))
    yield Measured(ground_truth=truth, detections=detections)
    DatasetCatalog.remove(NAME)
    MetadataCatalog.remove(NAME)


def results_of(measured: Measured, **more: Any) -> dict[str, Any]:
    ap = mean_average_precision(match(measured.ground_truth, measured.detections, "bbox"))
    return {"bbox": {"AP": ap, "APs": float("nan"), **more}}


def test_a_report_has_the_evaluators_numbers_and_what_follows_from_the_detections(measured: Measured, tmp_path: Path):
    results = results_of(measured, **{"AP-class 1": 12.345})

    summary = write_report(NAME, results, tmp_path, measured=read_measured(NAME, tmp_path), iteration=9)

    assert read_json(tmp_path / "summary.json", EvaluationSummary) == summary
    assert (summary.version, summary.dataset, summary.iteration) == (1, NAME, 9)
    assert summary.counts is not None
    assert summary.counts.images == 12
    assert summary.counts.objects + summary.counts.crowds == len(measured.ground_truth["annotations"])
    bbox = summary.tasks["bbox"]
    assert bbox.metrics == {"AP": results["bbox"]["AP"], "APs": None}
    assert [one.name for one in bbox.classes] == [f"class {number}" for number in range(5)]
    assert bbox.classes[1].metrics["AP"] == 12.345  # the evaluator's own
    assert (bbox.classes[4].objects, bbox.classes[4].metrics["AP"], bbox.classes[4].best_f1) == (0, None, None)


def test_summary_json_is_plain_json_without_nan(measured: Measured, tmp_path: Path):
    write_report(NAME, results_of(measured), tmp_path, measured=measured)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    assert json.loads((tmp_path / "summary.json").read_text(), parse_constant=refuse)["tasks"]["bbox"]


def test_every_object_and_every_detection_above_the_threshold_is_somewhere_in_the_confusion_matrix(
    measured: Measured, tmp_path: Path
):
    summary = write_report(NAME, results_of(measured), tmp_path, measured=measured)

    assert summary.confusion is not None
    assert summary.counts is not None
    pairs = summary.confusion.pairs
    assert sum(number for true, _, number in pairs if true) == summary.counts.objects
    assert summary.confusion.score == summary.tasks["bbox"].best_f1.score  # type: ignore[union-attr]
    shown = sum(one["score"] >= summary.confusion.score for one in measured.detections)
    in_crowds = shown - sum(number for _, predicted, number in pairs if predicted)
    assert 0 <= in_crowds < shown / 2


def test_charts_and_the_worst_errors_are_written_beside_the_summary(measured: Measured, tmp_path: Path):
    write_report(NAME, results_of(measured), tmp_path, measured=measured)

    for name in ("precision_recall_bbox.png", "confusion.png", "errors.png"):
        with Image.open(tmp_path / name) as image:
            assert image.width > 300


def test_without_images_only_the_summary_is_written(measured: Measured, tmp_path: Path):
    folder = tmp_path / "only"

    write_report(NAME, results_of(measured), folder, measured=measured, draws=False)

    assert [file.name for file in folder.iterdir()] == ["summary.json"]


def test_detections_of_another_evaluation_are_not_taken_for_this_ones(
    measured: Measured, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    summary = write_report(NAME, {"bbox": {"AP": 77.0}}, tmp_path, measured=measured)

    assert summary.counts is None
    assert summary.confusion is None
    assert summary.tasks["bbox"].metrics == {"AP": 77.0}
    assert "they are of another evaluation" in caplog.text


def test_results_of_any_evaluator_are_summarized(tmp_path: Path):
    results = {
        "sem_seg": {"mIoU": 30.0, "IoU-sky": 40.0, "ACC-sky": 50.0, "IoU-sea": float("nan")},
        "mine": {"quality": np.float32(0.5), "name": "no number"},
        "note": "no mapping",
    }

    summary = write_report("own", results, tmp_path, measured=None)

    assert summary.tasks["sem_seg"].metrics == {"mIoU": 30.0}
    assert [(one.name, one.metrics) for one in summary.tasks["sem_seg"].classes] == [
        ("sky", {"IoU": 40.0, "ACC": 50.0}),
        ("sea", {"IoU": None}),
    ]
    assert summary.tasks["mine"].metrics == {"quality": 0.5}
    assert list(summary.tasks) == ["sem_seg", "mine"]


def test_nothing_detected_is_a_report_too(measured: Measured, tmp_path: Path):
    nothing = Measured(ground_truth=measured.ground_truth, detections=[])

    summary = write_report(NAME, {"bbox": {"AP": float("nan")}}, tmp_path, measured=nothing)

    assert summary.counts is not None
    assert summary.counts.detections == 0
    assert summary.tasks["bbox"].best_f1 is None
    assert summary.confusion is not None
    assert all(predicted == "" for _, predicted, _ in summary.confusion.pairs)


def test_a_folder_that_takes_no_file_and_images_that_are_gone_are_reported_and_end_nothing(
    measured: Measured, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    for file in tmp_path.glob("*.png"):
        file.unlink()
    (tmp_path / "file").write_text("")

    with caplog.at_level(logging.WARNING):
        summary = write_report(NAME, results_of(measured), tmp_path / "file" / "folder", measured=measured)

    assert summary.tasks["bbox"].classes
    assert "summary.json could not be written" in caplog.text


def test_odd_names_of_classes_can_be_drawn(measured: Measured, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    for category, name in zip(
        measured.ground_truth["categories"], ["$\\frac{", "_x", "日本", "", "n" * 300], strict=True
    ):
        category["name"] = name

    write_report(NAME, results_of(measured), tmp_path, measured=measured)

    assert "could not be drawn" not in caplog.text
    assert (tmp_path / "confusion.png").exists()


@pytest.mark.parametrize("change", ["no file", "no annotations", "no ground truth"])
def test_what_was_not_measured_as_coco_does_has_no_detections_to_report(
    measured: Measured, tmp_path: Path, change: str
):
    if change == "no file":
        (tmp_path / RESULTS_FILE).unlink()
    elif change == "no annotations":
        (tmp_path / "truth.json").write_text(json.dumps({**measured.ground_truth, "annotations": []}))
    else:
        MetadataCatalog.remove(NAME)

    assert read_measured(NAME, tmp_path) is None
