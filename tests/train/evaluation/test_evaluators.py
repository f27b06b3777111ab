from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import register_coco_instances
from detectron2.evaluation import COCOEvaluator
from detectron2.structures import Boxes, Instances
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from launcher.train.evaluation.coco import RESULTS_FILE, SturdyCOCOEvaluator
from launcher.train.evaluation.evaluators import evaluator_for

NAME = "evaluated_by_a_test"


@pytest.fixture
def data(tmp_path: Path) -> Any:
    """One image with an object of each of two classes, whose category numbers are not those of the model."""
    boxes = ([2, 2, 10, 10], [20, 20, 10, 10])
    annotations = [
        {"id": n + 1, "image_id": 1, "category_id": 5 - n, "bbox": box, "area": 100, "iscrowd": 0}
        for n, box in enumerate(boxes)
    ]
    coco = {
        "info": {},
        "images": [{"id": 1, "file_name": "a.png", "height": 40, "width": 40}],
        "categories": [{"id": 4, "name": "four"}, {"id": 5, "name": "five"}],
        "annotations": annotations,
    }
    file = tmp_path / "data.json"
    file.write_text(json.dumps(coco))
    register_coco_instances(NAME, {}, str(file), str(tmp_path))
    DatasetCatalog.get(NAME)
    yield NAME
    DatasetCatalog.remove(NAME)
    MetadataCatalog.remove(NAME)


def results_of(evaluator: COCOEvaluator) -> dict[str, dict[str, float]]:
    found = Instances((40, 40))
    found.pred_boxes = Boxes(torch.tensor([[2.0, 2.0, 12.0, 12.0], [20.0, 20.0, 30.0, 30.0], [0.0, 0.0, 5.0, 5.0]]))
    found.scores = torch.tensor([0.9, 0.8, 0.95])
    found.pred_classes = torch.tensor([1, 0, 1])
    evaluator.reset()
    evaluator.process([{"image_id": 1, "height": 40, "width": 40}], [{"instances": found}])
    return evaluator.evaluate()


def test_results_are_written_as_detectron2_does(data: str, tmp_path: Path):
    theirs = results_of(COCOEvaluator(data, output_dir=str(tmp_path / "theirs")))

    own = results_of(SturdyCOCOEvaluator(data, output_dir=str(tmp_path / "own")))

    assert repr(own) == repr(theirs)  # NaN is not equal to itself
    assert 0 < own["bbox"]["AP"] < 100
    assert (tmp_path / "own" / RESULTS_FILE).read_text() == (tmp_path / "theirs" / RESULTS_FILE).read_text()


def test_results_that_cannot_be_written_end_no_evaluation_and_change_no_number(
    data: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    expected = results_of(COCOEvaluator(data, output_dir=str(tmp_path / "whole")))
    not_a_folder = tmp_path / "file"
    not_a_folder.write_text("")

    results = results_of(SturdyCOCOEvaluator(data, output_dir=str(not_a_folder)))

    assert repr(results) == repr(expected)
    assert "could not be written" in caplog.text


def with_keypoints(file: Path, number: int) -> Any:
    """Two people with that many keypoints, and one, the first, without any."""
    people = [
        {"id": n + 1, "image_id": 1, "category_id": 1, "bbox": [2 + 50 * n, 2, 40, 40], "area": 1600, "iscrowd": 0}
        for n in range(3)
    ]
    for person in people[1:]:
        person["keypoints"] = [part for k in range(number) for part in (person["bbox"][0] + k, 5 + k, 2)]
    images = [{"id": 1, "file_name": "a.png", "height": 100, "width": 200}]
    categories = [{"id": 1, "name": "person", "keypoints": [str(k) for k in range(number)], "skeleton": []}]
    coco = {"info": {}, "images": images, "categories": categories, "annotations": people}
    file.write_text(json.dumps(coco))
    return coco


OFF = (2.0, 5.0)
"""How far the predicted keypoints of the two people are from the true ones, in pixels."""


def keypoint_ap_by_pycocotools(coco: Any, file: Path, number: int, sigmas: list[float]) -> float:
    truth = COCO(str(file))
    for person in truth.dataset["annotations"]:
        person.setdefault("keypoints", [0] * 3 * number)
        person["num_keypoints"] = sum(flag > 0 for flag in person["keypoints"][2::3])
    found = [
        {
            "image_id": 1,
            "category_id": 1,
            "score": 0.9,
            "keypoints": [v + off if k % 3 == 0 else v for k, v in enumerate(person["keypoints"])],
        }
        for person, off in zip(coco["annotations"][1:], OFF, strict=True)
    ]
    evaluation = COCOeval(truth, truth.loadRes(found), "keypoints")
    evaluation.params.kpt_oks_sigmas = np.array(sigmas)
    for step in (evaluation.evaluate, evaluation.accumulate, evaluation.summarize):
        step()
    return 100 * float(evaluation.stats[0])


def keypoint_ap(coco: Any, number: int, sigmas: list[float], folder: Path) -> float:
    cfg = get_cfg()
    cfg.OUTPUT_DIR, cfg.TEST.KEYPOINT_OKS_SIGMAS = str(folder), sigmas
    found = Instances((100, 200))
    people = coco["annotations"][1:]
    found.pred_boxes = Boxes(torch.tensor([[x, y, x + w, y + h] for x, y, w, h in (one["bbox"] for one in people)]))
    found.scores, found.pred_classes = torch.tensor([0.9, 0.9]), torch.tensor([0, 0])
    # detectron2 takes half a pixel off, to have COCO's coordinates.
    true = torch.tensor([one["keypoints"] for one in people]).reshape(2, number, 3) + torch.tensor([0.5, 0.5, 0.0])
    found.pred_keypoints = true + torch.tensor(OFF)[:, None, None] * torch.tensor([1.0, 0.0, 0.0])
    evaluator = evaluator_for(cfg, NAME)
    evaluator.reset()
    evaluator.process([{"image_id": 1, "height": 100, "width": 200}], [{"instances": found}])
    return float(evaluator.evaluate()["keypoints"]["AP"])


@pytest.mark.parametrize(("number", "sigma"), [(4, 0.025), (4, 0.1), (17, 0.025), (17, 0.1)])
def test_keypoints_of_ones_own_are_measured_with_ones_own_sigmas(
    number: int, sigma: float, tmp_path: Path, request: pytest.FixtureRequest
):
    coco = with_keypoints(tmp_path / "data.json", number)
    register_coco_instances(NAME, {}, str(tmp_path / "data.json"), str(tmp_path))
    request.addfinalizer(lambda: (DatasetCatalog.remove(NAME), MetadataCatalog.remove(NAME)))
    DatasetCatalog.get(NAME)
    expected = keypoint_ap_by_pycocotools(coco, tmp_path / "data.json", number, [sigma] * number)

    ap = keypoint_ap(coco, number, [sigma] * number, tmp_path)

    assert ap == pytest.approx(expected)
    assert ap == pytest.approx({0.025: 15.1485, 0.1: 85.1485}[sigma], abs=1e-3)
