"""Real trainings that average their weights, stop early, and meet images that cannot be read."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from launcher.errors import ExitCode
from launcher.run.paths import RunPaths
from tests.exact import metrics_in, weights_in

pytestmark = pytest.mark.slow

Launch = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def launch(launch_warm: Launch) -> Launch:
    return launch_warm


def run_in(folder: Path, name: str) -> RunPaths:
    return RunPaths(folder / "outputs" / "mask_rcnn_R_50_FPN_1x-small" / name)


def test_the_average_of_a_training_that_was_interrupted_is_the_same_and_serves_default_predictor(
    launch: Launch, demo_settings: tuple[str, ...], small_demo: Path, tmp_path: Path
):
    command = ("train", *demo_settings, "ema.decay=0.9", "TEST.EVAL_PERIOD=3", "SOLVER.WARMUP_ITERS=0")
    whole, parts = run_in(tmp_path, "whole"), run_in(tmp_path, "parts")

    assert launch(*command, "run.name=whole").returncode == ExitCode.finished
    for max_iter in (3, 6):
        done = launch(*command, "run.name=parts", f"SOLVER.MAX_ITER={max_iter}")
        assert done.returncode == ExitCode.finished, done.stderr

    assert weights_in(parts.final_weights) == weights_in(whole.final_weights)
    assert weights_in(parts.final_average) == weights_in(whole.final_average)
    assert weights_in(whole.final_average) != weights_in(whole.final_weights)
    assert metrics_in(parts) == metrics_in(whole)
    assert "model_final_ema.pth  (the weights that were evaluated)" in done.stdout
    assert len(_found_by(whole, whole.final_average, small_demo)) <= 5


def _found_by(run: RunPaths, weights: Path, demo: Path) -> object:
    from detectron2.config import get_cfg
    from detectron2.data.detection_utils import read_image
    from detectron2.engine import DefaultPredictor

    cfg = get_cfg()
    cfg.merge_from_file(str(run.config))
    cfg.MODEL.WEIGHTS = str(weights)
    predictor = DefaultPredictor(cfg)
    averaged = torch.load(weights, weights_only=True)["model"]
    assert all(torch.equal(value, averaged[name]) for name, value in predictor.model.state_dict().items())
    return predictor(read_image(str(next((demo / "val").iterdir())), "BGR"))["instances"]


@pytest.fixture
def broken_settings(demo_settings: tuple[str, ...], small_demo: Path, tmp_path: Path) -> tuple[str, ...]:
    """Those of a demo in which one image for training and one for validation are cut off."""
    demo = tmp_path / "broken"
    shutil.copytree(small_demo, demo)
    for split in ("train", "val"):
        first = demo / split / json.loads((demo / f"{split}.json").read_text())["images"][0]["file_name"]
        first.write_bytes(first.read_bytes()[:500])
    return (*(setting.replace(str(small_demo), str(demo)) for setting in demo_settings), "dataset.check=false")


def test_two_processes_stop_early_together_in_spite_of_bad_images_and_resume_with_more_patience(
    launch: Launch, broken_settings: tuple[str, ...], tmp_path: Path
):
    # Nothing improves by 90, so the first evaluation stays the best.
    stopping = ("early_stopping.metric=bbox/AP", "early_stopping.min_delta=90", "TEST.EVAL_PERIOD=2")
    command = ("train", *broken_settings, *stopping, "run.name=e", "SOLVER.MAX_ITER=30", "logging.images=2")
    patient = "early_stopping.patience="
    run = run_in(tmp_path, "e")

    stopped = launch(*command, f"{patient}1", "device.count=2", "ema.decay=0")

    assert stopped.returncode == ExitCode.finished, stopped.stderr
    assert re.search(r"finished: 4 iterations.*stopped early: bbox/AP has not improved on \d", stopped.stdout)
    assert "1 training image could not be used" in stopped.stdout
    assert "1 unreadable validation image counts as an image without detections" in stopped.stdout
    assert run.final_weights.exists()
    assert run.predictions.exists()
    assert not run.final_average.exists()
    again = launch(*command, f"{patient}1")
    assert again.returncode == ExitCode.finished
    assert "nothing to do: stopped early: bbox/AP" in again.stdout
    assert run.attempt_numbers() == [1]

    # As after a kill between the last checkpoint and the outcome: what was decided stays decided.
    run.attempt(1).outcome.unlink()
    run.final_weights.unlink()
    decided = launch(*command, f"{patient}1")
    assert "finished: 4 iterations" in decided.stdout, decided.stdout + decided.stderr
    assert run.final_weights.samefile(run.checkpoint(3))

    more = launch(*command, f"{patient}2")
    assert re.search(r"finished: 6 iterations.*for 2 evaluations", more.stdout), more.stdout + more.stderr
    assert run.final_weights.samefile(run.checkpoint(5))
