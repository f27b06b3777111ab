"""Sweeps as arrays of a real Slurm: disturbed, failing, followed by a second command, pruned."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.run.paths import RunPaths
from tests.cluster.conftest import ITERATIONS
from tests.cluster.real_slurm import Slurm, Submitted
from tests.exact import weights_in

pytestmark = [pytest.mark.slow, pytest.mark.cluster]

ARRAY = ("-m", "hydra/launcher=slurm_array", "cluster=slurm")


def folder_of(slurm: Slurm, name: str) -> Path:
    (folder,) = (slurm.here / "runs").glob(f"*/sweep-{name}")
    return folder


def element_of(folder: Path, array: str, number: int, rate: str) -> Submitted:
    return Submitted(job=f"{array}_{number}", paths=RunPaths(folder / f"BASE_LR={rate}"))


def rows_in(folder: Path) -> list[list[str]]:
    return [line.split(",")[:2] for line in sorted((folder / "summary.csv").read_text().splitlines()[1:])]


@pytest.mark.timeout(600)
def test_elements_are_requeued_or_fail_by_themselves_and_a_second_command_follows_them_to_the_end(
    slurm: Slurm, settings: tuple[str, ...], undisturbed: str
):
    swept = "SOLVER.BASE_LR=0.001,1e9,0.002"
    command = ("train", *ARRAY, *settings, swept, "sweep.name=three", "cluster.max_parallel=2")
    said = slurm.launcher(*command, "--detach", SLOW_S="0.3")
    array = re.search(r"submitted as array (\d+): 3 jobs, at most 2 at a time", said)
    assert array is not None, said
    folder = folder_of(slurm, "three")
    disturbed, diverging, later = (
        element_of(folder, array[1], number, rate)
        for number, rate in enumerate(("0.001", "1000000000.0", "0.002"), start=1)
    )

    disturbed.wait_for_iteration(5)
    status = slurm.launcher("status", "sweep-three", "--root", "runs")
    assert f"{array[1]}_1 RUNNING" in status
    follower = subprocess.Popen(
        [sys.executable, "-m", "launcher", *command],
        cwd=slurm.here, env=slurm.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    slurm.run("scancel", "-s", "USR1", disturbed.job)
    ends = [slurm.ended(one.job) for one in (disturbed, diverging, later)]
    followed, _ = follower.communicate(timeout=120)

    assert ends == ["COMPLETED", "FAILED", "COMPLETED"], followed
    assert [slurm.field(one.job, "Restarts") for one in (disturbed, diverging, later)] == ["1", "0", "0"]
    assert disturbed.ends() == ["stopped", "finished"]
    assert weights_in(disturbed.paths.final_weights) == undisturbed
    assert later.iterations == ITERATIONS
    assert "submitted as array" not in followed
    assert "sweep: 2 finished, 1 failed in" in followed
    assert follower.returncode == 1
    assert rows_in(folder) == [
        ["BASE_LR=0.001", "finished"], ["BASE_LR=0.002", "finished"], ["BASE_LR=1000000000.0", "failed"],
    ]  # fmt: skip


@pytest.mark.timeout(600)
def test_a_search_keeps_jobs_in_the_queue_and_prunes_without_a_requeue(slurm: Slurm, settings: tuple[str, ...]):
    pytest.importorskip("optuna")
    evaluated = [text for text in settings if not text.startswith("DATASETS.TEST")]
    pruned = ("search.pruner=threshold", "search.pruner_settings.lower=1e9", "TEST.EVAL_PERIOD=4")

    said = slurm.launcher(
        "train", *ARRAY, "hydra/sweeper=search", *evaluated, "SOLVER.BASE_LR=interval(0.001,0.01)",
        "sweep.name=search", "search.n_trials=2", "cluster.max_parallel=1", *pruned, SLOW_S="0.2",
    )  # fmt: skip

    folder = folder_of(slurm, "search")
    assert said.count("submitted as array") == 2
    assert [state for _, state in rows_in(folder)] == ["pruned"] * 2
    arrays = re.findall(r"submitted as array (\d+): job (\d)", said)
    assert [slurm.field(f"{array}_{number}", "Restarts") for array, number in arrays] == ["0", "0"]
