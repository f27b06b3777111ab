"""What `launcher runs` and `launcher status` say of a sweep."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.cli import runs, status, train
from launcher.errors import RequestError
from launcher.run.outcome import Work
from launcher.sweep.record import write_sweep
from launcher.sweep.stored import NAME
from launcher.sweep.values import Sweep
from tests.recorded_runs import record_run
from tests.sweep.examples import a_job, a_sweep
from tests.values import finished_after


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch) -> Sweep:
    """Of three jobs, two of which have finished, below `outputs`."""
    monkeypatch.chdir(tmp_path)
    made = a_sweep(tmp_path / "outputs" / "demo" / "sweep-BASE_LR")
    write_sweep(made)
    for number, value in enumerate((1.0, 2.0)):
        outcome = replace(finished_after(100), work=replace(Work.of(100), metrics={"bbox/AP": value}))
        record_run(made.folder_of(a_job(number)), outcome)
    return made


@pytest.mark.usefixtures("sweep")
def test_a_sweep_is_one_row_that_opens(capsys):
    runs.run([])
    closed = capsys.readouterr().out.splitlines()
    runs.run(["sweep-BASE_LR"])
    opened = capsys.readouterr().out.splitlines()

    assert [line.split()[:4] for line in closed[1:]] == [["demo/sweep-BASE_LR", "planned", "2/3", "jobs"]]
    assert sorted(line.split()[0] for line in opened[1:]) == ["BASE_LR=0.1", "BASE_LR=0.2"]


@pytest.mark.usefixtures("sweep")
@pytest.mark.parametrize(("state", "rows"), [("finished", 1), ("failed", 0)])
def test_a_sweep_is_chosen_by_the_states_of_its_jobs(capsys, state: str, rows: int):
    runs.run(["--state", state])

    assert capsys.readouterr().out.count("demo/sweep-BASE_LR") == rows


@pytest.mark.usefixtures("sweep")
def test_a_program_gets_every_run(capsys):
    runs.run(["--json"])

    assert len(json.loads(capsys.readouterr().out)) == 2


@pytest.mark.usefixtures("sweep")
def test_the_status_of_a_sweep_is_its_table(capsys):
    status.run(["sweep-BASE_LR"])

    text = capsys.readouterr().out
    assert "2 of 3 jobs ended, 0 run" in text
    assert "best so far: BASE_LR=0.2  bbox/AP 2" in text
    assert text.rstrip().endswith("continue with: launcher train -m experiment=demo SOLVER.BASE_LR=0.1,0.2,0.4")


@pytest.mark.usefixtures("sweep")
def test_the_status_of_a_sweep_for_a_program(capsys):
    status.run(["demo/sweep-BASE_LR", "--json"])

    plain = json.loads(capsys.readouterr().out)
    assert (plain["best"], plain["is_at_work"], len(plain["jobs"])) == ("BASE_LR=0.2", False, 3)


@pytest.mark.usefixtures("sweep")
def test_a_job_of_a_sweep_is_a_run(capsys):
    status.run(["sweep-BASE_LR/BASE_LR=0.2"])

    assert "finished" in capsys.readouterr().out


def test_following_a_sweep_that_nobody_runs_ends_at_once(sweep: Sweep, capsys):
    status.run([str(sweep.folder), "--follow"])

    assert "BASE_LR=0.4" not in capsys.readouterr().out.splitlines()[0]


def test_a_sweep_that_cannot_be_read_is_a_sentence(sweep: Sweep):
    (sweep.folder / NAME).write_text("{")

    with pytest.raises(RequestError, match=r"damaged or of another version.*launcher runs"):
        status.run(["sweep-BASE_LR"])


def test_a_sweep_that_is_started_on_several_nodes_is_refused(monkeypatch):
    started = {"SLURM_JOB_ID": "17", "SLURM_PROCID": "1", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_NODES": "2"}
    for name, value in {**started, "SLURM_NODEID": "1", "SLURM_STEP_NODELIST": "n[1-2]"}.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(RequestError, match="srun started a sweep on 2 nodes, but its jobs run on one"):
        train.run(["-m", "experiment=demo", "SOLVER.BASE_LR=0.1,0.2"])
