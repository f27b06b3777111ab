"""A run in one row, by what its folder holds."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launcher.config.values import write_json
from launcher.launch.folder_lock import lock_folder
from launcher.launch.record import record_outcome
from launcher.run import codes
from launcher.run.outcome import Ending, Outcome, Pruned, Work, WorkerResult, explain_pruned
from launcher.run.paths import RunPaths
from launcher.run.status import look_at_status
from launcher.run.submission import Submission
from launcher.run.summary import ELSEWHERE_S, Score, State, summarize, values_in
from launcher.show.runs import runs_table
from launcher.show.status import status_text
from tests.recorded_runs import (
    BEGAN,
    beat_in,
    begin,
    plan_a_run,
    record_run,
    started_on,
    stopped_after,
    with_max_iter,
    write_metrics,
)
from tests.values import CPU, failed_with, finished_after

NOW = BEGAN + 3600
PRUNED = Pruned(metric="bbox/AP", value=3.0, iterations=40, pruner="median")


@pytest.mark.parametrize(
    ("outcomes", "state", "code", "iterations"),
    [
        ([finished_after(100)], State.finished, "", 100),
        ([stopped_after(40)], State.stopped, "", 40),
        ([failed_with(codes.DIVERGED, iterations=7)], State.failed, codes.DIVERGED, 7),
        ([failed_with(codes.CRASH, iterations=7), finished_after(100)], State.finished, "", 100),
        ([stopped_after(40), failed_with(codes.HANG)], State.failed, codes.HANG, 40),
    ],
)
def test_a_run_that_ended_is_what_its_last_outcome_says(
    tmp_path: Path, outcomes: list[Outcome], state: State, code: str, iterations: int
):
    record_run(tmp_path / "run", *outcomes)

    run = summarize(tmp_path / "run", NOW)

    assert (run.state, run.code, run.iterations, run.total) == (state, code, iterations, 100)
    assert run.num_attempts == len(outcomes)


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (replace(stopped_after(40), ending=Ending.pruned), State.pruned),
        (stopped_after(40), State.pruned),
        (failed_with(codes.CRASH, iterations=40), State.pruned),
        (None, State.pruned),
        (finished_after(100), State.finished),
    ],
)
def test_a_run_that_a_search_gave_up_is_pruned_however_it_came_to_its_end(tmp_path, outcome, state):
    plan = begin(tmp_path / "run")
    write_json(plan.attempt_paths.pruned, PRUNED)
    if outcome is not None:
        record_outcome(plan, outcome)

    run = summarize(tmp_path / "run", NOW)

    assert (run.state, run.code) == (state, "")


def test_a_pruned_run_that_was_resumed_is_what_it_is_now(tmp_path: Path):
    plan = begin(tmp_path / "run")
    write_json(plan.attempt_paths.pruned, PRUNED)
    record_outcome(plan, replace(stopped_after(40), ending=Ending.pruned))
    record_outcome(begin(tmp_path / "run", 2), stopped_after(60))

    assert summarize(tmp_path / "run", NOW).state is State.stopped


def test_the_status_of_a_pruned_run_says_why_and_how_it_continues(tmp_path: Path):
    plan = begin(tmp_path / "run")
    write_json(plan.attempt_paths.pruned, PRUNED)
    record_outcome(plan, replace(stopped_after(40), ending=Ending.pruned, explanation=explain_pruned(PRUNED)))

    text = status_text(look_at_status(tmp_path / "run", NOW, lines=0), "run", NOW)

    assert "run: pruned (bbox/AP of 3 after 40 iterations was not enough for search.pruner=median)" in text
    assert "continue with: launcher resume run" in text


def test_a_run_whose_folder_is_held_runs_whatever_its_last_outcome_says(tmp_path: Path):
    record_run(tmp_path / "run", failed_with(codes.CRASH))

    with lock_folder(tmp_path / "run"):
        assert summarize(tmp_path / "run", NOW).state is State.running
    assert summarize(tmp_path / "run", NOW).state is State.failed


def test_a_run_that_was_killed_with_its_launcher_has_failed_and_does_not_run(tmp_path: Path):
    beat_in(begin(tmp_path / "run"), "training", 12, at=NOW - 1)

    run = summarize(tmp_path / "run", NOW)

    assert (run.state, run.code, run.iterations) == (State.failed, codes.KILLED, 12)


def test_a_run_whose_worker_saved_after_its_launcher_was_killed_has_stopped(tmp_path: Path):
    plan = begin(tmp_path / "run")
    write_json(plan.attempt_paths.result, WorkerResult(finished=False, stopped_by="", work=Work.of(12)))

    assert summarize(tmp_path / "run", NOW).state is State.stopped


@pytest.mark.parametrize(("silent_s", "state"), [(60, State.running), (ELSEWHERE_S + 1, State.failed)])
def test_a_run_on_another_host_runs_as_long_as_its_heart_beats(tmp_path: Path, silent_s: float, state: State):
    plan = begin(tmp_path / "run")
    started_on("node7", plan)
    beat_in(plan, "training", 12, at=NOW - silent_s)

    assert summarize(tmp_path / "run", NOW).state is state


def test_a_run_of_which_nothing_but_the_request_is_written_is_planned(tmp_path: Path):
    plan_a_run(tmp_path / "run", with_max_iter(270))

    run = summarize(tmp_path / "run", NOW)

    assert (run.state, run.iterations, run.total, run.num_attempts) == (State.planned, 0, 270, 0)


@pytest.mark.parametrize(
    ("attempts_then", "state"), [(1, State.queued), (0, State.stopped)], ids=["waits", "has begun"]
)
def test_a_run_that_a_scheduler_has_is_queued_until_its_job_begins(tmp_path: Path, attempts_then: int, state: State):
    paths = record_run(tmp_path / "run", stopped_after(40))
    write_json(paths.submission, Submission(scheduler="slurm", job_id="17", at=BEGAN, attempts=attempts_then))

    run = summarize(tmp_path / "run", NOW)

    assert (run.state, run.job) == (state, "17" if state is State.queued else "")


def test_the_duration_counts_all_attempts_and_the_time_since_a_running_one_began(tmp_path: Path):
    folder = tmp_path / "run"
    record_run(folder, replace(stopped_after(40), seconds=100.0), replace(stopped_after(50), seconds=20.0))
    assert summarize(folder, NOW).seconds == 120

    beat_in(begin(folder, attempt=3), "training", 60, at=BEGAN + 180 + 5)
    assert summarize(folder, NOW).seconds == 125  # as far as the heart is known to have beaten
    with lock_folder(folder):
        assert summarize(folder, BEGAN + 180 + 30).seconds == 150


def test_a_run_is_as_old_as_its_first_attempt(tmp_path: Path):
    record_run(tmp_path / "run", stopped_after(40), stopped_after(50))

    assert summarize(tmp_path / "run", NOW).began == BEGAN + 60


def test_several_processes_are_part_of_the_device(tmp_path: Path):
    record_run(tmp_path / "run", finished_after(1), devices=replace(CPU, kind="cuda", num_processes=2))

    assert summarize(tmp_path / "run", NOW).device == "cuda x 2"


@pytest.mark.parametrize(
    ("entries", "reported", "asked", "score"),
    [
        ([], {}, "", None),
        ([{"total_loss": 1.0}], {}, "", None),
        ([{"bbox/AP": 3.0}, {"bbox/AP": 9.0}, {"bbox/AP": 5.0}], {"bbox/AP": 5.0}, "", ("bbox/AP", 5.0, 9.0)),
        ([{"bbox/AP": 3.0, "bbox/AP-one": 70.0, "segm/AP": 80.0}], {}, "", ("bbox/AP", 3.0, 3.0)),
        ([{"bbox/AP": 3.0, "segm/AP": 8.0}], {"bbox/AP": 3.0}, "segm/AP", ("segm/AP", 8.0, 8.0)),
        ([{"a_val/bbox/AP": 4.0, "b_val/bbox/AP": 6.0}], {}, "", ("a_val/bbox/AP", 4.0, 4.0)),
        ([{"bbox/AP": 3.0}, {"bbox/AP": math.nan}], {"bbox/AP": None}, "", ("bbox/AP", None, 3.0)),
        ([{"x/AP": -1.5e-3}], {}, "x/AP", ("x/AP", -0.0015, -0.0015)),
        ([], {"bbox/AP": 7.0}, "", ("bbox/AP", 7.0, 7.0)),
    ],
)
def test_the_main_metric_is_shown_with_its_best_value(
    tmp_path: Path, entries: list[dict[str, Any]], reported: dict[str, Any], asked: str, score: tuple[Any, ...] | None
):
    paths = record_run(tmp_path / "run", finished_after(100, metrics=reported))
    write_metrics(paths, *entries)

    found = summarize(tmp_path / "run", NOW, asked).score

    assert found == (None if score is None else Score(metric=score[0], latest=score[1], best=score[2]))


def test_a_folder_of_an_earlier_version_says_as_much_as_its_plan_does(tmp_path: Path):
    attempt = RunPaths(tmp_path).attempt(1)
    attempt.folder.mkdir(parents=True)
    plan = {"detectron2": {"SOLVER": {"MAX_ITER": 30}}, "devices": {"kind": "cuda", "num_processes": 2}}
    attempt.plan.write_text(json.dumps(plan))
    first = {"ending": "finished", "exit_code": 0, "iterations": 30, "metrics": {"bbox/AP": 1.0}, "seconds": 2.0}
    attempt.outcome.write_text(json.dumps({**first, "explanation": "", "traceback": "", "cause": "none"}))

    run = summarize(tmp_path, NOW)

    assert (run.state, run.iterations, run.total, run.device) == (State.finished, 30, 30, "cuda x 2")
    assert (run.score, run.seconds) == (Score(metric="bbox/AP", latest=1.0, best=1.0), 2.0)


@pytest.mark.parametrize("text", ["", "null", "[1]", '{"at": 1}', "\0", '{"ending": "finished"}'])
def test_files_that_a_kill_left_damaged_cost_no_row(tmp_path: Path, text: str):
    paths = record_run(tmp_path / "run", finished_after(100))
    attempt = paths.attempt(1)
    for file in (attempt.started, attempt.plan, attempt.outcome, paths.request, paths.submission):
        file.write_text(text)

    run = summarize(tmp_path / "run", NOW)

    assert (run.state, run.code, run.total) == (State.failed, codes.KILLED, None)


@pytest.mark.parametrize("torn", ["4", "4.", "4.2e", "4.2e-", "-", "4.5"])
def test_a_number_of_which_a_kill_has_left_the_beginning_is_none(torn: str):
    whole = b'{"bbox/AP": 41.5, "iteration": 9}\n{"iteration": 19, "bbox/AP": 1e-05}\n'

    assert values_in(whole + f'{{"bbox/AP": {torn}'.encode(), "bbox/AP") == [41.5, 1e-05]


def test_a_submission_that_says_nothing_usable_is_none(tmp_path: Path):
    record_run(tmp_path / "run", finished_after(100))
    (tmp_path / "run" / "submission.json").write_text(
        '{"scheduler": "slurm", "job_id": "1", "at": 1, "attempts": "all"}'
    )

    assert summarize(tmp_path / "run", NOW).state is State.finished


@pytest.mark.parametrize(
    ("file", "name", "value"),
    [
        ("started.json", "at", "noon"),
        ("started.json", "at", math.nan),
        ("started.json", "at", 1e308),
        pytest.param("started.json", "at", 10**400, id="huge-at"),
        ("started.json", "device", None),
        ("outcome.json", "seconds", math.inf),
        pytest.param("outcome.json", "seconds", 10**400, id="huge-seconds"),
    ],
)
def test_a_file_with_one_value_that_cannot_be_costs_no_list(tmp_path: Path, file: str, name: str, value: Any):
    record_run(tmp_path / "run", finished_after(100))
    damaged = tmp_path / "run" / "attempts" / "1" / file
    damaged.write_text(json.dumps({**json.loads(damaged.read_text()), name: value}))

    run = summarize(tmp_path / "run", NOW)

    assert "/100" in runs_table([run], lambda _: "run", NOW)
    assert status_text(look_at_status(tmp_path / "run", NOW, 5), "run", NOW)
