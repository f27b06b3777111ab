"""How long a save pauses a training, blocking and in the background. Not a test: run it on an idle machine.

    python scripts/bench/checkpoint.py [SAVES] [FOLDER]

Saves R50-FPN Mask R-CNN with the momentum of SGD, both ways in turn; FOLDER says on which disk. The pause is the time
until training continues: in the background it ends with the copy, which the median shows for a save that found the one
before it written. What the writing then takes from a training beside it is measured with a loop of matrix products.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from detectron2 import model_zoo
from detectron2.modeling import build_model
from detectron2.solver import build_optimizer

from launcher.config.request import CheckpointSettings
from launcher.run.manifest import Milestone
from launcher.run.paths import RunPaths
from launcher.run.resume import damage_of
from launcher.train.checkpoints.checkpoint import SafeCheckpointer
from launcher.train.checkpoints.saver import Saver


def main(arguments: list[str]) -> None:
    num_saves = int(arguments[0]) if arguments else 7
    with tempfile.TemporaryDirectory(dir=arguments[1] if len(arguments) > 1 else None) as folder:
        checkpointers = {name: make_checkpointer(Path(folder, name)) for name in ("blocking", "async")}
        savers = {
            name: Saver(checkpointer, RunPaths(Path(folder, name)), CheckpointSettings(async_=name == "async"))
            for name, checkpointer in checkpointers.items()
        }
        for saver in savers.values():
            saver.warm_up()
        pauses: dict[str, list[float]] = {name: [] for name in savers}
        slower = []
        for number in range(num_saves):
            for name, saver in savers.items():
                quiet = products_per_second() if name == "async" else 0.0
                started = time.perf_counter()
                saver.save(Milestone(iteration=number))
                pauses[name].append(time.perf_counter() - started)
                if name == "async":
                    slower.append(1 - products_per_second() / quiet)
                saver.finish()
        report(pauses, slower, RunPaths(Path(folder, "async")).checkpoint(num_saves - 1))
        for saver in savers.values():
            saver.close()


def make_checkpointer(folder: Path) -> SafeCheckpointer:
    """A model as in training, after the step that gives the optimizer its momentum."""
    cfg = model_zoo.get_config("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml")
    cfg.MODEL.DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
    cfg.MODEL.WEIGHTS = ""
    model = build_model(cfg)
    optimizer = build_optimizer(cfg, model)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    RunPaths(folder).checkpoints.mkdir(parents=True)
    return SafeCheckpointer(model, str(RunPaths(folder).checkpoints), optimizer=optimizer)


def products_per_second(seconds: float = 0.4) -> float:
    """Matrix products in a loop of Python's, slower whenever another thread holds the interpreter or the cores."""
    left, right = torch.ones(32, 32), torch.ones(32, 32)  # one thread, so that waiting for others does not count
    done, end = 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        left @ right
        done += 1
    return done / seconds


def report(pauses: dict[str, list[float]], slower: list[float], checkpoint: Path) -> None:
    started = time.perf_counter()
    problem = damage_of(checkpoint)
    verifying = time.perf_counter() - started
    print(
        f"checkpoint {checkpoint.stat().st_size / 2**20:.0f} MiB, verified in {verifying:.2f} s: {problem or 'valid'}"
    )
    for name, seconds in pauses.items():
        print(f"{name:9} median {statistics.median(seconds):.3f} s, worst {max(seconds):.3f} s of {len(seconds)} saves")
    ratio = statistics.median(pauses["async"]) / statistics.median(pauses["blocking"])
    print(f"the pause in the background is {100 * ratio:.1f} % of a blocking one")
    print(f"work beside the writing is {100 * statistics.median(slower):.0f} % slower (median)")


if __name__ == "__main__":
    main(sys.argv[1:])
