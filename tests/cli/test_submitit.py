"""A sweep whose jobs Hydra's submitit launcher starts, each in a process of its own that composes it again."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.run.summary import State, summarize


@pytest.mark.slow
def test_a_sweep_runs_with_hydras_submitit_launcher(
    tmp_path: Path, launch: Callable[..., subprocess.CompletedProcess[str]], demo_settings: tuple[str, ...]
):
    pytest.importorskip(
        "hydra_plugins.hydra_submitit_launcher", reason="hydra-submitit-launcher is not installed: pip install it"
    )

    done = launch(
        *("train", "-m", *demo_settings, "DATASETS.TEST=[]", "device=cpu", "SOLVER.MAX_ITER=2", "run.root=runs"),
        *("SOLVER.BASE_LR=0.001,0.002", "hydra/launcher=submitit_local"),
    )

    assert done.returncode == 0, done.stderr
    runs = [summarize(file.parent, 0.0) for file in (tmp_path / "runs").rglob("request.yaml")]
    assert [run.state for run in runs] == [State.finished] * 2
