from __future__ import annotations

import math
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.launch.folder_lock import lock_folder
from launcher.run import codes
from launcher.run.outcome import Ending, Fault, Work
from launcher.sweep.naming import SEED
from launcher.sweep.standing import standing_of, standings
from launcher.sweep.values import Job, JobState
from tests.recorded_runs import begin, record_run, stopped_after, write_metrics
from tests.sweep.examples import a_job, a_sweep
from tests.values import failed_with, finished_after

NOW = 2_000_000.0


def finished_with(**metrics: float):
    names = {name.replace("_", "/"): value for name, value in metrics.items()}
    return replace(finished_after(100), work=replace(Work.of(100), metrics=names))


def test_a_job_without_a_folder_is_planned(tmp_path: Path):
    one = standing_of(a_sweep(tmp_path), a_job(), NOW)

    assert (one.state, one.value, one.total) == (JobState.planned, None, None)


def test_a_finished_job_has_its_metrics_without_what_is_no_number(tmp_path: Path):
    record_run(tmp_path / a_job().folder, finished_with(bbox_AP=41.5, segm_AP=math.nan))

    one = standing_of(a_sweep(tmp_path), a_job(), NOW)

    assert (one.state, one.iterations, one.total) == (JobState.finished, 100, 100)
    assert (one.metric, one.value, dict(one.metrics)) == ("bbox/AP", 41.5, {"bbox/AP": 41.5})


def test_the_metric_that_is_asked_for_counts(tmp_path: Path):
    record_run(tmp_path / a_job().folder, finished_with(bbox_AP=41.5, segm_AP=30.0))

    one = standing_of(a_sweep(tmp_path, metric="segm/AP"), a_job(), NOW)

    assert (one.metric, one.value) == ("segm/AP", 30.0)


def test_jobs_are_compared_by_one_metric(tmp_path: Path):
    first, other = a_job(0), a_job(1)
    record_run(tmp_path / first.folder, finished_with(bbox_AP=4.0))
    record_run(tmp_path / other.folder, finished_with(segm_AP=60.0))

    found = standings(a_sweep(tmp_path, jobs=(first, other)), NOW)

    assert [(one.metric, one.value) for one in found] == [("bbox/AP", 4.0), ("segm/AP", None)]


def test_a_job_that_somebody_is_at_runs_and_says_how_fast(tmp_path: Path):
    plan = begin(tmp_path / a_job().folder)
    write_metrics(plan.paths, {"iteration": 19, "time": 0.5, "total_loss": 1.0})

    with lock_folder(plan.paths.folder):
        one = standing_of(a_sweep(tmp_path), a_job(), NOW)

    assert (one.state, one.iteration_s) == (JobState.running, 0.5)
    assert one.left_s == 50.0


def test_an_interrupted_job_is_stopped(tmp_path: Path):
    record_run(tmp_path / a_job().folder, stopped_after(40))

    one = standing_of(a_sweep(tmp_path), a_job(), NOW)

    assert (one.state, one.iterations) == (JobState.stopped, 40)


def test_a_job_that_was_killed_without_a_word_failed_and_may_end_otherwise(tmp_path: Path):
    begin(tmp_path / a_job().folder)

    one = standing_of(a_sweep(tmp_path), a_job(), NOW)

    assert (one.state, one.code, one.would_fail_again) == (JobState.failed, codes.KILLED, False)


EARLY = Fault(rank=0, stage="building", cuda_code=None, traceback="", kind="ValueError", place="a.py:f")


@pytest.mark.parametrize(
    ("code", "fault", "iterations", "again"),
    [
        (codes.DIVERGED, replace(EARLY, kind="", place=""), 7, True),
        (codes.FAILED, EARLY, None, True),
        (codes.FAILED, EARLY, 7, False),
        (codes.FAILED, replace(EARLY, place=""), None, False),
        (codes.KILLED, EARLY, None, False),
        (codes.OUT_OF_MEMORY, EARLY, 7, False),
        (codes.DISK_FULL, EARLY, 7, False),
    ],
)
def test_which_failures_would_come_again(tmp_path: Path, code: str, fault: Fault, iterations: int | None, again: bool):
    outcome = replace(failed_with(code), ending=Ending.failed, fault=fault, work=Work.of(iterations))
    record_run(tmp_path / a_job().folder, outcome)

    one = standing_of(a_sweep(tmp_path), a_job(), NOW)

    assert (one.state, one.code, one.would_fail_again) == (JobState.failed, code, again)


@pytest.mark.slow
def test_what_is_left_of_a_thousand_jobs_is_known_in_half_a_second(tmp_path: Path):
    jobs = tuple(Job(number=n, overrides=(f"{SEED}={n}",), folder=f"SEED={n}") for n in range(1000))
    first = record_run(tmp_path / jobs[0].folder, finished_with(bbox_AP=1.0))
    for job in jobs[1:]:
        shutil.copytree(first.folder, tmp_path / job.folder)
    sweep = a_sweep(tmp_path, jobs=jobs)
    standings(sweep, NOW)

    took = []
    for _ in range(3):
        began = time.process_time()
        found = standings(sweep, NOW)
        took.append(time.process_time() - began)

    assert len(found) == 1000
    assert min(took) < 0.5
