"""How long COCO's measures take: detectron2's COCOEvaluator with pycocotools against the launcher's. Not a test.

    python scripts/bench/evaluation.py [IMAGES] [ROUNDS] [FOLDER]

Makes IMAGES (5000) images with seven objects and a hundred detections each, boxes and masks. Each side is a process of
its own that loads the annotations and has the results in memory, as after the last image; both in turn, ROUNDS (1)
times. The CPU time is that of the process: on a machine that others use too, it says more than the clock. Where a
number differs in a bit, this ends with an error.
"""

from __future__ import annotations

import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as masks
from detectron2.data import DatasetCatalog
from detectron2.data.datasets import register_coco_instances
from detectron2.evaluation import COCOEvaluator
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from launcher.config.request import EvaluationBackend
from launcher.train.evaluation.coco import SturdyCOCOEvaluator
from launcher.train.evaluation.measures import measure

NAME = "bench_of_evaluation"
HEIGHT, WIDTH, NUM_CLASSES, NUM_OBJECTS, NUM_DETECTIONS = 480, 640, 80, 7, 100
SIDES = ("pycocotools", "hotcoco")
WHAT = {
    "measure": "measure alone",
    "evaluator": "whole evaluator, its files included",
}


def main(arguments: list[str]) -> None:
    num_images, rounds = int(arguments[0]) if arguments else 5000, int(arguments[1]) if len(arguments) > 1 else 1
    with tempfile.TemporaryDirectory(dir=arguments[2] if len(arguments) > 2 else None) as name:
        folder = Path(name)
        make_data(folder, num_images)
        for what in WHAT:
            for task in ("bbox", "segm"):
                compare(folder, what, task, rounds)


def compare(folder: Path, what: str, task: str, rounds: int) -> None:
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for _ in range(rounds):
        for side in SIDES:
            command = [sys.executable, "-W", "ignore", __file__, "--side", side, what, task, str(folder)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            runs[side].append(json.loads(done.stdout.splitlines()[-1]))
    if len({run["numbers"] for of_side in runs.values() for run in of_side}) > 1:
        raise SystemExit(f"{what} {task}: the numbers differ")
    seconds = {
        clock: [statistics.median(run[clock] for run in runs[side]) for side in SIDES] for clock in ("cpu", "wall")
    }
    times = (f"{clock} {slow:.2f} s and {fast:.2f} s = {slow / fast:.1f}x" for clock, (slow, fast) in seconds.items())
    print(f"{task}, {WHAT[what]}: {'; '.join(times)}; same bits", flush=True)


def one_side(side: str, what: str, task: str, folder: Path) -> None:
    """In a process of its own: prints times and a fingerprint of all numbers."""
    results = json.loads((folder / "results.json").read_text())
    if task == "bbox":  # of a model without masks
        for result in results:
            del result["segmentation"]
    begun = time.process_time(), time.perf_counter()
    numbers = BY[what](side, task, folder, results)
    cpu, wall = time.process_time() - begun[0], time.perf_counter() - begun[1]
    print(json.dumps({"cpu": cpu, "wall": wall, "numbers": numbers}))


def measured_alone(side: str, task: str, folder: Path, results: list[dict[str, Any]]) -> str:
    """Every element of precision, recall and scores, and the twelve numbers of them."""
    truth = COCO(str(folder / "truth.json"))
    if side == "hotcoco":
        measured: Any = measure(truth, results, task, backend=EvaluationBackend.hotcoco)
    else:
        if task == "segm":
            for result in results:
                del result["bbox"]
        measured = COCOeval(truth, truth.loadRes(results), task)
        for step in (measured.evaluate, measured.accumulate, measured.summarize):
            step()
    return fingerprint(measured.stats, *(measured.eval[name] for name in ("precision", "recall", "scores")))


def fingerprint(*arrays: np.ndarray) -> str:
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()


def measured_by_evaluator(side: str, task: str, folder: Path, results: list[dict[str, Any]]) -> str:
    """What a training writes: AP, AP50, … and the AP of every class."""
    register_coco_instances(NAME, {}, str(folder / "truth.json"), str(folder))
    DatasetCatalog.get(NAME)
    options = {"tasks": (task,), "output_dir": str(folder / side), "distributed": False}
    evaluator = SturdyCOCOEvaluator(NAME, **options) if side == "hotcoco" else COCOEvaluator(NAME, **options)
    evaluator.reset()
    if side == "pycocotools":  # its evaluator gives detections the numbers of their categories at the end
        for result in results:
            result["category_id"] -= 1
    for first in range(0, len(results), NUM_DETECTIONS):
        of_image = results[first : first + NUM_DETECTIONS]
        evaluator._predictions.append({"image_id": of_image[0]["image_id"], "instances": of_image})
    return json.dumps(evaluator.evaluate())


BY = {"measure": measured_alone, "evaluator": measured_by_evaluator}


def make_data(folder: Path, num_images: int) -> None:
    random = np.random.default_rng(0)
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image in range(1, num_images + 1):
        objects = [(random_box(random), int(random.integers(1, NUM_CLASSES + 1))) for _ in range(NUM_OBJECTS)]
        for box, category in objects:
            area = float(masks.area(mask_of(box)))
            common = {"image_id": image, "category_id": category, "bbox": box, "area": area, "iscrowd": 0}
            annotations.append({"id": len(annotations) + 1, "segmentation": [outline_of(box)], **common})
        for number in range(NUM_DETECTIONS):
            box, category = objects[number % NUM_OBJECTS] if number < NUM_DETECTIONS // 3 else (random_box(random), 0)
            results.append(detection(random, image, box, category))
    images = [{"id": n, "height": HEIGHT, "width": WIDTH, "file_name": f"{n}.jpg"} for n in range(1, num_images + 1)]
    categories = [{"id": number, "name": f"class {number}"} for number in range(1, NUM_CLASSES + 1)]
    truth = {"info": {}, "images": images, "categories": categories, "annotations": annotations}
    (folder / "truth.json").write_text(json.dumps(truth))
    (folder / "results.json").write_text(json.dumps(results))


def detection(random: np.random.Generator, image: int, near: list[float], category: int) -> dict[str, Any]:
    moved = np.array(near) + random.normal(0, 0.1, 4) * max(near[2:])
    box = np.maximum(moved, [0, 0, 2, 2]).astype(np.float32).tolist()
    rle = mask_of(box)
    return {
        "image_id": image,
        "category_id": category or int(random.integers(1, NUM_CLASSES + 1)),
        "bbox": box,
        "score": float(np.float32(random.random())),
        "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
    }


def random_box(random: np.random.Generator) -> list[float]:
    width, height = np.exp(random.uniform(np.log(8), np.log(300), 2))
    left, top = random.uniform(0, WIDTH - width), random.uniform(0, HEIGHT - height)
    return [round(float(side), 2) for side in (left, top, width, height)]


def outline_of(box: list[float]) -> list[float]:
    x, y, width, height = box
    angles = np.linspace(0, 2 * np.pi, 17)[:-1]
    points = np.stack([x + width / 2 * (1 + np.cos(angles)), y + height / 2 * (1 + np.sin(angles))], axis=1)
    return points.round(2).reshape(-1).tolist()


def mask_of(box: list[float]) -> Any:
    return masks.merge(masks.frPyObjects([outline_of(box)], HEIGHT, WIDTH))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--side"]:
        one_side(sys.argv[2], sys.argv[3], sys.argv[4], Path(sys.argv[5]))
    else:
        main(sys.argv[1:])
