"""Real trainings of the tiny model on real GPUs."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launcher.device.diagnosis import UsableGpu
from launcher.errors import ExitCode
from launcher.run.paths import RunPaths
from tests.exact import outcome_in
from tests.gpu.conftest import BFLOAT16_SINCE

pytestmark = [pytest.mark.gpu, pytest.mark.slow, pytest.mark.timeout(900)]
Train = Callable[..., RunPaths]
Notes = Callable[[str], list[dict[str, Any]]]


def plan_of(run: RunPaths, attempt: int = 1) -> dict[str, Any]:
    return json.loads(run.attempt(attempt).plan.read_text())


def outcome_of(run: RunPaths, attempt: int = 1) -> dict[str, Any]:
    return outcome_in(run.attempt(attempt))


def losses_of(run: RunPaths) -> list[float]:
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    return [line["total_loss"] for line in lines if "total_loss" in line]


def parts_of(checkpoint: Path) -> set[str]:
    """Every name in a checkpoint, at any depth; read on the CPU."""
    import torch

    def names(node: Any) -> set[str]:
        if not isinstance(node, dict):
            return set()
        return {str(key) for key in node}.union(*(names(each) for each in node.values()))

    content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    assert all(bool(weight.isfinite().all()) for weight in content["model"].values() if weight.is_floating_point())
    return names({key: value for key, value in content.items() if key != "model"})


@pytest.mark.parametrize("precision", ["", "float16", "bfloat16"])
def test_a_training_on_one_gpu_comes_to_its_end(
    train: Train, notes: Notes, gpus: tuple[UsableGpu, ...], precision: str
):
    if precision == "bfloat16" and all(gpu.capability < BFLOAT16_SINCE for gpu in gpus):
        pytest.skip("no GPU here supports bfloat16")
    # The one that the launcher would choose may be too old for bfloat16.
    gpu = max(gpus, key=lambda each: each.capability)
    mixed = ["SOLVER.AMP.ENABLED=true", f"device.precision={precision}"] if precision else []

    run = train("one", "device.count=1", f"device.ids=[{gpu.uuid}]", "SOLVER.MAX_ITER=12", *mixed)

    plan, outcome = plan_of(run), outcome_of(run)
    assert (plan["devices"]["kind"], plan["devices"]["gpu_uuids"]) == ("cuda", [gpu.uuid])
    assert plan["devices"]["precision"] == precision
    assert (outcome["ending"], outcome["iterations"]) == ("finished", 12)
    assert {"bbox/AP", "segm/AP"} <= set(outcome["metrics"])
    # float16 may skip a step or two while it looks for its scale, but no loss may be off.
    assert len(losses_of(run)) == 12
    assert all(math.isfinite(loss) for loss in losses_of(run))
    assert {(note["device"], note["visible"]) for note in notes("one")} == {("cuda:0", gpu.uuid)}
    assert len({note["checksum"] for note in notes("one")}) > 3
    assert ("grad_scaler" in parts_of(run.final_weights)) is (precision == "float16")


def test_two_gpus_train_as_one(train: Train, notes: Notes, two_gpus: tuple[UsableGpu, UsableGpu]):
    ids = f"device.ids=[{two_gpus[0].uuid},{two_gpus[1].uuid}]"

    run = train("two", "device.count=2", ids, "SOLVER.MAX_ITER=12")

    assert plan_of(run)["devices"]["num_processes"] == 2
    assert outcome_of(run)["iterations"] == 12
    assert {(note["rank"], note["device"]) for note in notes("two")} == {(0, "cuda:0"), (1, "cuda:1")}
    # Gradients went through NCCL: both ranks made the same step out of different images.
    by_iteration: dict[int, set[float]] = {}
    for note in notes("two"):
        by_iteration.setdefault(note["iteration"], set()).add(note["checksum"])
    assert [len(checksums) for checksums in by_iteration.values()] == [1] * 12
    assert len(set().union(*by_iteration.values())) > 6


def test_a_run_that_does_not_fit_gets_a_smaller_micro_batch_and_stays_the_same_run(
    train: Train, notes: Notes, gpus: tuple[UsableGpu, ...]
):
    """A first run measures what two huge images take, so that the limit fits any GPU; CUDA's allocator enforces it."""
    assert gpus
    huge = ["INPUT.MIN_SIZE_TRAIN=[1600]", "INPUT.MAX_SIZE_TRAIN=1600", "SOLVER.IMS_PER_BATCH=8", "DATASETS.TEST=[]"]
    train("measured", "device.micro_batch=2", "SOLVER.MAX_ITER=2", *huge)
    limit_mib = round(1.3 * max(note["reserved_mib"] for note in notes("measured")))

    run = train("limited", "SOLVER.MAX_ITER=3", *huge, GPU_LIMIT_MIB=str(limit_mib))

    attempts = run.attempt_numbers()
    first, last = attempts[0], attempts[-1]
    assert len(attempts) > 1
    assert [outcome_of(run, number)["code"] for number in attempts[:-1]] == ["run.out_of_memory"] * (len(attempts) - 1)
    assert outcome_of(run, first)["exit_code"] == ExitCode.out_of_memory
    assert (outcome_of(run, last)["ending"], outcome_of(run, last)["iterations"]) == ("finished", 3)
    assert plan_of(run, first)["task"]["accumulate"] == 1
    assert plan_of(run, last)["task"]["accumulate"] in (2, 4, 8)
    assert plan_of(run, first)["keys"] == plan_of(run, last)["keys"]
    assert plan_of(run, first)["devices"]["gpu_uuids"] == plan_of(run, last)["devices"]["gpu_uuids"]


def test_a_kernel_that_stops_on_an_impossible_index_is_reported_and_not_retried(
    train: Train, gpus: tuple[UsableGpu, ...]
):
    assert gpus

    run = train("index", expect=ExitCode.training_failed, GPU_FAULT="assert")

    assert run.attempt_numbers() == [1]
    assert (outcome_of(run)["code"], outcome_of(run)["cuda_code"]) == ("run.assert", 710)


def test_deformable_convolutions_train_on_the_gpu(train: Train, gpus: tuple[UsableGpu, ...]):
    assert gpus

    run = train("deformable", "MODEL.RESNETS.DEFORM_ON_PER_STAGE=[false,false,true,true]", "DATASETS.TEST=[]")

    assert outcome_of(run)["ending"] == "finished"
    assert all(math.isfinite(loss) for loss in losses_of(run))


PREDICT = """
import json, sys
import cv2
from detectron2.config import get_cfg
from detectron2.engine import DefaultPredictor

cfg = get_cfg()
cfg.merge_from_file(sys.argv[1])
cfg.MODEL.WEIGHTS = sys.argv[2]
cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = 0.0
image = cv2.imread(sys.argv[3])
answers = {"device": cfg.MODEL.DEVICE}
for device in ("cuda", "cpu"):
    cfg.MODEL.DEVICE = device
    instances = DefaultPredictor(cfg)(image)["instances"]
    answers[device] = {
        "on": str(instances.pred_boxes.device),
        "scores": instances.scores.tolist(),
        "masks": list(instances.pred_masks.shape),
    }
print(json.dumps(answers))
"""


def test_what_was_trained_predicts_on_the_gpu_what_it_predicts_on_the_cpu(
    train: Train, gpus: tuple[UsableGpu, ...], small_demo: Path
):
    run = train("predict", f"device.ids=[{gpus[0].uuid}]", "SOLVER.MAX_ITER=12")
    image = next(path for path in sorted((small_demo / "val").iterdir()) if path.suffix in (".jpg", ".png"))

    done = subprocess.run(
        [sys.executable, "-c", PREDICT, str(run.config), str(run.final_weights), str(image)],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout.splitlines()[-1])
    assert answers["device"] == "cuda"
    assert answers["cuda"]["on"] == "cuda:0"
    assert len(answers["cuda"]["scores"]) == len(answers["cpu"]["scores"]) > 0
    # TF32 keeps ten bits of each factor.
    pairs = zip(answers["cuda"]["scores"], answers["cpu"]["scores"], strict=True)
    assert max(abs(one - other) for one, other in pairs) < 0.05
    assert answers["cuda"]["masks"] == answers["cpu"]["masks"]
