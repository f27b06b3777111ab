"""Images per second of `launcher predict` beside a loop over `DefaultPredictor`, in turn on the same images.

    python scripts/bench/predict.py [FOLDER] [--model NAME] [--images N] [--size PIXELS] [--rounds N] [--batches 1,4]

Without a FOLDER of images, random ones are made. The weights are random, so it needs no download; what a model finds
among them is limited to a hundred objects. Both ways end with results in COCO's format; neither draws. Not a test: run
it on an idle machine.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.data.detection_utils import read_image
from detectron2.engine import DefaultPredictor
from detectron2.evaluation.coco_evaluation import instances_to_coco_json
from detectron2.model_zoo import get_config_file
from detectron2.modeling import build_model
from PIL import Image

from launcher.train.prediction.batches import BatchPredictor, on_cpu
from launcher.train.prediction.images import load_images
from launcher.train.prediction.inputs import inputs_for
from launcher.train.trainer import Trainer

Way = Callable[[], int]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", nargs="?", default="")
    parser.add_argument("--model", default="COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x")
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--size", type=int, default=800, help="INPUT.MIN_SIZE_TEST")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batches", default="1,4")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = find_or_make(Path(asked.folder or folder), asked.images, make=not asked.folder)
        cfg = configuration(asked.model, asked.size, Path(folder))
        predictor = DefaultPredictor(cfg)
        ways: dict[str, Way] = {"DefaultPredictor": lambda: by_default(predictor, files)}
        for batch in map(int, asked.batches.split(",")):
            ways[f"launcher, batch {batch}"] = lambda batch=batch: by_launcher(predictor, files, batch, asked.workers)
        print(f"{len(files)} images, {asked.model}, {cfg.MODEL.DEVICE}, {torch.get_num_threads()} threads")
        measure(ways, len(files), asked.rounds)


def configuration(model: str, size: int, folder: Path) -> CfgNode:
    """The model with random weights in a file, so that each way loads the same."""
    cfg = get_cfg()
    cfg.merge_from_file(get_config_file(f"{model}.yaml"))
    cfg.INPUT.MIN_SIZE_TEST = size
    cfg.MODEL.DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    torch.save({"model": build_model(cfg).state_dict()}, folder / "weights.pth")
    cfg.MODEL.WEIGHTS = str(folder / "weights.pth")
    return cfg


def find_or_make(folder: Path, number: int, *, make: bool) -> list[str]:
    if make:
        for index in range(number):
            noise = np.random.RandomState(index).randint(0, 256, (60, 80, 3), dtype=np.uint8)
            Image.fromarray(noise).resize((640, 480), Image.Resampling.BICUBIC).save(folder / f"{index}.jpg")
    return [str(file) for file in sorted(folder.glob("*.jpg"))][:number]


def by_default(predictor: DefaultPredictor, files: Sequence[str]) -> int:
    """As people write it."""
    found = [instances_to_coco_json(predictor(read_image(file, "BGR"))["instances"].to("cpu"), 0) for file in files]
    return sum(map(len, found))


def by_launcher(theirs: DefaultPredictor, files: Sequence[str], batch: int, workers: int) -> int:
    """As the worker of `launcher predict` does it, with the very same model."""
    predictor, found = BatchPredictor(theirs.model, inputs_for(Trainer, theirs.cfg)), 0
    for images in load_images(files, predictor.inputs, batch=batch, num_workers=workers, to_draw=False):
        for one in predictor.predict([image.input for image in images if image.input]):
            found += len(instances_to_coco_json(on_cpu(one)["instances"], 0))
    return found


def measure(ways: dict[str, Way], images: int, rounds: int) -> None:
    """All ways in turn, round after round; the first round warms up."""
    wall: dict[str, list[float]] = {name: [] for name in ways}
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            began, used = time.perf_counter(), cpu_seconds()
            found = way()
            if number:
                wall[name].append(time.perf_counter() - began)
                cpu[name].append(cpu_seconds() - used)
            print(f"  round {number}  {name:20} {found} objects", flush=True)
    base = statistics.median(wall["DefaultPredictor"])
    for name in ways:
        seconds = statistics.median(wall[name])
        print(
            f"{name:20} {images / seconds:7.3f} images/s  {base / seconds:5.2f} x  "
            f"CPU {statistics.median(cpu[name]) / images:.2f} s per image"
        )


def cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


if __name__ == "__main__":
    main()
