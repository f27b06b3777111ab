"""`launcher resume`: what is refused before anything is trained, and a real training continued from elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from launcher.cli.main import main
from launcher.config.compose import run_hydra
from launcher.launch.record import write_request
from launcher.run.paths import RunPaths
from launcher.run.summary import State, summarize

Launch = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With one run that was asked for."""
    monkeypatch.chdir(tmp_path)
    paths = RunPaths(tmp_path / "outputs/demo/default")
    paths.folder.mkdir(parents=True)
    run_hydra(["experiment=demo"], lambda request: write_request(request, {}, paths, ["launcher", "train"]))
    return tmp_path / "outputs"


@pytest.mark.usefixtures("outputs")
@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        ([], "which run? `launcher runs` lists them."),
        (["nothing"], "no run in"),
        (["default", "run.name=other"], "run.name=other: a run is resumed in its own folder"),
        (["default", "OUTPUT_DIR=/x"], "OUTPUT_DIR=/x: a run is resumed in its own folder"),
        (["default", "experiment=coco"], "experiment=coco: a run is resumed in its own folder"),
        (["default", "-m", "SOLVER.BASE_LR=1,2"], "takes a run and settings, not -m"),
        (["default", "SOLVER.IMS_PER_BATCH=8"], "another run:\n  SOLVER.IMS_PER_BATCH: there 4, now 8"),
        (["default", "SOLVER.MAX_ITER=x"], "SOLVER.MAX_ITER"),
        (["default", "SOLVER.MAX_ITR=9"], "launcher resume demo/default SOLVER.MAX_ITER=9"),
        (["default", "SOLVER.BASE_LR=-1"], "SOLVER.BASE_LR=-1"),
        (["default", "cluster.time=10"], "cluster.time=10: settings of cluster are those of a job"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)  # fmt: skip
def test_what_cannot_be_resumed_is_answered_with_what_can(
    capsys: pytest.CaptureFixture[str], arguments: list[str], answer: str
):
    assert main(["resume", *arguments]) == 2
    assert answer in capsys.readouterr().err


def weights_in(run: RunPaths) -> dict[str, Any]:
    return torch.load(run.final_weights, map_location="cpu", weights_only=True)["model"]


@pytest.mark.slow
def test_a_run_is_trained_longer_from_anywhere_and_stays_frozen_as_it_was_last_asked_for(
    launch_warm: Launch, demo_settings: tuple[str, ...], small_demo: Path, tmp_path: Path
):
    """The settings with which it was started are found from where that was; a name with `=` and `,` needs no quotes."""
    os.symlink(small_demo, tmp_path / "mine")
    relative = [text.replace(str(small_demo), "mine") for text in demo_settings]
    # Warming up would take another part of a longer training.
    settings = ("device=cpu", "DATASETS.TEST=[]", "SOLVER.WARMUP_ITERS=0", "run.name=LR=1,B=2")
    whole = launch_warm("train", *relative, *settings, "run.root=whole", "SOLVER.MAX_ITER=4")
    begun = launch_warm("train", *relative, *settings, "SOLVER.MAX_ITER=2")
    assert (whole.returncode, begun.returncode) == (0, 0), whole.stderr + begun.stderr
    group = "mask_rcnn_R_50_FPN_1x-small"
    suggested = f"launcher resume '{group}/LR=1,B=2' SOLVER.MAX_ITER=4"
    assert suggested.replace("'", "") in begun.stdout
    moved = shutil.move(tmp_path / f"outputs/{group}/LR=1,B=2", tmp_path / "elsewhere")

    command = [sys.executable, "-m", "launcher", "resume", str(moved), "SOLVER.MAX_ITER=4"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    longer = subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, check=False)
    again = launch_warm("resume", str(moved))

    assert longer.returncode == 0, longer.stderr
    assert f"continuing in {tmp_path}, where the run was started" in longer.stdout
    assert "changed: SOLVER.MAX_ITER   before 2   now 4   applies from now on" in longer.stdout
    assert "start: iteration 2 of 4" in longer.stdout
    one, other = weights_in(RunPaths(tmp_path / f"whole/{group}/LR=1,B=2")), weights_in(RunPaths(Path(moved)))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert (again.returncode, "nothing to do, all 4 iterations are done" in again.stdout) == (0, True)
    assert yaml.safe_load(RunPaths(Path(moved)).request.read_text())["keys"]["SOLVER"]["MAX_ITER"] == 4
    run = summarize(Path(moved), 0.0)
    assert (run.state, run.iterations, run.num_attempts) == (State.finished, 4, 2)
    first, second = (json.loads(RunPaths(Path(moved)).attempt(n).provenance.read_text())["command"] for n in (1, 2))
    assert (first.split()[1], second.split()[1]) == ("train", "resume")
