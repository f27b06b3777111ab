"""`launcher reproduce RUN --run`: a real training once more."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from launcher.run.paths import RunPaths

Launch = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.mark.slow
def test_a_run_trained_once_more_has_the_same_weights_or_it_is_said_which_differ(
    launch_warm: Launch, demo_settings: tuple[str, ...], tmp_path: Path
):
    settings = (*demo_settings, "device=cpu", "DATASETS.TEST=[]", "SOLVER.MAX_ITER=2", "SEED=-1", "run.name=a")
    assert launch_warm("train", *settings).returncode == 0
    run = RunPaths(tmp_path / "outputs/mask_rcnn_R_50_FPN_1x-small/a")

    same = launch_warm("reproduce", "a", "--run")

    assert same.returncode == 0, same.stderr
    assert "reproduced: all " in same.stdout
    assert RunPaths(run.folder.with_name("a.reproduced")).final_weights.exists()
    changed = torch.load(run.final_weights, weights_only=True)
    name, tensor = next((name, tensor) for name, tensor in changed["model"].items() if tensor.is_floating_point())
    changed["model"][name] = tensor + 0.5
    run.final_weights.unlink()  # a second name of the checkpoint, which stays
    torch.save(changed, run.final_weights)
    other = launch_warm("reproduce", "small/a", "--run", "again")
    assert (other.returncode, "not reproduced: 1 of " in other.stdout) == (1, True), other.stderr
    assert "by at most 0.5" in other.stdout
    assert "nothing that was recorded is different here" in other.stdout
