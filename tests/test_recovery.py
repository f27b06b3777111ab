"""Real trainings that something goes wrong in: each ends by itself, and says what happened."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launcher.errors import ExitCode
from launcher.run import codes
from launcher.run.paths import RunPaths
from tests.exact import metrics_in, outcome_in, weights_in

pytestmark = pytest.mark.slow

Launch = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def train(
    launch: Launch, demo_settings: tuple[str, ...], tmp_path: Path
) -> Callable[..., tuple[subprocess.CompletedProcess[str], RunPaths]]:
    """Train six iterations with a fault, saving every two, and return what was printed and the run's folder."""

    def run(fault: str, *settings: str, **how: str) -> tuple[subprocess.CompletedProcess[str], RunPaths]:
        done = launch(
            "train",
            *demo_settings,
            "run.name=r",
            "DATASETS.TEST=[]",
            "SOLVER.CHECKPOINT_PERIOD=2",
            "config_extensions=[tests.faults:install]",
            *settings,
            FAULT=fault,
            FAULT_COUNT=str(tmp_path / "struck"),
            **how,
        )
        return done, RunPaths(next((tmp_path / "outputs").glob("*/r")))

    return run


def outcomes(run: RunPaths) -> list[dict[str, Any]]:
    return [outcome_in(run.attempt(number)) for number in run.attempt_numbers()]


def plan_of(run: RunPaths, attempt: int) -> dict[str, Any]:
    return json.loads(run.attempt(attempt).plan.read_text())


@pytest.mark.parametrize(
    ("fault", "code"),
    [("kill@3", codes.KILLED), ("cuda719@3", "run.launch_failure"), ("loader@3", codes.LOADER_KILLED)],
)
def test_a_training_that_dies_resumes_from_its_checkpoint_in_a_second_attempt(train: Any, fault: str, code: str):
    # More iterations than a loader process has batches ready when it is killed.
    done, run = train(fault, "DATALOADER.NUM_WORKERS=1", "SOLVER.MAX_ITER=10")

    assert done.returncode == ExitCode.finished, done.stderr
    assert "attempt 1 failed" in done.stdout
    first, second = outcomes(run)
    assert first["code"] == code
    assert f"[{code}]" in done.stdout
    assert 3 <= first["iterations"] < 10
    assert (second["ending"], second["iterations"]) == ("finished", 10)
    assert plan_of(run, 2)["start"]["point"]["next_iteration"] == first["iterations"] // 2 * 2
    assert run.attempt(2).facts.exists()
    assert plan_of(run, 2)["keys"]["DATALOADER"]["NUM_WORKERS"] == (0 if code == codes.LOADER_KILLED else 1)


def test_out_of_memory_halves_the_micro_batch_and_nothing_else(train: Any):
    done, run = train("memory@1", "SOLVER.IMS_PER_BATCH=4")

    assert done.returncode == ExitCode.finished, done.stderr
    first, second = outcomes(run)
    assert (first["ending"], first["exit_code"]) == ("out_of_memory", ExitCode.out_of_memory)
    assert second["iterations"] == 6
    one, two = plan_of(run, 1), plan_of(run, 2)
    assert (one["task"]["accumulate"], two["task"]["accumulate"]) == (1, 2)
    assert one["keys"] == two["keys"]


def test_a_nan_loss_stops_with_iteration_terms_and_images_and_is_not_retried(train: Any):
    done, run = train("nan@2")

    assert done.returncode == ExitCode.training_failed
    assert len(outcomes(run)) == 1
    assert "iteration 2 diverged" in done.stderr
    assert "loss_" in done.stderr or "Predicted boxes" in done.stderr
    assert "small" in done.stderr or ".jpg" in done.stderr
    assert "the same command would fail the same way" in done.stderr
    assert "SOLVER.BASE_LR" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_fails_every_time_ends_after_as_many_retries_as_allowed(train: Any):
    done, run = train("segv@1x9", "run.retries=1")

    assert done.returncode == ExitCode.training_failed
    assert [outcome["code"] for outcome in outcomes(run)] == [codes.CRASH, codes.CRASH]
    assert "SIGSEGV" in done.stderr
    assert "in faulty" in run.attempt(1).stacks(0).read_text()


def test_a_training_that_hangs_is_killed_and_resumes(train: Any):
    done, run = train("hang@3", "run.hang_minutes=4", module="tests.hurried", HURRY_S="260")

    assert done.returncode == ExitCode.finished, done.stderr
    first, second = outcomes(run)
    assert (first["code"], first["stage"]) == (codes.HANG, "training")
    assert second["iterations"] == 6
    assert "in faulty" in run.attempt(1).stacks(0).read_text()


def test_a_driver_that_hangs_or_crashes_a_cpu_run_is_hidden_in_the_next_attempt(train: Any):
    done, run = train("segv@smokex9")

    assert done.returncode == ExitCode.finished, done.stderr
    assert [plan["devices"]["hide_driver"] for plan in (plan_of(run, 1), plan_of(run, 2))] == [False, True]
    assert outcomes(run)[1]["iterations"] == 6


RETINANET = (
    "model=COCO-Detection/retinanet_R_50_FPN_1x",
    "MODEL.RETINANET.NUM_CONVS=1",
    "MODEL.ANCHOR_GENERATOR.SIZES=[[16],[32],[64],[128],[256]]",
)


def test_a_killed_training_in_bfloat16_ends_as_one_that_was_not(train: Any, tmp_path: Path):
    """Asked for by name, or it would depend on this machine; with micro-batches, clipping and averaged weights."""
    settings = (
        "SOLVER.AMP.ENABLED=true",
        "device.precision=bfloat16",
        "device.micro_batch=1",
        "SOLVER.CLIP_GRADIENTS.ENABLED=true",
        "ema.decay=0.9",
        "DATASETS.TEST=[small_val]",
        "TEST.EVAL_PERIOD=3",
    )
    train("", *settings)
    whole = RunPaths(next((tmp_path / "outputs").glob("*/r")))
    weights, average, metrics = weights_in(whole.final_weights), weights_in(whole.final_average), metrics_in(whole)
    done, run = train("kill@5", *settings, "resume=never")

    assert done.returncode == ExitCode.finished, done.stderr
    assert run.attempt_numbers() == [1, 2]
    assert [plan_of(run, attempt)["devices"]["precision"] for attempt in (1, 2)] == ["bfloat16"] * 2
    assert (weights_in(run.final_weights), weights_in(run.final_average)) == (weights, average)
    assert metrics_in(run) == metrics


def test_a_killed_training_of_a_dense_detector_ends_as_one_that_was_not(train: Any, tmp_path: Path):
    """Mask R-CNN is in tests/test_reliability.py; here the model keeps state that no buffer holds."""
    settings = (
        *RETINANET,
        "DATASETS.TEST=[small_val]",
        "TEST.EVAL_PERIOD=3",
        "logging.period=2",
        "DATALOADER.NUM_WORKERS=1",
    )
    train("", *settings)
    whole = RunPaths(next((tmp_path / "outputs").glob("*/r")))
    weights, metrics = weights_in(whole.final_weights), metrics_in(whole)
    done, run = train("kill@5", *settings, "resume=never")

    assert done.returncode == ExitCode.finished, done.stderr
    assert run.attempt_numbers() == [1, 2]
    assert weights_in(run.final_weights) == weights
    assert metrics_in(run) == metrics
    assert [line["iteration"] for line in metrics] == [1, 2, 3, 5]
