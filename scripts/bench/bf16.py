"""What mixed precision on the CPU is worth: CPU time per training iteration, against plain detectron2 in float32.

    python scripts/bench/bf16.py [--model COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml] [--rounds 5]

Runs the ways in turn over the same invented batches, one process per way, so that other work on the machine meets all
of them alike. CPU time counts threads that wait for each other too; with `--threads 1` it counts work alone.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

WAYS = {
    "plain detectron2": {},
    "sparse ROIAlign": {"sparse": True},
    "bfloat16": {"precision": "bfloat16"},
    "bfloat16, sparse ROIAlign": {"precision": "bfloat16", "sparse": True},
    "the same, channels last": {"precision": "bfloat16", "sparse": True, "channels_last": True},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--pixels", type=int, default=320)
    parser.add_argument("--way", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.way is not None:
        serve(asked, **json.loads(asked.way))
        return
    processes = {name: start(["--way", json.dumps(way)]) for name, way in WAYS.items()}
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    for number in range(asked.rounds + 1):
        for name, process in processes.items():
            took = step(process, number)
            if number:  # the first gets kernels and memory ready
                seconds[name].append(took)
    report(seconds)
    end(processes)


def start(arguments: list[str], environ: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """This very script with further arguments, which ends in `answer`."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", *sys.argv, *arguments],
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def step(process: subprocess.Popen[str], number: int) -> float:
    """Have it do that iteration; seconds of the clock that it goes by."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{number}\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def end(processes: Mapping[str, subprocess.Popen[str]]) -> None:
    for process in processes.values():
        assert process.stdin is not None
        process.stdin.close()
        process.wait()


def report(seconds: dict[str, list[float]]) -> None:
    plain = statistics.median(seconds["plain detectron2"])
    for name, took in seconds.items():
        median = statistics.median(took)
        spread = f"{min(took):.2f} to {max(took):.2f}"
        print(f"{name:28s} {median:6.2f} s of CPU per iteration ({spread})   {plain / median:4.2f}x")


# One way, in a process of its own


def serve(asked: argparse.Namespace, *, precision: str = "", sparse: bool = False, channels_last: bool = False) -> None:
    import torch

    from launcher.train.bfloat16.sensitive import keep_boxes_in_float32
    from launcher.train.compat.roi_align import use_sparse_roi_align

    torch.set_num_threads(asked.threads)
    if sparse:
        use_sparse_roi_align()
    if precision:
        keep_boxes_in_float32()
    answer(make_trainer(asked, precision, channels_last), time.process_time)


def answer(trainer: Any, clock: Callable[[], float]) -> None:
    """Do an iteration for every number that comes in, and say how long it took."""
    import torch
    from detectron2.utils.events import EventStorage

    print("ready", flush=True)
    with EventStorage(0):
        for line in sys.stdin:
            torch.manual_seed(int(line))
            trainer.iter = int(line)
            began = clock()
            trainer.run_step()
            print(clock() - began, flush=True)


def make_trainer(asked: argparse.Namespace, precision: str, channels_last: bool) -> Any:
    import torch
    from detectron2 import model_zoo
    from detectron2.engine import SimpleTrainer
    from detectron2.modeling import build_model
    from detectron2.solver import build_optimizer

    from launcher.train.steps import Steps

    cfg = model_zoo.get_config(asked.model)
    cfg.MODEL.DEVICE, cfg.SOLVER.BASE_LR = "cpu", 1e-5
    torch.manual_seed(0)
    model = build_model(cfg).train()
    for name, module in model.named_modules():
        if name.endswith("conv3.norm"):  # as trained ones are: without, an untrained network's numbers grow too large
            module.weight.data.fill_(0.1)
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
    batches = [invented_batch(cfg, asked, seed) for seed in range(asked.rounds + 1)]
    optimizer = build_optimizer(cfg, model)
    if not precision:
        return SimpleTrainer(model, batches, optimizer)
    return Steps(model, batches, optimizer, precision=precision, device="cpu")


def invented_batch(cfg: Any, asked: argparse.Namespace, seed: int) -> list[dict[str, Any]]:
    import numpy as np
    import torch
    from detectron2.structures import Boxes, Instances, PolygonMasks

    generator, size, batch = np.random.RandomState(seed), asked.pixels, []
    for _ in range(asked.images):
        corners = generator.uniform(0, size * 0.6, (8, 2))
        boxes = np.concatenate([corners, corners + generator.uniform(size * 0.1, size * 0.4, (8, 2))], axis=1)
        objects = Instances((size, size))
        objects.gt_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32))
        objects.gt_classes = torch.tensor(generator.randint(0, 80, 8))
        if cfg.MODEL.MASK_ON:
            objects.gt_masks = PolygonMasks([[np.array([x0, y0, x1, y0, x1, y1, x0, y1])] for x0, y0, x1, y1 in boxes])
        image = torch.tensor(generator.randint(0, 255, (3, size, size)), dtype=torch.uint8)
        batch.append({"image": image, "instances": objects, "height": size, "width": size})
    return batch


if __name__ == "__main__":
    main()
