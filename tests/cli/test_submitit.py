"""A sweep whose jobs Hydra's submitit launcher starts, each in a process of its own that composes it again."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.run.summary import State, summarize

pytest.importorskip(
    "hydra_plugins.hydra_submitit_launcher", reason="hydra-submitit-launcher is not installed: pip install it"
)


@pytest.mark.slow
def test_a_sweep_runs_with_hydras_submitit_launcher(
    tmp_path: Path, launch: Callable[..., subprocess.CompletedProcess[str]], demo_settings: tuple[str, ...]
):
    done = launch(
        *("train", "-m", *demo_settings, "DATASETS.TEST=[]", "device=cpu", "SOLVER.MAX_ITER=2", "run.root=runs"),
        *("SOLVER.BASE_LR=0.001,0.002", "hydra/launcher=submitit_local"),
    )

    assert done.returncode == 0, done.stderr
    runs = [summarize(file.parent, 0.0) for file in (tmp_path / "runs").rglob("request.yaml")]
    assert [run.state for run in runs] == [State.finished] * 2


@pytest.mark.slow
def test_a_job_that_fails_there_is_a_failure_of_the_sweep(
    tmp_path: Path, launch: Callable[..., subprocess.CompletedProcess[str]], demo_settings: tuple[str, ...]
):
    done = launch(
        *("train", "-m", *demo_settings, "DATASETS.TEST=[]", "device=cpu", "SOLVER.MAX_ITER=6", "run.root=runs"),
        *("SOLVER.BASE_LR=1e30,0.002", "hydra/launcher=submitit_local", "sweep.name=x"),
    )

    assert done.returncode == 1
    assert "BASE_LR=1e+30  failed [run.diverged]" in done.stdout
    assert "error: BASE_LR=1e+30: failed: iteration" in done.stderr
    assert [file.parent.name for file in (tmp_path / "runs").rglob("checkpoints/model_final.pth")] == ["checkpoints"]
