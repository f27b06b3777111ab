from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from launcher.pool.ledger import Known, Run, Wait
from launcher.sweep.text import end_text, left_s, lines_of, title_of
from launcher.sweep.values import JobState
from launcher.sweep.watch import Watcher, live_table
from tests.recorded_runs import begin
from tests.sweep.examples import a_job, a_sweep, standing

RUNNING = standing(0, JobState.running, 1.5, iterations=20, iteration_s=0.5)


def test_what_is_left_counts_those_that_run_and_those_that_wait():
    planned = [standing(number, JobState.planned, total=None) for number in (1, 2)]

    assert RUNNING.left_s == 40.0
    assert left_s([RUNNING]) == 40.0
    assert left_s([RUNNING, *planned]) == 40.0 + 2 * 50.0
    assert left_s([RUNNING, *planned], 5) == 40.0 + 4 * 50.0, "two more that a search has not proposed yet"
    assert left_s([standing(0, value=1.0)]) is None


def test_a_title_says_how_far_the_sweep_is():
    assert title_of([RUNNING, standing(1, value=1.0), standing(2, JobState.failed)]) == (
        "2 of 3 jobs ended, 1 run; about 40 s left"
    )


@pytest.mark.parametrize(
    ("one", "text"),
    [
        (standing(0, value=1.5), "finished, bbox/AP 1.5, after 1 min"),
        (standing(0, JobState.failed), "failed [run.failed], after 1 min"),
        (standing(0, JobState.stopped, iterations=5), "stopped, after 1 min"),
    ],
)
def test_an_end_is_one_line(one, text):
    assert end_text(one) == text


def test_without_a_terminal_there_is_a_line_for_each_job_that_runs():
    assert list(lines_of([RUNNING, standing(1, JobState.running, total=None)])) == [
        "  BASE_LR=0.1  20/100, bbox/AP 1.5, about 40 s left"
    ]


def watching(**how):
    text = io.StringIO()
    watcher = Watcher(Console(file=text, width=100, **how))
    watcher.knows(a_sweep())
    return watcher, text


def test_what_need_not_run_is_said_once():
    watcher, text = watching()

    watcher.admitted([a_job(0), a_job(1), a_job(2)], [Known(value=1.0), Run(), Wait(folder=Path("x"))])

    assert text.getvalue().splitlines() == [
        "1 of 3 jobs have come to their end before",
        "job 3/3  BASE_LR=0.4  another process runs it, and is waited for",
    ]


def test_who_is_at_a_job_is_said_as_it_was_decided():
    watcher, text = watching()

    watcher.admitted([a_job(0)], [Wait(folder=Path("x"), why="is waited for: Slurm has it, as 17_1 PENDING")])

    assert text.getvalue() == "job 1/3  BASE_LR=0.1  is waited for: Slurm has it, as 17_1 PENDING\n"


def test_starts_and_ends_are_lines_that_stay():
    watcher, text = watching()

    watcher.started(a_job(1), "GPU 0")
    watcher.ended(standing(1, value=2.5))

    assert text.getvalue().splitlines() == [
        "job 2/3  BASE_LR=0.2  started on GPU 0",
        "job 2/3  BASE_LR=0.2  finished, bbox/AP 2.5, after 1 min",
    ]


def test_a_search_counts_the_jobs_that_it_will_have():
    watcher, text = watching()
    watcher.expects(30)

    watcher.started(a_job(1), "GPU 0")

    assert text.getvalue() == "job 2/30  BASE_LR=0.2  started on GPU 0\n"


def test_without_a_terminal_lines_come_once_a_minute(tmp_path: Path):
    sweep = a_sweep(tmp_path)
    begin(sweep.folder_of(a_job(0)))
    watcher, text = watching()
    watcher.started(a_job(0), "CPU")

    for now in (1000.0, 1030.0, 1061.0, 1070.0):
        watcher.look(sweep, now)

    assert [line for line in text.getvalue().splitlines() if "0/100" in line] == ["  BASE_LR=0.1  0/100"]


def test_a_job_that_is_waited_for_has_its_lines_and_its_end_too(tmp_path: Path):
    sweep = a_sweep(tmp_path)
    begin(sweep.folder_of(a_job(0)))
    watcher, text = watching()
    watcher.admitted([a_job(0)], [Wait(folder=sweep.folder_of(a_job(0)))])

    for now in (1000.0, 1061.0):
        watcher.look(sweep, now)
    watcher.ended(standing(0, value=2.5))
    watcher.look(sweep, 1200.0)

    assert text.getvalue().splitlines()[1:] == [
        "  BASE_LR=0.1  0/100",
        "job 1/3  BASE_LR=0.1  finished, bbox/AP 2.5, after 1 min",
    ]


def test_on_a_terminal_the_table_is_renewed_and_gone_at_the_end(tmp_path: Path):
    sweep = a_sweep(tmp_path)
    watcher, text = watching(force_terminal=True)

    watcher.look(sweep, 1000.0)
    shown = text.getvalue()
    watcher.close()

    assert "0 of 3 jobs ended, 0 run" in shown
    assert "BASE_LR=0.4" in shown
    assert "planned" in shown


def test_of_many_jobs_those_that_run_are_shown():
    many = [standing(a_job(number, f"0.{number}"), JobState.planned) for number in range(50)]
    table = live_table([*many, RUNNING], 51)
    text = io.StringIO()
    Console(file=text, width=120).print(table)

    assert "running" in text.getvalue().splitlines()[2]
    assert len(text.getvalue().splitlines()) == 22
