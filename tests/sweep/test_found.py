from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from launcher.config.request import BestMode
from launcher.launch.folder_lock import lock_folder
from launcher.run import codes
from launcher.run.found import find_runs
from launcher.run.outcome import Work
from launcher.run.summary import State, summarize
from launcher.sweep.found import find_sweep, find_sweeps, with_sweeps_as_one
from launcher.sweep.record import write_sweep
from launcher.sweep.values import Sweep
from tests.recorded_runs import record_run, stopped_after
from tests.sweep.examples import a_job, a_sweep
from tests.values import failed_with, finished_after

NOW = 2_000_000.0


def finished_with(value: float):
    return replace(finished_after(100), work=replace(Work.of(100), metrics={"bbox/AP": value}))


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    """Of three jobs, two of which have finished; beside a run of its own."""
    made = a_sweep(tmp_path / "demo" / "sweep-BASE_LR")
    write_sweep(made)
    for number, value in enumerate((1.0, 2.0)):
        record_run(made.folder_of(a_job(number)), finished_with(value))
    record_run(tmp_path / "demo" / "default", finished_with(9.0))
    return made


def rows_in(folder: Path):
    return with_sweeps_as_one([summarize(run, NOW) for run in find_runs(folder)], folder)


@pytest.mark.usefixtures("sweep")
def test_a_sweep_is_one_row_beside_the_runs(tmp_path: Path):
    rows = {row.folder.name: row for row in rows_in(tmp_path)}

    assert set(rows) == {"default", "sweep-BASE_LR"}
    one = rows["sweep-BASE_LR"]
    assert (one.state, one.iterations, one.total, one.jobs) == (State.planned, 2, 3, 3)
    assert (one.score.best, one.seconds) == (2.0, 2 * rows["default"].seconds)


def test_the_best_of_a_loss_is_the_smallest(sweep: Sweep, tmp_path: Path):
    write_sweep(replace(sweep, mode=BestMode.min))

    (one,) = (row for row in rows_in(tmp_path) if row.jobs)

    assert one.score.best == 1.0


@pytest.mark.parametrize(("third", "state"), [(stopped_after(5), State.stopped), (finished_with(0.0), State.finished)])
def test_a_sweep_is_at_what_is_still_to_be_done(sweep: Sweep, tmp_path: Path, third, state):
    record_run(sweep.folder_of(a_job(2)), third)

    (one,) = (row for row in rows_in(tmp_path) if row.jobs)

    assert one.state is state


def test_a_sweep_runs_while_one_job_does(sweep: Sweep, tmp_path: Path):
    with lock_folder(sweep.folder_of(a_job(0))):
        (one,) = (row for row in rows_in(tmp_path) if row.jobs)

    assert one.state is State.running


def test_a_job_that_was_archived_counts_no_more(sweep: Sweep, tmp_path: Path):
    record_run(sweep.folder / "BASE_LR=0.1.1", failed_with(codes.DIVERGED))

    (one,) = (row for row in rows_in(tmp_path) if row.jobs)

    assert (one.state, one.iterations, one.jobs, one.code) == (State.planned, 2, 3, "")


def test_the_sweep_that_is_listed_opens(sweep: Sweep):
    assert [row.folder.name for row in rows_in(sweep.folder)] == ["BASE_LR=0.1", "BASE_LR=0.2"]


@pytest.mark.parametrize("asked", ["sweep-BASE_LR", "demo/sweep-BASE_LR", "demo/sweep-BASE_LR/"])
def test_a_sweep_is_found_by_the_end_of_its_folder(sweep: Sweep, tmp_path: Path, asked: str):
    assert find_sweep(asked, tmp_path) == sweep.folder
    assert find_sweep(str(sweep.folder), Path("nowhere")) == sweep.folder


@pytest.mark.parametrize("asked", ["", "BASE_LR", "BASE_LR=0.1", "sweep-BASE_LR/BASE_LR=0.1", "default", "LR"])
@pytest.mark.usefixtures("sweep")
def test_a_run_is_no_sweep(tmp_path: Path, asked: str):
    assert find_sweep(asked, tmp_path) is None


def test_a_tilde_is_a_home_or_a_name(sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))

    assert find_sweep("sweep-BASE_LR", Path("~/demo")) == sweep.folder
    assert find_sweep("~/demo/sweep-BASE_LR", Path("nowhere")) == sweep.folder
    assert find_sweep("~nobody-here/sweep", tmp_path) is None


def test_a_name_of_two_sweeps_means_none(sweep: Sweep, tmp_path: Path):
    write_sweep(replace(sweep, folder=tmp_path / "other" / "sweep-BASE_LR"))

    assert find_sweep("sweep-BASE_LR", tmp_path) is None
    assert len(list(find_sweeps(tmp_path))) == 2
