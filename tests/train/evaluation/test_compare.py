from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from launcher.train.evaluation.compare import _difference, compare, draw_images, resampled_ap
from launcher.train.evaluation.matches import match
from tests.train.evaluation.examples import random_data
from tests.train.evaluation.test_matches import SIGMAS, pycocotools_precision


def resampled(truth: dict[str, Any], detections: list[dict[str, Any]], times: np.ndarray) -> tuple[Any, Any]:
    """A ground truth and detections in which image i is there `times[i]` times, under new ids in the same order."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for image, number in zip(truth["images"], times, strict=True):
        for _ in range(number):
            images.append({**image, "id": len(images) + 1})
            of_image = [one for one in truth["annotations"] if one["image_id"] == image["id"]]
            annotations += [{**one, "image_id": len(images)} for one in of_image]
            found += [{**one, "image_id": len(images)} for one in detections if one["image_id"] == image["id"]]
    for number, one in enumerate(annotations, 1):
        one["id"] = number
    return {**truth, "images": images, "annotations": annotations}, found


@pytest.mark.parametrize("task", ["bbox", "segm", "keypoints"])
@pytest.mark.parametrize("seed", range(4))
def test_ap_of_a_bootstrap_sample_is_what_pycocotools_gives_on_the_drawn_images(task: str, seed: int):
    truth, detections = random_data(seed, ties=False)  # the order of equal scores of one image is nobody's
    drawn = draw_images(len(truth["images"]), 5, seed)
    matches = match(truth, detections, task, sigmas=SIGMAS)

    own = np.stack([resampled_ap(one, drawn) for one in matches.classes], axis=1)

    for of_sample, times in zip(own, drawn, strict=True):
        precision = pycocotools_precision(*resampled(truth, detections, times), task)
        expected = [100 * one.mean() if (one > -1).all() else np.nan for one in np.moveaxis(precision, 2, 0)]
        np.testing.assert_allclose(of_sample, expected, rtol=1e-12)


def better(detections: list[dict[str, Any]], truth: dict[str, Any]) -> list[dict[str, Any]]:
    """As good as they can be for one class, and as they are for the others."""
    right = [
        {key: one[key] for key in ("image_id", "category_id", "bbox")} | {"score": 1.0}
        for one in truth["annotations"]
        if one["category_id"] == 1 and not one["iscrowd"]
    ]
    return [one for one in detections if one["category_id"] != 1] + right


def test_a_difference_is_found_where_there_is_one_and_nowhere_else():
    truth, detections = random_data(5, images=60)

    comparison = compare(truth, detections, better(detections, truth), samples=200)

    improved, *others, empty = comparison.classes
    assert improved.is_one
    assert improved.low is not None
    assert improved.low > 0
    assert improved.b == pytest.approx(100)
    assert not any(one.is_one for one in others)
    assert (empty.objects, empty.a, empty.low, empty.is_one) == (0, None, None, False)
    assert comparison.overall.is_one


def test_the_other_way_round_the_same_interval_has_the_other_sign():
    truth, detections = random_data(5, images=30)
    other = better(detections, truth)

    forth, back = compare(truth, detections, other, samples=100), compare(truth, other, detections, samples=100)

    assert forth.overall.low == pytest.approx(-(back.overall.high or 0))
    assert forth.classes[0].is_one
    assert back.classes[0].is_one


def test_a_model_does_not_differ_from_itself():
    truth, detections = random_data(6)

    comparison = compare(truth, detections, copy.deepcopy(detections), samples=50)

    assert (comparison.overall.low, comparison.overall.high, comparison.overall.is_one) == (0, 0, False)


def test_the_same_seed_gives_the_same_intervals_and_another_one_others():
    truth, detections = random_data(7)
    other = better(detections, truth)

    first, again, another = (compare(truth, detections, other, samples=50, seed=seed) for seed in (1, 1, 2))

    assert first == again
    assert first.overall.low != another.overall.low


def test_samples_draw_as_many_images_as_there_are():
    drawn = draw_images(7, 20, 0)

    assert drawn.shape == (20, 7)
    assert (drawn.sum(axis=1) == 7).all()


@pytest.mark.parametrize(("num_with_it", "has_interval"), [(45, False), (55, True)])
def test_a_class_has_an_interval_where_half_of_the_samples_have_it(num_with_it: int, has_interval: bool):
    of_samples = np.where(np.arange(100) < num_with_it, 1.0, np.nan)

    difference = _difference("rare", 1, (10.0, 11.0), of_samples)

    assert (difference.low is not None) == has_interval


def test_without_any_detection_both_models_have_an_ap_of_0():
    truth, _ = random_data(1)

    comparison = compare(truth, [], [], samples=10)

    assert (comparison.overall.a, comparison.overall.b, comparison.overall.is_one) == (0, 0, False)
