"""Real trainings of a tiny model, through the front door."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from launcher.errors import ExitCode
from launcher.run.paths import RunPaths
from tests.exact import outcome_in

pytestmark = pytest.mark.slow

Launch = Callable[..., "subprocess.CompletedProcess[str]"]


def run_in(folder: Path, name: str, model: str = "mask_rcnn_R_50_FPN_1x") -> RunPaths:
    """The run of that name; it need not be there yet."""
    return RunPaths(folder / "outputs" / f"{model}-small" / name)


def outcome_of(run: RunPaths, attempt: int) -> dict[str, Any]:
    return outcome_in(run.attempt(attempt))


def iterations_in(run: RunPaths) -> list[int]:
    return [json.loads(line)["iteration"] for line in run.metrics.read_text().splitlines()]


def rates_in(run: RunPaths) -> list[float]:
    return [json.loads(line)["lr"] for line in run.metrics.read_text().splitlines()]


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, map_location="cpu", weights_only=True)["model"]


def test_a_training_on_the_cpu_says_what_it_does_and_leaves_a_complete_run_folder(
    launch: Launch, demo_settings: tuple[str, ...], tmp_path: Path
):
    done = launch("train", *demo_settings, "run.name=a", "device=cpu", "SOLVER.AMP.ENABLED=true", "logging.images=2")

    assert done.returncode == ExitCode.finished, done.stderr
    assert "device: cpu: as asked" in done.stdout
    assert "bfloat16" in done.stdout
    assert "MODEL.ROI_HEADS.NUM_CLASSES" in done.stdout
    assert "iteration 6/6" in done.stdout
    assert "launcher tensorboard outputs/mask_rcnn_R_50_FPN_1x-small/a" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    run = run_in(tmp_path, "a")
    outcome = outcome_of(run, 1)
    assert (outcome["ending"], outcome["iterations"]) == ("finished", 6)
    assert "bbox/AP" in outcome["metrics"]
    assert "segm/AP" in outcome["metrics"]
    assert iterations_in(run) == [0, 1, 2, 3, 4, 5]
    assert yaml.safe_load(run.config.read_text())["MODEL"]["ROI_HEADS"]["NUM_CLASSES"] == 10
    assert yaml.safe_load(run.request.read_text())["keys"]["SOLVER"]["AMP"]["ENABLED"] is True
    plan, facts = (json.loads(file.read_text()) for file in (run.attempt(1).plan, run.attempt(1).facts))
    assert plan["keys"]["SOLVER"]["AMP"]["ENABLED"] is (plan["devices"]["precision"] == "bfloat16")
    assert facts["bfloat16"]["problem"] == ""
    assert "3x3 convolutions" in [layer["name"] for layer in facts["bfloat16"]["layers"]]
    assert json.loads(run.attempt(1).provenance.read_text())["packages"]["torch"] == torch.__version__.split("+")[0]
    assert run.sample_inputs.read_bytes().startswith(b"\x89PNG")
    assert run.predictions.read_bytes().startswith(b"\x89PNG")
    assert "evaluation on small_val after iteration 6: 6 images" in done.stdout
    assert "class   objects   bbox AP   segm AP" in done.stdout
    assert "inference" not in done.stdout  # detectron2's lines are for the log file
    assert "Start inference" in run.attempt(1).log(0).read_text()
    summary = json.loads((run.evaluation / "small_val" / "summary.json").read_text())
    assert summary["tasks"]["bbox"]["metrics"]["AP"] == outcome["metrics"]["bbox/AP"]
    _check_events(run)


def _check_events(run: RunPaths) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.tensorboard))
    events.Reload()
    tags = events.Tags()
    assert {"1 overview/loss", "1 overview/lr", "1 overview/AP bbox"} <= set(tags["scalars"])
    assert {tag for tag in tags["scalars"] if not tag[:1].isdigit()} == set()
    assert {"inputs", "predictions"} <= set(tags["images"])
    texts = ("1 command", "2 plan", "3 doctor", "4 config")
    assert {f"{text}/text_summary" for text in texts} <= set(tags["tensors"])


def test_what_was_trained_serves_default_predictor(
    launch_warm: Launch, demo_settings: tuple[str, ...], small_demo: Path, tmp_path: Path
):
    launch_warm("train", *demo_settings, "run.name=p", "SOLVER.MAX_ITER=2", "DATASETS.TEST=[]")
    from detectron2.config import get_cfg
    from detectron2.data.detection_utils import read_image
    from detectron2.engine import DefaultPredictor

    run = run_in(tmp_path, "p")
    cfg = get_cfg()
    cfg.merge_from_file(str(run.config))
    cfg.MODEL.WEIGHTS = str(run.final_weights)
    image = read_image(str(next((small_demo / "val").iterdir())), "BGR")

    instances = DefaultPredictor(cfg)(image)["instances"]

    assert instances.image_size == (96, 96)
    assert len(instances) <= 5


def test_the_same_command_again_is_a_no_op_when_finished_and_resumes_when_killed(
    launch_warm: Launch, demo_settings: tuple[str, ...], tmp_path: Path
):
    schedule = ("SOLVER.WARMUP_ITERS=3", "SOLVER.STEPS=[5]", "SOLVER.CHECKPOINT_PERIOD=2")
    command = ("train", *demo_settings, *schedule, "run.name=k", "DATASETS.TEST=[]")
    whole = launch_warm(*command)
    run = run_in(tmp_path, "k")
    rates = rates_in(run)
    assert len(set(rates)) > 3
    again = launch_warm(*command)
    assert (whole.returncode, again.returncode) == (ExitCode.finished, ExitCode.finished)
    assert "nothing to do, all 6 iterations are done" in again.stdout
    assert run.attempt_numbers() == [1]

    # As after a power cut: the last checkpoint is half written, the one before is whole, no outcome.
    run.attempt(1).outcome.unlink()
    run.final_weights.unlink()
    last = run.checkpoint(5)
    last.write_bytes(last.read_bytes()[:1000])
    continued = launch_warm(*command)

    assert continued.returncode == ExitCode.finished, continued.stderr
    assert re.search(r"model_0000005\.pth .*: skipped", continued.stdout)
    assert "start: iteration 4 of 6, resumed from" in continued.stdout
    assert iterations_in(run) == [0, 1, 2, 3, 4, 5]
    assert rates_in(run) == rates  # the schedule goes on where it was
    assert run.final_weights.exists()


def test_another_configuration_in_the_same_folder_is_refused_until_it_may_start_over(
    launch_warm: Launch, demo_settings: tuple[str, ...], tmp_path: Path
):
    command = ("train", *demo_settings, "run.name=c", "DATASETS.TEST=[]", "SOLVER.MAX_ITER=1")
    assert launch_warm(*command).returncode == ExitCode.finished

    refused = launch_warm(*command, "SOLVER.IMS_PER_BATCH=4")

    assert refused.returncode == ExitCode.request_wrong
    assert "SOLVER.IMS_PER_BATCH: there 2, now 4" in refused.stderr
    over = launch_warm(*command, "SOLVER.IMS_PER_BATCH=4", "resume=never")
    assert over.returncode == ExitCode.finished, over.stderr
    assert "start: iteration 0 of 1" in over.stdout
    assert run_in(tmp_path, "c.1").final_weights.exists()  # nothing is lost


def test_two_processes_on_the_cpu_train_like_one_with_the_same_total_batch(
    launch_warm: Launch, demo_settings: tuple[str, ...], tmp_path: Path
):
    """Batch norm and the sampling of regions see each process's images alone, so equality is not exact."""
    command = ("train", *demo_settings, "SOLVER.IMS_PER_BATCH=4", "SOLVER.MAX_ITER=8", "MODEL.RESNETS.NORM=FrozenBN")
    command = (*command, "MODEL.FPN.NORM=GN", "MODEL.FPN.OUT_CHANNELS=32", "DATASETS.TEST=[]", "INPUT.RANDOM_FLIP=none")
    command = (*command, "DATALOADER.ASPECT_RATIO_GROUPING=False", "SOLVER.WARMUP_ITERS=0", "SOLVER.BASE_LR=0.0005")

    one = launch_warm(*command, "run.name=one")
    two = launch_warm(*command, "run.name=two", "device.count=2")

    assert (one.returncode, two.returncode) == (0, 0), one.stderr + two.stderr
    assert "device: cpu x 2 processes" in two.stdout
    runs = [run_in(tmp_path, name) for name in ("one", "two")]
    losses = [[json.loads(line)["total_loss"] for line in run.metrics.read_text().splitlines()] for run in runs]
    assert len(losses[0]) == len(losses[1]) == 8
    assert all(math.isclose(a, b, rel_tol=0.15) for a, b in zip(*losses, strict=True)), losses
    launch_warm(*command, "run.name=start", "SOLVER.MAX_ITER=1", "SOLVER.BASE_LR=0.0")
    start, first, second = (weights_of(run_in(tmp_path, name).final_weights) for name in ("start", "one", "two"))
    assert distance(first, second) < 0.2 * distance(start, first)


UNUSED = (
    "MODEL.RPN.IN_FEATURES=[p3,p4]",
    "MODEL.ANCHOR_GENERATOR.SIZES=[[16],[32]]",
    "MODEL.ROI_HEADS.IN_FEATURES=[p2]",
)
RETINANET = (
    "model=COCO-Detection/retinanet_R_50_FPN_1x",
    "MODEL.RETINANET.NUM_CONVS=1",
    "MODEL.RETINANET.IN_FEATURES=[p3,p4]",
    "MODEL.ANCHOR_GENERATOR.SIZES=[[16],[32]]",
)


@pytest.mark.parametrize(
    ("model", "settings", "counts"),
    [("mask_rcnn_R_50_FPN_1x", UNUSED, (2, 1, 3)), ("retinanet_R_50_FPN_1x", RETINANET, (1, 2))],
    ids=["Mask R-CNN", "RetinaNet"],
)
def test_a_run_goes_on_with_other_numbers_of_processes_also_where_no_loss_uses_some_parameters(
    launch_warm: Launch,
    demo_settings: tuple[str, ...],
    tmp_path: Path,
    model: str,
    settings: tuple[str, ...],
    counts: tuple[int, ...],
):
    clipped = ("SOLVER.CLIP_GRADIENTS.ENABLED=true", "SOLVER.CLIP_GRADIENTS.CLIP_TYPE=value")
    command = ("train", *demo_settings, *settings, *clipped, "run.name=p", "SOLVER.IMS_PER_BATCH=6", "DATASETS.TEST=[]")

    done = [
        launch_warm(*command, f"device.count={count}", f"SOLVER.MAX_ITER={3 * (n + 1)}")
        for n, count in enumerate(counts)
    ]

    assert [one.returncode for one in done] == [ExitCode.finished] * len(counts), done[-1].stderr
    assert iterations_in(run_in(tmp_path, "p", model)) == list(range(3 * len(counts)))


def distance(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    return math.sqrt(sum(float((one[key].double() - other[key].double()).square().sum()) for key in one))


@pytest.mark.parametrize(
    ("number", "code", "processes"),
    [
        (signal.SIGTERM, ExitCode.resumable, 1),
        (signal.SIGINT, ExitCode.interrupted, 1),
        (signal.SIGTERM, ExitCode.resumable, 2),
    ],
)
def test_asked_to_stop_it_saves_and_the_same_command_resumes(
    number: int,
    code: ExitCode,
    processes: int,
    launch: Launch,
    demo_settings: tuple[str, ...],
    launcher_environment: dict[str, str],
    tmp_path: Path,
):
    command = ["train", *demo_settings, "run.name=s", "DATASETS.TEST=[]", f"device.count={processes}"]
    run = run_in(tmp_path, "s")
    running = subprocess.Popen(
        [sys.executable, "-m", "launcher", *command, "SOLVER.MAX_ITER=100000"],
        cwd=tmp_path,
        env=launcher_environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    with running:
        _wait_for(lambda: run.metrics.exists() and len(run.metrics.read_text().splitlines()) >= 2)
        asked = time.monotonic()
        running.send_signal(number)
        printed, _ = running.communicate(timeout=120)

    assert running.returncode == code
    assert time.monotonic() - asked < 30
    assert "run the same command again" in printed
    done = outcome_of(run, 1)["iterations"]
    assert run.checkpoint(done - 1).exists()
    assert iterations_in(run) == list(range(done))
    assert _processes_of(run) == []

    plan = launch("plan", "--json", *command[1:], "SOLVER.MAX_ITER=100000")
    assert json.loads(plan.stdout)["start"]["point"]["next_iteration"] == done


def test_asked_to_stop_during_the_evaluation_it_resumes_with_the_evaluation(
    launch: Launch, demo_settings: tuple[str, ...], launcher_environment: dict[str, str], tmp_path: Path
):
    from launcher.data.demo import write_demo

    write_demo(tmp_path / "long", num_train=2, num_val=400, size=64)
    val = [f"dataset.val.json={tmp_path / 'long' / 'val.json'}", f"dataset.val.images={tmp_path / 'long' / 'val'}"]
    command = ["train", *demo_settings, *val, "run.name=e", "SOLVER.MAX_ITER=1"]
    run = run_in(tmp_path, "e")
    log = run.attempt(1).log(0)
    running = subprocess.Popen(
        [sys.executable, "-m", "launcher", *command], cwd=tmp_path, env=launcher_environment, stdout=subprocess.PIPE
    )
    with running:
        _wait_for(lambda: log.exists() and "Start inference on 400 batches" in log.read_text())
        running.terminate()
        running.communicate(timeout=120)
    assert running.returncode == ExitCode.resumable
    assert outcome_of(run, 1)["iterations"] == 1

    continued = launch(*command)

    assert continued.returncode == ExitCode.finished, continued.stderr
    assert "bbox/AP" in outcome_of(run, 2)["metrics"]
    assert iterations_in(run) == [0]
    assert "bbox/AP" in run.metrics.read_text()


def _wait_for(happened, timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def _processes_of(run: RunPaths) -> list[int]:
    """Processes whose command line names the run's folder."""

    def found() -> Iterator[int]:
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    command = (entry / "cmdline").read_bytes()
                except OSError:
                    continue
                if str(run.folder).encode() in command:
                    yield int(entry.name)

    return list(found())


def test_a_signal_to_every_process_of_a_job_stops_it_like_one_to_the_launcher(
    demo_settings: tuple[str, ...], launcher_environment: dict[str, str], tmp_path: Path
):
    """As Slurm does: data loaders get it too."""
    settings = [*demo_settings, "run.name=g", "DATASETS.TEST=[]", "DATALOADER.NUM_WORKERS=1", "SOLVER.MAX_ITER=100000"]
    run = run_in(tmp_path, "g")
    running = subprocess.Popen(
        [sys.executable, "-m", "launcher", "train", *settings],
        cwd=tmp_path,
        env=launcher_environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    with running:
        _wait_for(lambda: run.metrics.exists() and len(run.metrics.read_text().splitlines()) >= 2)
        workers = _processes_of(run)
        assert len(workers) >= 2  # the worker and its loader
        for process in (running.pid, *workers):
            os.kill(process, signal.SIGUSR1)
        running.communicate(timeout=120)

    assert running.returncode == ExitCode.resumable
    assert run.checkpoint(outcome_of(run, 1)["iterations"] - 1).exists()


def test_a_stop_signal_before_training_begins_is_resumable(
    demo_settings: tuple[str, ...], launcher_environment: dict[str, str], tmp_path: Path
):
    command = [sys.executable, "-m", "launcher", "train", *demo_settings, "run.name=q", "DATASETS.TEST=[]"]
    running = subprocess.Popen(command, cwd=tmp_path, env=launcher_environment, stdout=subprocess.PIPE, text=True)
    with running:
        assert running.stdout is not None
        assert running.stdout.readline().startswith("run:")
        running.terminate()
        running.communicate(timeout=120)

    assert running.returncode == ExitCode.resumable


def test_a_closed_pipe_does_not_end_a_training(
    demo_settings: tuple[str, ...], launcher_environment: dict[str, str], tmp_path: Path
):
    command = [sys.executable, "-m", "launcher", "train", *demo_settings, "run.name=h", "DATASETS.TEST=[]"]
    running = subprocess.Popen(command, cwd=tmp_path, env=launcher_environment, stdout=subprocess.PIPE)
    assert running.stdout is not None
    running.stdout.readline()
    running.stdout.close()

    assert running.wait(timeout=120) == ExitCode.finished
    assert outcome_of(run_in(tmp_path, "h"), 1)["iterations"] == 6


def test_weights_alone_are_no_training_to_resume(launch_warm: Launch, demo_settings: tuple[str, ...], tmp_path: Path):
    settings = (*demo_settings, "DATASETS.TEST=[]", "SOLVER.MAX_ITER=1")
    launch_warm("train", *settings, "run.name=w")
    trained = torch.load(run_in(tmp_path, "w").final_weights, weights_only=True)
    torch.save({"model": trained["model"]}, tmp_path / "weights.pth")

    done = launch_warm("train", *settings, "run.name=o", f"resume={tmp_path / 'weights.pth'}")

    assert done.returncode == ExitCode.request_wrong
    assert "MODEL.WEIGHTS=PATH" in done.stderr


def test_an_evaluation_that_cannot_be_is_refused_before_training(
    launch: Launch, demo_settings: tuple[str, ...], tmp_path: Path
):
    done = launch("train", *demo_settings, "run.name=n", "DATASETS.TEST=[smal_val]")

    assert done.returncode == ExitCode.data_wrong
    assert "small_val" in done.stderr
    assert not run_in(tmp_path, "n").metrics.exists()


def test_a_worker_that_is_killed_leaves_an_outcome_and_can_be_resumed(
    demo_settings: tuple[str, ...], launcher_environment: dict[str, str], tmp_path: Path
):
    settings = [*demo_settings, "run.name=x", "SOLVER.MAX_ITER=100000", "run.retries=0"]
    command = [sys.executable, "-m", "launcher", "train", *settings]
    run = run_in(tmp_path, "x")
    running = subprocess.Popen(
        command, cwd=tmp_path, env=launcher_environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with running:
        _wait_for(lambda: run.metrics.exists() and run.metrics.stat().st_size > 0)
        for worker in _processes_of(run):
            os.kill(worker, signal.SIGKILL)
        _, errors = running.communicate(timeout=120)

    assert running.returncode == ExitCode.training_failed
    assert outcome_of(run, 1)["ending"] == "killed"
    assert "out of memory" in errors
    assert "run the same command again: no checkpoint was saved" in errors


def test_changed_settings_take_effect_as_declared(launch_warm: Launch, demo_settings: tuple[str, ...], tmp_path: Path):
    command = ("train", *demo_settings, "run.name=z", "DATASETS.TEST=[]", "SOLVER.WARMUP_ITERS=0")
    launch_warm(*command, "SOLVER.MAX_ITER=2", "SOLVER.BASE_LR=0.01")
    run = run_in(tmp_path, "z")

    longer = launch_warm(*command, "SOLVER.MAX_ITER=4", "SOLVER.BASE_LR=0.001")
    other = launch_warm(*command, "SOLVER.MAX_ITER=4", "SOLVER.BASE_LR=0.001", "SOLVER.IMS_PER_BATCH=4")

    assert longer.returncode == ExitCode.finished, longer.stderr
    assert "changed: SOLVER.MAX_ITER   before 2   now 4" in longer.stdout
    assert "changed: SOLVER.BASE_LR   before 0.01   now 0.001   applies from now on, overriding" in longer.stdout
    assert rates_in(run) == pytest.approx([0.01, 0.01, 0.001, 0.001])
    assert other.returncode == ExitCode.request_wrong
    assert "run.allow_changes=[SOLVER.IMS_PER_BATCH]" in other.stderr


def test_a_time_limit_stops_and_saves_before_it(launch_warm: Launch, demo_settings: tuple[str, ...], tmp_path: Path):
    done = launch_warm(
        "train", *demo_settings, "run.name=t", "DATASETS.TEST=[]", "SOLVER.MAX_ITER=100000", "run.time_limit=0.2"
    )

    assert done.returncode == ExitCode.resumable
    assert "the time limit" in done.stdout
    run = run_in(tmp_path, "t")
    assert run.checkpoint(outcome_of(run, 1)["iterations"] - 1).exists()


def test_a_sweep_trains_every_job_in_its_own_folder_and_continues_past_a_failing_one(
    launch: Launch, demo_settings: tuple[str, ...], tmp_path: Path
):
    done = launch(
        "train",
        "-m",
        *demo_settings,
        "run.name=w",
        "DATASETS.TEST=[]",
        "SOLVER.WARMUP_ITERS=0",
        "SOLVER.BASE_LR=1e30,1e-4",
    )

    sweep = tmp_path / "outputs" / "mask_rcnn_R_50_FPN_1x-small" / "w"
    folders = [sweep / "BASE_LR=0.0001", sweep / "BASE_LR=1e+30"]
    endings = [outcome_of(RunPaths(folder), 1)["ending"] for folder in folders]
    assert sorted(endings) == ["failed", "finished"]
    assert done.returncode == ExitCode.training_failed
    assert done.stderr.count("Lower SOLVER.BASE_LR") == 1  # the failure is told once, at the end
    assert "BASE_LR=1e+30: failed: " in done.stderr
    assert "sweep: 1 finished, 1 failed" in done.stdout
    assert (sweep / "summary.csv").read_text().count("\n") == 3


def test_a_training_that_diverges_says_so_without_a_traceback(
    launch_warm: Launch, demo_settings: tuple[str, ...], tmp_path: Path
):
    done = launch_warm(
        "train", *demo_settings, "run.name=d", "SOLVER.BASE_LR=1e30", "SOLVER.WARMUP_ITERS=0", "DATASETS.TEST=[]"
    )

    assert done.returncode == ExitCode.training_failed
    assert "SOLVER.BASE_LR" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert outcome_of(run_in(tmp_path, "d"), 1)["ending"] == "failed"
