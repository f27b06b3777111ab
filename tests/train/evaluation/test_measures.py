from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pycocotools.mask as masks
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from launcher.config.request import EvaluationBackend
from launcher.errors import RequestError
from launcher.train.evaluation import measures
from launcher.train.evaluation.measures import Measured, backend_for, measure

NUM_KEYPOINTS = 5
SIGMAS = [0.03, 0.05, 0.07, 0.09, 0.11]
TASKS = ("bbox", "segm", "keypoints")


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    with contextlib.redirect_stdout(io.StringIO()):
        yield


class Scene:
    """Random images, objects and detections, some of them near an object."""

    def __init__(self, seed: int, *, detections: int = 15, ties: bool = False) -> None:
        self.random = np.random.default_rng(seed)
        self.height, self.width = (int(side) for side in self.random.integers(40, 300, 2))
        self.categories = [int(number) for number in self.random.choice(100, size=4, replace=False) + 1]
        self.ids = [int(number) for number in self.random.choice(1000, size=6, replace=False)]
        self.annotations: list[dict[str, Any]] = []
        for image in self.ids:  # some images have no object
            for _ in range(self.random.integers(0, 9)):
                self.annotations.append(self._annotation(image))
        self.random.shuffle(self.annotations)
        self.results = [
            self._result(image, ties) for image in self.ids for _ in range(self.random.integers(0, detections))
        ]
        self.random.shuffle(self.results)

    @property
    def truth(self) -> dict[str, Any]:
        images = [{"id": image, "height": self.height, "width": self.width, "file_name": ""} for image in self.ids]
        categories = [{"id": number, "name": str(number)} for number in self.categories]
        return {"images": images, "categories": categories, "annotations": self.annotations}

    def _box(self) -> list[float]:
        width, height = self.random.uniform(1, self.width), self.random.uniform(1, self.height)
        left, top = self.random.uniform(0, self.width - width), self.random.uniform(0, self.height - height)
        return [float(side) for side in (left, top, width, height)]

    def _polygon(self, box: list[float]) -> list[float]:
        x, y, width, height = box
        angles = np.linspace(0, 2 * np.pi, 9)[:-1]
        points = np.stack([x + width / 2 * (1 + np.cos(angles)), y + height / 2 * (1 + np.sin(angles))], axis=1)
        return points.reshape(-1).tolist()

    def _rle(self, box: list[float]) -> dict[str, Any]:
        rle = masks.merge(masks.frPyObjects([self._polygon(box)], self.height, self.width))
        return {"size": rle["size"], "counts": rle["counts"].decode()}

    def _annotation(self, image: int) -> dict[str, Any]:
        box, is_crowd = self._box(), int(self.random.random() < 0.15)
        flags = self.random.integers(0, 3, NUM_KEYPOINTS) * int(self.random.random() < 0.9)
        points = [
            (float(self.random.uniform(0, self.width)), float(self.random.uniform(0, self.height))) for _ in flags
        ]
        return {
            "id": len(self.annotations) + 1,
            "image_id": image,
            "category_id": int(self.random.choice(self.categories[1:])),  # one has no object
            "bbox": box,
            "area": float(box[2] * box[3] * self.random.uniform(0.3, 1)),
            "iscrowd": is_crowd,
            "segmentation": self._rle(box) if is_crowd else [self._polygon(box)],
            "keypoints": [
                v for (x, y), f in zip(points, flags, strict=True) for v in ((x, y, int(f)) if f else (0, 0, 0))
            ],
            "num_keypoints": int((flags > 0).sum()),
        }

    def _result(self, image: int, ties: bool) -> dict[str, Any]:
        near = [annotation for annotation in self.annotations if annotation["image_id"] == image]
        box, category = self._box(), int(self.random.choice(self.categories))
        keypoints = [float(value) for value in self.random.uniform(0, self.width, 3 * NUM_KEYPOINTS)]
        if near and self.random.random() < 0.7:
            chosen = near[self.random.integers(len(near))]
            moved = np.array(chosen["bbox"]) + self.random.normal(0, 3, 4) * (self.random.random() < 0.8)
            box, category = np.maximum(moved, 1).astype(np.float32).tolist(), chosen["category_id"]
            keypoints = [value + float(self.random.normal()) for value in chosen["keypoints"]]
        score = float(np.float32(self.random.random()))
        return {
            "image_id": image,
            "category_id": category,
            "bbox": box,
            "score": round(score, 1) if ties else score,
            "segmentation": self._rle(box),
            "keypoints": keypoints,
        }


def truth_of(scene: Scene) -> COCO:
    coco = COCO()
    coco.dataset = copy.deepcopy(scene.truth)
    coco.createIndex()
    return coco


def by_pycocotools_alone(scene: Scene, task: str) -> COCOeval:
    """As detectron2 calls it."""
    kept = [
        {key: value for key, value in result.items() if key != "bbox" or task != "segm"} for result in scene.results
    ]
    truth = truth_of(scene)
    evaluation = COCOeval(truth, truth.loadRes(copy.deepcopy(kept)), task)
    if task == "keypoints":
        evaluation.params.kpt_oks_sigmas = np.array(SIGMAS)
    for step in (evaluation.evaluate, evaluation.accumulate, evaluation.summarize):
        step()
    return evaluation


def measured_by(backend: str, scene: Scene, task: str) -> Measured:
    sigmas = SIGMAS if task == "keypoints" else ()
    return measure(truth_of(scene), scene.results, task, backend=EvaluationBackend(backend), sigmas=sigmas)


def assert_same_bits(measured: Measured, expected: COCOeval) -> None:
    assert np.array_equal(measured.stats, expected.stats)
    for name in ("precision", "recall", "scores"):
        assert np.array_equal(measured.eval[name], expected.eval[name]), name


SCENES: dict[str, Callable[[int], Scene]] = {
    "crowds, empty images and a class without objects": lambda seed: Scene(seed),
    "more detections per image than count": lambda seed: Scene(seed, detections=300),
    "equal scores": lambda seed: Scene(seed, detections=60, ties=True),
}


@pytest.mark.parametrize("backend", ["auto", "hotcoco", "pycocotools"])
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("scene", SCENES)
def test_every_backend_gives_the_numbers_of_pycocotools_to_the_last_bit(scene: str, task: str, backend: str):
    for seed in range(5):
        made = SCENES[scene](seed)

        measured = measured_by(backend, made, task)

        assert_same_bits(measured, by_pycocotools_alone(made, task))
        assert measured.stats[0] > 0


def test_only_the_images_asked_for_are_measured():
    scene = Scene(1)
    fast, slow = (
        measure(truth_of(scene), scene.results, "bbox", backend=EvaluationBackend(backend), image_ids=scene.ids[:2])
        for backend in ("hotcoco", "pycocotools")
    )

    assert np.array_equal(fast.eval["precision"], slow.eval["precision"])
    assert not np.array_equal(fast.stats, measured_by("hotcoco", scene, "bbox").stats)


def renumber(scene: Scene, numbers: list[int]) -> Scene:
    for annotation, number in zip(scene.annotations, numbers, strict=False):
        annotation["id"] = number
    return scene


@pytest.mark.parametrize("numbers", [[0], [7] * 99], ids=["id 0", "an id twice"])
def test_what_hotcoco_counts_otherwise_is_left_to_pycocotools(numbers: list[int]):
    scene = renumber(Scene(3, detections=60), numbers)
    expected = by_pycocotools_alone(scene, "bbox")

    assert backend_for(truth_of(scene), EvaluationBackend.auto) is EvaluationBackend.pycocotools
    assert_same_bits(measured_by("auto", scene, "bbox"), expected)
    assert not np.array_equal(measured_by("hotcoco", scene, "bbox").eval["precision"], expected.eval["precision"])


@pytest.mark.parametrize("backend", ["auto", "hotcoco"])
@pytest.mark.parametrize("task", TASKS)
def test_ids_that_no_float_can_hold_are_told_apart(task: str, backend: str):
    scene = Scene(3, detections=60)
    for one in (*scene.annotations, *scene.results):
        one["image_id"] = 2**53 + 1 + scene.ids.index(one["image_id"])
    scene.ids = [2**53 + 1 + number for number in range(len(scene.ids))]

    assert_same_bits(measured_by(backend, scene, task), by_pycocotools_alone(scene, task))


def test_results_that_hotcoco_refuses_are_measured_by_pycocotools(caplog: pytest.LogCaptureFixture):
    scene = Scene(4)
    scene.results[0]["score"] = float("nan")

    measured = measured_by("auto", scene, "bbox")

    assert_same_bits(measured, by_pycocotools_alone(scene, "bbox"))
    assert "hotcoco does not measure these results" in caplog.text


def test_without_hotcoco_pycocotools_measures_unless_hotcoco_is_insisted_on(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(measures, "hotcoco", None)
    truth = truth_of(Scene(0))

    assert backend_for(truth, EvaluationBackend.auto) is EvaluationBackend.pycocotools
    with pytest.raises(
        RequestError, match=r"evaluation\.backend=hotcoco, but .* not installed.*evaluation\.backend=auto"
    ):
        backend_for(truth, EvaluationBackend.hotcoco)


def test_measuring_changes_neither_results_nor_truth():
    scene = Scene(5)
    before = json.dumps([scene.results, scene.truth])

    for task in TASKS:
        measured_by("auto", scene, task)

    assert json.dumps([scene.results, scene.truth]) == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.timeout(60)
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_process_forked_after_hotcoco_was_used_does_not_hang():
    scene = Scene(6)
    measured = measured_by("hotcoco", scene, "bbox")
    reader, writer = os.pipe()

    child = os.fork()
    if child == 0:
        os.write(writer, measured_by("auto", scene, "bbox").stats.tobytes())
        os._exit(0)

    os.close(writer)
    with open(reader, "rb") as pipe:
        assert pipe.read() == measured.stats.tobytes()
    assert os.waitpid(child, 0)[1] == 0


def test_the_number_of_threads_changes_no_bit():
    code = (
        "from tests.train.evaluation.test_measures import *\n"
        "print(measured_by('hotcoco', Scene(7, detections=300), 'segm').eval['precision'].tobytes().hex())"
    )

    def printed_with(threads: str) -> bytes:
        environment = {**os.environ, "RAYON_NUM_THREADS": threads}
        return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True).stdout

    printed = {printed_with("1"), printed_with("5")}

    assert len(printed) == 1
    assert len(printed.pop()) > 1000
