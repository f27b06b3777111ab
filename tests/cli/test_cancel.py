"""`launcher cancel`: a run is stopped wherever it runs, or it is said who can do it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from launcher.cli.main import main
from launcher.config.values import write_json
from launcher.run.fence import Fence
from launcher.run.paths import RunPaths
from launcher.run.submission import Submission
from launcher.sweep.record import write_sweep
from tests.conftest import REPOSITORY
from tests.recorded_runs import beat_in, begin, plan_a_run, record_run, started_on, stopped_after
from tests.sweep.examples import a_sweep
from tests.values import finished_after

LAUNCHER = """
import signal, sys, time
from pathlib import Path
from launcher.launch.folder_lock import lock_folder
from tests.recorded_runs import begin, stopped_after
from launcher.launch.record import record_outcome

asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(True))
folder = Path(sys.argv[1])
with lock_folder(folder):
    plan = begin(folder)
    print("holds", flush=True)
    while not asked:
        time.sleep(0.01)
    record_outcome(plan, stopped_after(40))
"""
CONTROLLER = """
import signal, sys
from pathlib import Path
from launcher.launch.folder_lock import lock_folder

with lock_folder(Path(sys.argv[1])):
    print("holds", flush=True)
    signal.pause()
"""
ORPHAN = """
import os, sys
from pathlib import Path
from launcher.launch.folder_lock import lock_folder

with lock_folder(Path(sys.argv[1])) as lock:
    if os.fork():
        os._exit(0)
    os.setsid()
    print(os.getpid(), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "outputs"


@contextmanager
def running(program: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    folder.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", program, str(folder), "launcher.train"]
    process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()  # closes its input, for which an orphan waits


def test_a_run_on_this_host_is_asked_to_stop_and_waited_for(outputs: Path, capsys: pytest.CaptureFixture[str]):
    with running(LAUNCHER, outputs / "demo/now") as launcher:
        assert launcher.stdout is not None
        assert launcher.stdout.readline() == "holds\n"

        assert main(["cancel", "now"]) == 0

        assert launcher.wait(60) == 0
    text = capsys.readouterr().out
    assert f"asked process {launcher.pid}, the launcher, to stop" in text
    assert "demo/now is stopped at iteration 40/100. Continue with: launcher resume demo/now" in text


def test_the_worker_of_a_launcher_that_died_is_asked_itself(outputs: Path, capsys: pytest.CaptureFixture[str]):
    folder = outputs / "demo/orphan"
    begin(folder)
    with running(ORPHAN, folder) as launcher:
        assert launcher.stdout is not None
        worker = int(launcher.stdout.readline())
        launcher.wait(60)
        write_json(RunPaths(folder).fence, Fence(attempt=1, token="t", host=socket.gethostname(), process=worker))

        assert main(["cancel", "orphan"]) == 0

        assert f"asked process {worker}, the worker of a launcher that has died, to stop" in capsys.readouterr().out


def test_no_other_process_is_taken_for_the_worker_of_a_launcher_that_died(
    outputs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    folder = outputs / "demo/orphan"
    begin(folder)
    monkeypatch.setattr(os, "kill", _refuse_to_kill(os.kill))
    with running(ORPHAN, folder) as launcher:
        assert launcher.stdout is not None
        launcher.stdout.readline()
        launcher.wait(60)
        write_json(RunPaths(folder).fence, Fence(attempt=1, token="t", host=socket.gethostname(), process=os.getpid()))

        assert main(["cancel", "orphan"]) == 1

    assert "held by a process that its lock does not name" in capsys.readouterr().err


def test_a_process_that_the_lock_names_and_that_does_not_hold_it_is_left_alone(
    outputs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """Its number was given out again, or a container counts its processes for itself."""
    folder = outputs / "demo/orphan"
    begin(folder)
    monkeypatch.setattr(os, "kill", _refuse_to_kill(os.kill))
    with running(ORPHAN, folder) as launcher:
        assert launcher.stdout is not None
        launcher.stdout.readline()
        launcher.wait(60)
        RunPaths(folder).lock.write_text(f"process {os.getppid()} on {socket.gethostname()}\n")

        assert main(["cancel", "orphan"]) == 1

    assert "held by a process that its lock does not name" in capsys.readouterr().err


def _refuse_to_kill(kill: Callable[[int, int], None]) -> Callable[[int, int], None]:
    def ask_only(process: int, number: int) -> None:
        assert number == 0, f"process {process} would have got signal {number}"
        kill(process, number)

    return ask_only


@pytest.mark.parametrize(("outcome", "state"), [(finished_after(100), "finished"), (stopped_after(40), "stopped")])
def test_a_run_that_does_not_run_is_left_alone(
    outputs: Path, capsys: pytest.CaptureFixture[str], outcome: object, state: str
):
    record_run(outputs / "demo/done", outcome)  # type: ignore[arg-type]

    assert main(["cancel", "done"]) == 0

    assert capsys.readouterr().out == f"demo/done does not run: it is {state}\n"


def test_a_run_on_another_host_is_answered_with_the_command_that_stops_it(
    outputs: Path, capsys: pytest.CaptureFixture[str]
):
    plan = begin(outputs / "demo/far")
    started_on("node7", plan)
    beat_in(plan, "training", 40, at=time.time())

    assert main(["cancel", "far"]) == 1

    assert f"Stop it there: ssh node7 kill {os.getpid()}" in capsys.readouterr().err


@pytest.fixture
def scancel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A scheduler's command that notes how it was called, and refuses job 13."""
    tool, calls = tmp_path / "bin" / "scancel", tmp_path / "calls"
    tool.parent.mkdir()
    tool.write_text(f'#!/bin/sh\necho "$@" >> {calls}\n[ "$1" != 13 ] || {{ echo "Invalid job id" >&2; exit 1; }}\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    return calls


def queue(folder: Path, job: str) -> RunPaths:
    paths = plan_a_run(folder)
    write_json(paths.submission, Submission(scheduler="slurm", job_id=job, at=1.0, attempts=0))
    return paths


def test_a_run_in_a_queue_is_taken_out_of_it(outputs: Path, scancel: Path, capsys: pytest.CaptureFixture[str]):
    queue(outputs / "demo/waits", "17")

    assert main(["cancel", "waits"]) == 0

    assert scancel.read_text() == "17\n"
    assert "demo/waits is planned at iteration 0/100. Continue with: launcher resume" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("queued", "is_cancelled"), [("19|RUNNING|None|{run}", True), ("19|RUNNING|None|/another", False), ("", False)]
)
def test_a_job_that_runs_on_this_host_is_cancelled_by_its_scheduler_which_would_requeue_it(
    outputs: Path, scancel: Path, queued: str, is_cancelled: bool
):
    """One that is over is not: then somebody has resumed the run by hand."""
    squeue = scancel.parent / "bin/squeue"
    folder = outputs / "demo/now"
    squeue.write_text(f"#!/bin/sh\necho '{queued.format(run=folder)}'\n")
    squeue.chmod(0o755)
    with running(LAUNCHER, folder) as launcher:
        assert launcher.stdout is not None
        launcher.stdout.readline()
        submission = Submission(scheduler="slurm", job_id="19", at=1.0, attempts=0)
        write_json(RunPaths(folder).submission, submission)

        assert main(["cancel", "now", "--wait=0.5"]) == 0

    assert scancel.exists() is is_cancelled


def test_a_run_whose_job_may_wait_is_not_said_to_be_at_rest_while_squeue_does_not_answer(
    outputs: Path, scancel: Path, capsys: pytest.CaptureFixture[str]
):
    """It was requeued, for example."""
    paths = record_run(outputs / "demo/stopped", stopped_after(40))
    write_json(paths.submission, Submission(scheduler="slurm", job_id="17", at=1.0, attempts=0))
    squeue = scancel.parent / "bin/squeue"
    squeue.write_text("#!/bin/sh\nexit 1\n")
    squeue.chmod(0o755)

    assert main(["cancel", "stopped"]) == 1

    said = capsys.readouterr()
    assert "demo/stopped is stopped by its folder. squeue does not answer" in said.err
    assert said.err.endswith("Type the command again once it answers, or: scancel 17\n")
    assert not scancel.exists()


def test_a_job_on_another_host_is_cancelled_by_its_scheduler(outputs: Path, scancel: Path):
    plan = begin(outputs / "demo/far")
    started_on("node7", plan)
    started = plan.attempt_paths.started
    started.write_text(json.dumps({**json.loads(started.read_text()), "scheduler": "slurm", "job_id": "19"}))
    beat_in(plan, "training", 40, at=time.time())

    assert main(["cancel", "far", "--wait=0"]) == 0

    assert scancel.read_text() == "19\n"


@pytest.mark.usefixtures("scancel")
def test_what_the_scheduler_answers_is_shown(outputs: Path, capsys: pytest.CaptureFixture[str]):
    paths = queue(outputs / "demo/waits", "13")

    assert main(["cancel", "waits"]) == 1

    assert "scancel 13 failed: Invalid job id" in capsys.readouterr().err
    assert paths.submission.exists()


def test_without_a_scheduler_here_the_command_is_named(
    outputs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    queue(outputs / "demo/waits", "17")
    monkeypatch.setenv("PATH", "/nowhere")

    assert main(["cancel", "waits"]) == 2

    assert "On a host of that cluster: scancel 17" in capsys.readouterr().err


def test_a_sweep_is_stopped_by_ending_whoever_runs_it(outputs: Path, capsys: pytest.CaptureFixture[str]):
    sweep = a_sweep(outputs / "demo" / "sweep-BASE_LR")
    write_sweep(sweep)
    with running(CONTROLLER, sweep.folder) as controller:
        assert controller.stdout is not None
        assert controller.stdout.readline() == "holds\n"

        assert main(["cancel", "sweep-BASE_LR"]) == 0

        assert controller.wait(timeout=10) == -signal.SIGTERM
    said = capsys.readouterr().out
    assert f"asked process {controller.pid}, the launcher, which runs the sweep, to end" in said
    assert f"0 of 3 jobs ended, 0 run. Continue with: {sweep.command}" in said


def test_a_job_that_outlived_an_earlier_controller_is_stopped_once_the_one_that_waits_for_it_has_ended(
    outputs: Path, capsys: pytest.CaptureFixture[str]
):
    sweep = a_sweep(outputs / "demo" / "sweep-BASE_LR")
    write_sweep(sweep)
    job = sweep.folder_of(sweep.jobs[0])
    with running(LAUNCHER, job) as launcher, running(CONTROLLER, sweep.folder) as controller:
        for process in (launcher, controller):
            assert process.stdout is not None
            assert process.stdout.readline() == "holds\n"

        assert main(["cancel", "sweep-BASE_LR"]) == 0

        assert (controller.wait(timeout=10), launcher.wait(timeout=10)) == (-signal.SIGTERM, 0)
    said = capsys.readouterr().out
    assert said.index(f"asked process {controller.pid}") < said.index(f"asked process {launcher.pid}")


def test_a_sweep_that_another_host_runs_is_answered_with_the_command_that_stops_it(
    outputs: Path, capsys: pytest.CaptureFixture[str]
):
    sweep = a_sweep(outputs / "demo" / "sweep-BASE_LR")
    write_sweep(sweep)
    with running(CONTROLLER, sweep.folder) as controller:
        assert controller.stdout is not None
        controller.stdout.readline()
        RunPaths(sweep.folder).lock.write_text("process 1234 on node7\n")

        assert main(["cancel", "sweep-BASE_LR"]) == 1

        assert controller.poll() is None
    assert "Stop it there: ssh node7 kill 1234" in capsys.readouterr().err


def test_a_sweep_that_nobody_runs_is_not_cancelled(outputs: Path, capsys: pytest.CaptureFixture[str]):
    write_sweep(a_sweep(outputs / "demo" / "sweep-BASE_LR"))

    assert main(["cancel", "sweep-BASE_LR"]) == 0

    assert capsys.readouterr().out == "demo/sweep-BASE_LR does not run: 0 of 3 jobs ended, 0 run\n"
