"""`launcher status`: what one run does now."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from launcher.cli import status
from launcher.cli.main import main
from launcher.launch.folder_lock import lock_folder
from launcher.launch.record import record_outcome
from launcher.run import codes
from tests.recorded_runs import beat_in, begin, record_run, started_on, stopped_after, write_metrics
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
