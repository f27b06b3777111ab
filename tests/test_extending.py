"""The examples of docs/extending.md, as they stand there: each trains, is killed, and ends as if it never had been."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from launcher.errors import ExitCode
from launcher.run.paths import RunPaths
from tests.conftest import REPOSITORY
from tests.documents import shown_in
from tests.exact import metrics_in, weights_in

Launch = Callable[..., "subprocess.CompletedProcess[str]"]

PAGE = (REPOSITORY / "docs/extending.md").read_text()
QUICK = (
    "SOLVER.MAX_ITER=6",
    "SOLVER.CHECKPOINT_PERIOD=2",
    "SOLVER.IMS_PER_BATCH=2",
    "SOLVER.WARMUP_ITERS=0",
    "INPUT.MIN_SIZE_TRAIN=[96]",
    "INPUT.MIN_SIZE_TEST=96",
    "SEED=3",
    "logging.images=0",
    "logging.period=1",
    "logging.tensorboard=False",
    "run.retries=0",
)
KILLED_IN = 3
"""An iteration after the first checkpoint and before the last."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """A section of the page."""

    title: str
    files: dict[str, str]
    command: tuple[str, ...]


def examples() -> list[Example]:
    sections = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
    shown = {section.splitlines()[0]: shown_in("docs/extending.md", section) for section in sections}
    return [
        Example(title=title, files=one.files, command=tuple(shlex.split(one.commands[0].text)[1:]))
        for title, one in shown.items()
        if one.files
    ]


def test_the_page_has_an_example_for_each_door():
    titles = [example.title for example in examples()]

    assert titles == [
        "A mapper with augmentations of your own",
        "A hook with state",
        "An evaluator",
        "A backbone and a data set of your own",
        "A whole trainer",
    ]


WRITES = {
    "A hook with state": "smoothed_loss",
    "An evaluator": "count/error",
    "A backbone and a data set of your own": "bbox/AP-odd",
    "A whole trainer": "largest_gradient",
}
"""A number that only this example's code puts into metrics.json."""


@pytest.mark.slow
@pytest.mark.parametrize("example", examples(), ids=lambda example: example.title)
def test_an_example_trains_and_ends_the_same_after_a_kill(
    example: Example, launch_warm: Launch, small_demo: Path, tmp_path: Path
):
    for name, code in example.files.items():
        (tmp_path / name).write_text(code)
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets/demo").symlink_to(small_demo)

    def train(name: str, fault: str = "") -> tuple[subprocess.CompletedProcess[str], RunPaths]:
        faults = {"FAULT": fault, "FAULT_COUNT": str(tmp_path / "struck")}
        settings = (*QUICK, "config_extensions=[tests.faults:install]", f"run.name={name}")
        root = str(tmp_path / "datasets")
        done = launch_warm(*example.command, *settings, DETECTRON2_DATASETS=root, **faults)
        return done, RunPaths(tmp_path / "outputs/demo" / name)

    whole, uninterrupted = train("whole")
    killed, _ = train("killed", fault=f"kill@{KILLED_IN}")
    resumed, run = train("killed")

    assert whole.returncode == ExitCode.finished, whole.stderr
    assert (killed.returncode, "SIGKILL" in killed.stderr) == (ExitCode.training_failed, True), killed.stderr
    assert resumed.returncode == ExitCode.finished, resumed.stderr
    assert "resumed from" in resumed.stdout
    assert weights_in(run.final_weights) == weights_in(uninterrupted.final_weights)
    assert metrics_in(run) == metrics_in(uninterrupted)
    assert WRITES.get(example.title, "total_loss") in metrics_in(run)[-1]


@pytest.mark.parametrize("processes", [1, 2])
def test_files_of_the_current_folder_replace_nothing_that_a_training_needs(
    launch: Launch, tmp_path: Path, demo_settings: tuple[str, ...], processes: int
):
    for name in ("random", "yaml", "torch", "copy", "decimal", "statistics"):
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('imported {name}')")

    done = launch("train", *demo_settings, f"device.count={processes}", "device=cpu", "SOLVER.MAX_ITER=2")

    assert done.returncode == ExitCode.finished, done.stdout + done.stderr
