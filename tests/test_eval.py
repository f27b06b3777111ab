"""`launcher eval` through the front door, on a tiny model that was trained a moment before."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launcher.data.demo import write_demo
from launcher.errors import ExitCode
from launcher.run.found import find_runs
from launcher.run.paths import RunPaths
from tests.exact import outcome_in

pytestmark = pytest.mark.slow

Launch = Callable[..., "subprocess.CompletedProcess[str]"]
FOLDER = Path("outputs/demo/a")
RESULTS = Path("evaluation/small_val/coco_instances_results.json")
TRAINED_AS = ("device=cpu", "ema.decay=0.5", "SOLVER.BASE_LR=0.02", "logging.images=0", f"OUTPUT_DIR={FOLDER}")


@pytest.fixture
def launch(launch_warm: Launch) -> Launch:
    return launch_warm


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, demo_settings: tuple[str, ...], launcher_environment: dict[str, str]
) -> Path:
    """A folder with a run whose weights were averaged."""
    folder = tmp_path_factory.mktemp("trained")
    subprocess.run(
        [sys.executable, "-m", "launcher", "train", *demo_settings, *TRAINED_AS],
        cwd=folder,
        env=launcher_environment,
        check=True,
        capture_output=True,
        timeout=240,
    )
    return folder


@pytest.fixture
def run(tmp_path: Path, trained: Path) -> RunPaths:
    shutil.copytree(trained / "outputs", tmp_path / "outputs")
    return RunPaths(tmp_path / FOLDER)


@pytest.fixture(scope="module")
def other_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("other") / "demo"
    write_demo(folder, num_train=1, num_val=3, size=96)
    return folder


def evaluations_of(run: RunPaths) -> list[RunPaths]:
    return [RunPaths(folder) for folder in sorted((run.folder / "evaluations").iterdir())]


def metrics_of(run: RunPaths, attempt: int = 1) -> dict[str, Any]:
    return outcome_in(run.attempt(attempt))["metrics"]


@pytest.mark.parametrize("processes", [1, 2])
def test_an_evaluation_gives_what_the_training_wrote_to_the_last_bit(launch: Launch, run: RunPaths, processes: int):
    done = launch("eval", "demo/a", "device=cpu", f"device.count={processes}", "logging.images=0")

    assert done.returncode == ExitCode.finished, done.stderr
    (evaluation,) = evaluations_of(run)
    assert (evaluation.folder / RESULTS).read_bytes() == (run.folder / RESULTS).read_bytes()
    assert repr(metrics_of(evaluation)) == repr(metrics_of(run))
    assert "evaluation on small_val: 6 images" in done.stdout
    assert "class   objects   bbox AP   segm AP" in done.stdout
    assert list(find_runs(run.folder.parents[1])) == [run.folder]  # an evaluation is not listed as a run


def test_weights_that_were_not_averaged_give_something_else(launch: Launch, run: RunPaths):
    done = launch("eval", "demo/a", "device=cpu", "logging.images=0", "ema.decay=0")

    assert done.returncode == ExitCode.finished, done.stderr
    (evaluation,) = evaluations_of(run)
    assert (evaluation.folder / RESULTS).read_bytes() != (run.folder / RESULTS).read_bytes()


def test_training_a_finished_run_with_another_validation_set_evaluates_its_model_on_that(
    launch: Launch, run: RunPaths, demo_settings: tuple[str, ...], other_data: Path
):
    val = (f"dataset.val.json={other_data / 'val.json'}", f"dataset.val.images={other_data / 'val'}")
    before = run.folder / "evaluation/small_val/summary.json"
    written = before.read_bytes()

    done = launch("train", *demo_settings, *TRAINED_AS, *val)

    assert done.returncode == ExitCode.finished, done.stderr
    assert "nothing is trained: its final weights are evaluated with these settings" in done.stdout
    assert "evaluation on small_val: 3 images" in done.stdout
    assert len(evaluations_of(run)) == 1
    assert (before.read_bytes(), run.attempt_numbers()) == (written, [1])


def test_training_a_finished_run_whose_validation_file_was_edited_evaluates_its_model_on_that(
    launch: Launch, run: RunPaths, demo_settings: tuple[str, ...]
):
    (setting,) = [text for text in (*demo_settings, *TRAINED_AS) if text.startswith("dataset.val.json=")]
    file = Path(setting.partition("=")[2])
    before = file.read_text()
    content = json.loads(before)
    file.write_text(json.dumps({**content, "annotations": content["annotations"][:-1]}))

    try:
        done = launch("train", *demo_settings, *TRAINED_AS)
    finally:
        file.write_text(before)

    assert done.returncode == ExitCode.finished, done.stderr
    assert "nothing is trained: its final weights are evaluated with these settings" in done.stdout
    assert len(evaluations_of(run)) == 1


def test_a_run_is_evaluated_without_what_it_was_trained_on(launch: Launch, run: RunPaths):
    done = launch("eval", "demo/a", "dataset.train.json=gone.json", "device=cpu", "logging.images=0")

    assert done.returncode == ExitCode.finished, done.stderr
    (evaluation,) = evaluations_of(run)
    assert (evaluation.folder / RESULTS).read_bytes() == (run.folder / RESULTS).read_bytes()


def test_a_data_set_with_the_classes_in_another_order_is_refused(launch: Launch, run: RunPaths, other_data: Path):
    content = json.loads((other_data / "val.json").read_text())
    names = [category["name"] for category in content["categories"]]
    for category, name in zip(content["categories"], reversed(names), strict=True):
        category["name"] = name
    file = run.folder.parent / "reversed.json"
    file.write_text(json.dumps(content))

    done = launch(
        "eval", "demo/a", "device=cpu", f"dataset.val.json={file}", f"dataset.val.images={other_data / 'val'}"
    )

    assert done.returncode == ExitCode.data_wrong
    assert f"class 0 was {names[0]!r} in the training and is {names[-1]!r} here" in done.stderr
    assert "AP" not in done.stdout


def test_two_runs_are_compared_class_by_class_on_one_data_set(launch: Launch, run: RunPaths, other_data: Path):
    shutil.copytree(run.folder, run.folder.with_name("b"))
    val = (f"dataset.val.json={other_data / 'val.json'}", f"dataset.val.images={other_data / 'val'}")

    done = launch("eval", "demo/a", "demo/b", "--compare", "device=cpu", "logging.images=0", *val)

    assert done.returncode == ExitCode.finished, done.stderr
    assert "bbox AP of A and B on the same 3 images" in done.stdout
    assert "all classes" in done.stdout
    (of_b,) = evaluations_of(RunPaths(run.folder.with_name("b")))
    compared = json.loads((of_b.folder / RESULTS).with_name("comparison.json").read_text())
    assert [task["task"] for task in compared["tasks"]] == ["bbox", "segm"]
    assert "FutureWarning" not in done.stderr


def test_with_json_standard_output_is_the_results_alone(launch: Launch, run: RunPaths):
    done = launch("eval", "demo/a", "device=cpu", "logging.images=0", "--json")

    result = json.loads(done.stdout)
    assert result["exit_code"] == ExitCode.finished
    assert result["data_sets"]["small_val"]["counts"]["images"] == 6
    assert result["metrics"] == metrics_of(run)


def without_annotations(data: Path, file: Path) -> None:
    content = json.loads((data / "val.json").read_text())
    del content["annotations"]
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["demo/a", "DATASETS.TEST=[]"], ExitCode.request_wrong, "There is nothing to evaluate on"),
        (["demo/a", "dataset.val.json=bare.json"], ExitCode.data_wrong, "it has no annotations"),
        (["demo/nothing"], ExitCode.request_wrong, "is called 'demo/nothing'"),
        (["demo/a", "demo/a"], ExitCode.request_wrong, "--compare"),
        (["demo/a", "--compare"], ExitCode.request_wrong, "--compare takes two runs"),
        (["demo/a", "checkpoint=best"], ExitCode.request_wrong, "checkpoint.keep_best"),
        ([], ExitCode.request_wrong, "Whose model?"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_before_anything_is_started(
    launch: Launch, run: RunPaths, tmp_path: Path, other_data: Path, arguments: list[str], code: int, said: str
):
    without_annotations(other_data, tmp_path / "bare.json")

    done = launch("eval", *arguments, "device=cpu")

    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert not (run.folder / "evaluations").exists()
