"""Trainings of a sweep, in workers that are forked from what is in memory: the same to the last bit."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from launcher.run.paths import RunPaths
from launcher.run.status import worker_of
from tests.conftest import Launch
from tests.exact import metrics_in, outcome_in, weights_in

pytestmark = pytest.mark.slow
# The command, with a note for each fork.
SWEEP = """
import sys
from pathlib import Path
from launcher.cli.main import main
from launcher.run import handover
be_worker = handover._be_worker
def noting(channel, environ, folder):
    Path("forked").open("a").write("x")
    be_worker(channel, environ, folder)
handover._be_worker = noting
sys.exit(main(["train", "-m", "pool.devices=cpu", "pool.max_parallel=2", *sys.argv[1:]]))
"""


def start_sweep(folder: Path, environ: dict[str, str], *settings: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SWEEP, *settings],
        cwd=folder,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run_with(rate: float, root: Path) -> RunPaths:
    for plan in root.rglob("attempts/1/plan.json"):
        if json.loads(plan.read_text())["keys"]["SOLVER"]["BASE_LR"] == rate:
            return RunPaths(plan.parent.parent.parent)
    raise AssertionError(f"no run with {rate} below {root}")


def test_a_job_of_a_sweep_trains_exactly_as_the_command_alone(
    launch: Launch, demo_settings: tuple[str, ...], launcher_environment: dict[str, str], tmp_path: Path
):
    alone = launch("train", *demo_settings, "SOLVER.BASE_LR=0.002", "run.root=alone")
    sweep = start_sweep(
        tmp_path, launcher_environment, *demo_settings, "SOLVER.BASE_LR=0.001,0.002,0.003", "run.root=swept"
    )
    printed = sweep.communicate(timeout=240)[0]

    assert (alone.returncode, sweep.returncode) == (0, 0), alone.stderr + printed
    assert (tmp_path / "forked").read_text() == "xxx"
    first, second = run_with(0.002, tmp_path / "alone"), run_with(0.002, tmp_path / "swept")
    assert weights_in(second.final_weights) == weights_in(first.final_weights)
    assert metrics_in(second) == metrics_in(first)
    assert outcome_in(second.attempt(1))["code"] == ""
    assert (second.folder / "config.yaml").read_text().replace(str(second.folder), "") == (
        first.folder / "config.yaml"
    ).read_text().replace(str(first.folder), "")
    assert weights_in(run_with(0.001, tmp_path / "swept").final_weights) != weights_in(first.final_weights)


def test_a_stop_of_the_sweep_is_a_stop_of_each_training_and_can_be_resumed(
    demo_settings: tuple[str, ...], launcher_environment: dict[str, str], tmp_path: Path
):
    settings = (*demo_settings, "SOLVER.BASE_LR=0.001,0.002", "SOLVER.MAX_ITER=5000", "run.root=swept")
    sweep = start_sweep(tmp_path, launcher_environment, *settings)
    until = time.monotonic() + 120
    while len(list(tmp_path.rglob("metrics.json"))) < 2 and time.monotonic() < until:
        time.sleep(0.1)
    runs = [run_with(rate, tmp_path / "swept") for rate in (0.001, 0.002)]
    workers = [worker_of(run) for run in runs]

    sweep.terminate()
    printed = sweep.communicate(timeout=120)[0]

    assert sweep.returncode == 75, printed
    assert all(workers), "a forked worker is known by its command line as a started one is"
    outcomes = [outcome_in(run.attempt(1)) for run in runs]
    assert [outcome["exit_code"] for outcome in outcomes] == [75, 75]
    assert all(0 < outcome["iterations"] < 5000 for outcome in outcomes)
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
