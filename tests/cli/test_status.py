"""`launcher status`: what one run does now."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.cli import status
from launcher.cli.main import main
from launcher.cluster.slurm_queue import SlurmQueue
from launcher.config.values import write_json
from launcher.launch.folder_lock import lock_folder
from launcher.launch.record import record_outcome
from launcher.run import codes
from launcher.run.submission import Submission
from launcher.sweep.record import write_sweep
from tests.recorded_runs import beat_in, begin, record_run, started_on, stopped_after, write_metrics
from tests.sweep.examples import a_job, a_sweep
from tests.values import failed_with, finished_after

ENTRIES = [{"time": 2.0, "data_time": 0.5, "total_loss": 1.25, "iteration": i} for i in range(5)]


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "outputs"


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["status", *arguments]) == 0
    return capsys.readouterr().out


def test_a_running_run_says_what_it_does_and_how_long_it_takes(outputs: Path, capsys: pytest.CaptureFixture[str]):
    record_run(outputs / "demo/now", failed_with(codes.CRASH, iterations=10))
    plan = begin(outputs / "demo/now", attempt=2)
    beat_in(plan, "training", 40, at=time.time())
    write_metrics(plan.paths, *ENTRIES)
    plan.attempt_paths.log(0).write_text("first\n\nsecond\nthird\n")

    with lock_folder(plan.paths.folder):
        text = shown(capsys, "now", "--lines=2")

    assert "demo/now: running\n" in text
    assert "iteration   40/100, 2 min left" in text
    assert "2 s per iteration, 25% of it waiting for data, loss 1.25" in text
    assert "now         training, by process" in text
    assert "\nsecond\nthird" in text
    assert "first" not in text
    rows = [line.split() for line in text.splitlines() if line[:1].isdigit()]
    assert [(row[0], row[-1]) for row in rows] == [("1", "[run.crash]"), ("2", "running")]


def test_a_run_that_stopped_says_why_and_how_to_continue(outputs: Path, capsys: pytest.CaptureFixture[str]):
    record_run(outputs / "demo/a,b=1", stopped_after(40))

    text = shown(capsys, "a,b=1")

    assert "demo/a,b=1: stopped (asked to stop)" in text
    assert text.endswith("continue with: launcher resume demo/a,b=1\n")
    assert "left" not in text


def test_a_run_without_an_outcome_says_that_it_was_killed(outputs: Path, capsys: pytest.CaptureFixture[str]):
    beat_in(begin(outputs / "demo/killed"), "training", 40, at=time.time())

    text = shown(capsys, "killed")

    assert "failed [run.killed] (killed, without an outcome: its launcher was killed, or the machine went down)" in text


def test_a_run_on_another_host_names_it(outputs: Path, capsys: pytest.CaptureFixture[str]):
    plan = begin(outputs / "demo/far")
    started_on("node7", plan)
    beat_in(plan, "evaluation", 40, at=time.time())

    text = shown(capsys, "far")

    assert "now         evaluation, by process" in text
    assert "on node7" in text


def test_a_program_gets_the_attempts_with_their_ends(outputs: Path, capsys: pytest.CaptureFixture[str]):
    record_run(outputs / "demo/two", failed_with(codes.CRASH, iterations=10), finished_after(100))

    plain = json.loads(shown(capsys, "two", "--json"))

    assert [attempt["end"]["code"] for attempt in plain["attempts"]] == [codes.CRASH, ""]
    assert (plain["state"], plain["num_attempts"], plain["eta_seconds"]) == ("finished", 2, None)


def test_following_ends_with_the_run(
    outputs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    plan = begin(outputs / "demo/now")
    beat_in(plan, "training", 40, at=time.time())
    monkeypatch.setattr(status, "LOOK_EVERY_S", 0.02)

    def train() -> None:
        with lock_folder(plan.paths.folder):
            begun.set()
            time.sleep(0.3)
            beat_in(plan, "training", 50, at=time.time())
            time.sleep(0.3)
            record_outcome(plan, finished_after(100))

    begun = threading.Event()
    trainer = threading.Thread(target=train)
    trainer.start()
    assert begun.wait(60)
    text = shown(capsys, "now", "--follow")
    trainer.join()

    assert "running: training  iteration 40/100" in text
    assert "running: training  iteration 50/100" in text
    assert text.count("demo/now: finished") == 1


Squeue = Callable[..., None]
PENDING = "17|PENDING|BeginTime"
GONE = ""


@pytest.fixture
def squeue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Squeue:
    """A squeue that says one text after the other, and then the last one; where it is None, it cannot ask Slurm."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(status, "LOOK_EVERY_S", 0.02)
    place = tmp_path / "squeue"

    def says(*texts: str | None) -> None:
        place.mkdir()
        for asked, text in enumerate(texts, start=1):
            (place / f"{asked}").write_text(f"{text}\n") if text is not None else None
        command = tmp_path / "bin/squeue"
        command.parent.mkdir()
        command.write_text(
            f"#!/bin/sh\ncd {place}; echo >> asked; asked=$(/usr/bin/wc -l < asked)\n"
            f"[ $asked -lt {len(texts)} ] || asked={len(texts)}\n"
            "[ -f $asked ] || { echo 'error: Unable to contact slurm controller' >&2; exit 1; }\n/bin/cat $asked\n"
        )
        command.chmod(0o755)

    return says


def submitted_and_stopped(folder: Path, job: str = "17") -> Path:
    paths = record_run(folder, stopped_after(40))
    started = json.loads(paths.attempt(1).started.read_text())
    write_json(paths.attempt(1).started, {**started, "scheduler": "slurm", "job_id": job})
    write_json(paths.submission, Submission(scheduler="slurm", job_id=job, at=time.time(), attempts=0))
    return folder


def test_a_requeued_run_is_followed_although_squeue_fails_meanwhile(
    outputs: Path, squeue: Squeue, capsys: pytest.CaptureFixture[str]
):
    folder = submitted_and_stopped(outputs / "demo/now")
    squeue(f"{PENDING}|{folder}", None, None, f"{PENDING}|{folder}", GONE)

    text = shown(capsys, "now", "--follow")

    assert [line for line in text.splitlines() if "  iteration 40/100" in line] == [
        "queued  iteration 40/100",
        "stopped  iteration 40/100  squeue does not answer",
        "queued  iteration 40/100",
    ]
    assert text.endswith("continue with: launcher resume demo/now\n")


def test_a_run_is_followed_while_its_job_starts_once_more_and_has_not_begun_to_train(
    outputs: Path, squeue: Squeue, capsys: pytest.CaptureFixture[str]
):
    folder = submitted_and_stopped(outputs / "demo/now")
    squeue(f"{PENDING}|{folder}", f"17|RUNNING|None|{folder}", f"{PENDING}|{folder}", GONE)

    text = shown(capsys, "now", "--follow")

    assert [line for line in text.splitlines() if "  iteration 40/100" in line] == [
        "queued  iteration 40/100",
        "stopped  iteration 40/100",
        "queued  iteration 40/100",
    ]


def test_a_run_about_which_slurm_never_answers_is_shown_so_and_followed_by_its_record(
    outputs: Path, squeue: Squeue, capsys: pytest.CaptureFixture[str]
):
    submitted_and_stopped(outputs / "demo/now")
    squeue(None)

    text = shown(capsys, "now", "--follow")

    assert text.startswith("demo/now: stopped (asked to stop)\n")
    assert "job         17, squeue does not answer" in text
    assert "stopped  iteration" not in text


def test_a_sweep_is_followed_although_squeue_fails_meanwhile(
    outputs: Path, squeue: Squeue, capsys: pytest.CaptureFixture[str]
):
    sweep = a_sweep(outputs, jobs=(a_job(0),))
    write_sweep(sweep)
    submitted_and_stopped(sweep.folder_of(a_job(0)), job="17_1")
    squeue(f"17_1|PENDING|BeginTime|{sweep.folder}", None, f"17_1|RUNNING|None|{sweep.folder}", GONE)

    status.follow_sweep(sweep, SlurmQueue(every_s=0.0))

    assert capsys.readouterr().out.splitlines() == [
        "0 of 1 jobs ended, 0 run, 1 in the queue",
        "0 of 1 jobs ended, 0 run; squeue does not answer",
        "0 of 1 jobs ended, 0 run",
    ]


def test_a_sweep_about_which_slurm_does_not_answer_says_so(
    outputs: Path, squeue: Squeue, capsys: pytest.CaptureFixture[str]
):
    sweep = a_sweep(outputs / "demo/sweep-x", jobs=(a_job(0),))
    write_sweep(sweep)
    submitted_and_stopped(sweep.folder_of(a_job(0)), job="17_1")
    squeue(None)

    assert "squeue does not answer, so which of its jobs Slurm has is unknown" in shown(capsys, "sweep-x")
