from __future__ import annotations

import contextlib
import copy
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from launcher.train.evaluation.matches import Matches, match, tasks_in
from launcher.train.evaluation.precision import mean_average_precision, precision_at_recalls
from tests.train.evaluation.examples import NUM_KEYPOINTS, random_data

SIGMAS = [0.02, 0.03, 0.05, 0.08, 0.1]


def pycocotools_precision(truth: dict[str, Any], detections: list[dict[str, Any]], task: str) -> np.ndarray:
    """(thresholds, recalls, classes) for objects of all sizes, as detectron2 asks for it."""
    coco = COCO()
    coco.dataset = copy.deepcopy(truth)
    results = copy.deepcopy(detections)
    if task == "segm":
        for one in results:
            del one["bbox"]
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), task)
        if task == "keypoints":
            evaluation.params.kpt_oks_sigmas = np.array(SIGMAS)
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval["precision"][:, :, :, 0, -1]


def own_precision(matches: Matches) -> np.ndarray:
    columns = [precision_at_recalls(one) for one in matches.classes]
    return np.stack([np.full((10, 101), -1.0) if one is None else one for one in columns], axis=2)


@pytest.mark.parametrize("task", ["bbox", "segm", "keypoints"])
@pytest.mark.parametrize("seed", range(12))
def test_precision_is_that_of_pycocotools_to_the_last_bit(task: str, seed: int):
    truth, detections = random_data(seed)

    matches = match(truth, detections, task, sigmas=SIGMAS)

    assert own_precision(matches).tobytes() == pycocotools_precision(truth, detections, task).tobytes()


def test_an_annotation_with_the_id_0_counts_as_pycocotools_counts_it():
    truth, detections = random_data(3)
    first = truth["annotations"][0]
    first.update(id=0, iscrowd=0)
    detections.append(
        {**detections[0], **{key: first[key] for key in ("image_id", "category_id", "bbox")}, "score": 1.0}
    )

    matches = match(truth, detections, "bbox")

    assert own_precision(matches).tobytes() == pycocotools_precision(truth, detections, "bbox").tobytes()


def test_of_objects_that_are_overlapped_alike_the_last_one_is_taken_as_pycocotools_does():
    truth, _ = random_data(0, images=1, classes=1)
    between = {"image_id": 1, "category_id": 1, "score": 0.9, "bbox": [2.0, 0.0, 10.0, 10.0]}
    first = {**between, "score": 0.8, "bbox": [0.0, 0.0, 10.0, 10.0]}
    places = ((1, 0.0), (2, 4.0))
    objects = [{**between, "id": number, "bbox": [x, 0.0, 10.0, 10.0], "area": 100.0} for number, x in places]
    truth["annotations"] = [{**one, "iscrowd": 0} for one in objects]

    matches = match(truth, [between, first], "bbox")

    assert matches.classes[0].found[0].tolist() == [True, True]
    assert own_precision(matches).tobytes() == pycocotools_precision(truth, [between, first], "bbox").tobytes()


def test_more_detections_than_count_are_cut_off_as_pycocotools_does():
    truth, detections = random_data(4, images=2, classes=1)
    rng = np.random.default_rng(0)
    many = [{**detections[0], "score": float(score)} for score in rng.random(150)] + detections

    matches = match(truth, many, "bbox")

    assert own_precision(matches).tobytes() == pycocotools_precision(truth, many, "bbox").tobytes()


def test_the_real_photographs_count_as_with_pycocotools():
    file = Path(__file__).parents[4] / "shared" / "data" / "fruits_nuts" / "val.json"
    if not file.exists():
        pytest.skip(f"{file} is not there")
    truth = json.loads(file.read_text())
    rng = np.random.default_rng(0)
    coco = COCO()
    coco.dataset = truth
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    detections = []
    for one in truth["annotations"]:
        rle = coco.annToRLE(one)
        rle["counts"] = rle["counts"].decode()
        box = (np.array(one["bbox"]) + rng.normal(0, 8, 4)).tolist()
        score = float(rng.random())
        base = {"image_id": one["image_id"], "category_id": int(rng.integers(1, 4)), "bbox": box, "score": score}
        detections.append({**base, "segmentation": rle})

    for task in ("bbox", "segm"):
        matches = match(truth, detections, task)
        assert own_precision(matches).tobytes() == pycocotools_precision(truth, detections, task).tobytes()


def test_neither_the_ground_truth_nor_the_detections_are_changed():
    truth, detections = random_data(1)
    before = copy.deepcopy((truth, detections))

    for task in ("bbox", "segm", "keypoints"):
        match(truth, detections, task, sigmas=SIGMAS)

    assert (truth, detections) == before


def test_without_detections_everything_is_missed_and_a_class_without_objects_has_no_ap():
    truth, _ = random_data(1)

    matches = match(truth, [], "bbox")

    assert mean_average_precision(matches) == 0
    assert matches.classes[-1].num_objects == 0
    assert precision_at_recalls(matches.classes[-1]) is None


def test_objects_without_keypoints_among_others_do_not_count():
    truth, detections = random_data(2)
    before = match(truth, detections, "keypoints", sigmas=SIGMAS)
    counted = next(one for one in truth["annotations"] if one["num_keypoints"] and not one["iscrowd"])
    del counted["keypoints"], counted["num_keypoints"]

    after = match(truth, detections, "keypoints", sigmas=SIGMAS)

    assert sum(one.num_objects for one in after.classes) == sum(one.num_objects for one in before.classes) - 1
    assert len(SIGMAS) == NUM_KEYPOINTS


def test_tasks_are_known_by_what_detections_have():
    _, detections = random_data(1)
    boxes = [{key: one[key] for key in ("image_id", "category_id", "bbox", "score")} for one in detections]

    assert tasks_in(detections) == ["bbox", "segm", "keypoints"]
    assert tasks_in(boxes) == ["bbox"]
    assert tasks_in([]) == ["bbox"]
