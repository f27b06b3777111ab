from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from launcher.run import handover
from launcher.run.handover import FIRST, TRAIN, WAITING, Worker, early_worker, wait_for_plan
from tests.conftest import REPOSITORY
from tests.orphans import seconds_until_they_end

ENVIRON = {**os.environ, "KEPT": "1"}


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def test_one_that_is_not_needed_ends_with_the_block(tmp_path: Path):
    with early_worker(ENVIRON, tmp_path) as worker:
        pid = worker.process.pid
        assert not gone(pid)

    assert gone(pid)


def test_it_names_the_runs_folder_to_whoever_looks_at_processes(tmp_path: Path):
    with early_worker(ENVIRON, tmp_path) as worker:
        assert str(tmp_path) in command_of(worker)


def command_of(worker: Worker) -> str:
    until = time.monotonic() + 60
    # For a moment after it has started the kernel has no command line to show.
    while not (command := Path(f"/proc/{worker.process.pid}/cmdline").read_text()) and time.monotonic() < until:
        time.sleep(0.01)
    return command


def test_it_serves_an_environment_that_differs_only_in_what_is_read_later(tmp_path: Path):
    with early_worker(ENVIRON, tmp_path) as worker:
        assert worker.serves({**ENVIRON, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"})
        assert not worker.serves({**ENVIRON, "LD_LIBRARY_PATH": "/mask"})
        assert not worker.serves({name: value for name, value in ENVIRON.items() if name != "KEPT"})
        os.kill(worker.process.pid, signal.SIGKILL)
        worker.process.wait()
        assert not worker.serves(ENVIRON)


def test_it_serves_the_folder_in_which_it_was_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with early_worker(ENVIRON, tmp_path) as worker:
        monkeypatch.chdir(tmp_path)
        assert not worker.serves(ENVIRON)


def start_first() -> Worker:
    return Worker(ENVIRON, None)


def test_the_first_one_is_taken_where_it_serves(tmp_path: Path):
    with FIRST.started(start_first):
        with early_worker(ENVIRON, tmp_path) as worker, early_worker(ENVIRON, tmp_path) as another:
            assert WAITING in command_of(worker)
            assert str(tmp_path) in command_of(another)
        assert gone(worker.process.pid)


def test_the_first_one_is_ended_where_something_else_was_composed(tmp_path: Path):
    with FIRST.started(start_first):
        first = FIRST._waiting
        assert first is not None
        with early_worker({**ENVIRON, "DETECTRON2_DATASETS": "/elsewhere"}, tmp_path) as worker:
            assert worker is not first
            assert gone(first.process.pid)


def test_the_first_one_ends_with_the_block_when_nobody_takes_it():
    with FIRST.started(start_first):
        first = FIRST._waiting
        assert first is not None
    assert gone(first.process.pid)


def test_where_no_process_can_be_started_the_one_that_is_needed_says_so(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(handover.subprocess, "Popen", refuse)
    with FIRST.started(start_first):
        assert FIRST.take() is None


STARTS_ONE = """
import os, time
from launcher.run.handover import Worker
worker = Worker(os.environ, None)
time.sleep(60)
"""
IMPORTS_FOR_LONG = """
import time
print("importing", flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for a signal at the parent's death")
def test_one_that_has_no_plan_yet_ends_at_once_with_its_launcher(tmp_path: Path):
    (tmp_path / "torch.py").write_text(IMPORTS_FOR_LONG)
    path = os.pathsep.join((str(tmp_path), str(REPOSITORY)))
    environ = {**os.environ, "PYTHONPATH": path}
    launcher = subprocess.Popen([sys.executable, "-c", STARTS_ONE], stdout=subprocess.PIPE, env=environ, text=True)
    assert launcher.stdout is not None
    assert launcher.stdout.readline() == "importing\n"

    assert seconds_until_they_end(launcher) < 30


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux who a process's parent is")
def test_one_whose_launcher_died_while_it_was_starting_imports_nothing(tmp_path: Path):
    (tmp_path / "torch.py").write_text("import os; print('importing', flush=True); os._exit(0)")
    path = os.pathsep.join((str(tmp_path), str(REPOSITORY)))
    died = subprocess.Popen([sys.executable, "-c", ""])
    died.wait()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        done = subprocess.run(
            [*TRAIN, str(theirs.fileno()), str(died.pid), "folder"],
            env={**os.environ, "PYTHONPATH": path},
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
            capture_output=True,
            text=True,
            check=False,
        )

    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux tells of processes")
def test_whoever_watches_a_worker_says_so_to_whoever_looks_at_processes(tmp_path: Path):
    with early_worker(ENVIRON, tmp_path) as worker:
        children = Path(f"/proc/{worker.process.pid}/task/{worker.process.pid}/children")
        until = time.monotonic() + 60
        shown = ""
        while "(watches" not in shown and time.monotonic() < until:
            time.sleep(0.01)
            shown = "".join(Path(f"/proc/{child}/cmdline").read_text() for child in children.read_text().split())

        assert f"(watches process {worker.process.pid})" in shown
        assert str(tmp_path) not in shown


SHOWS = """
import sys
from pathlib import Path
from launcher.run.handover import wait_for_plan
wait_for_plan(int(sys.argv[1]))
print(Path("/proc/self/cmdline").read_text())
"""


def test_the_first_one_names_the_folder_once_it_has_a_plan(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    worker = Worker(ENVIRON, None, [sys.executable, "-c", SHOWS])
    worker.folder = tmp_path
    worker.begin(Path("plan.json"), ENVIRON, [])
    worker.process.wait(60)

    shown = capfd.readouterr().out
    assert str(tmp_path) in shown
    assert WAITING not in shown


WAITS = """
import json, os, sys
from launcher.run.handover import wait_for_plan
plan = wait_for_plan(int(sys.argv[1]))
held = [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd") if int(number) > 2]
print(json.dumps([str(plan), dict(os.environ), held]))
"""


def test_it_gets_plan_environment_and_open_files_however_long_the_environment(tmp_path: Path, capfd: Any):
    worker = Worker(ENVIRON, tmp_path, [sys.executable, "-c", WAITS])
    with open(tmp_path / "lock", "w") as lock:
        worker.begin(Path("plan.json"), {"LONG": "x" * 300_000}, [lock.fileno()])
    worker.process.wait(60)
    worker.dismiss()

    plan, environment, held = json.loads(capfd.readouterr().out)
    assert plan == "plan.json"
    assert environment == {"LONG": "x" * 300_000}
    assert str(tmp_path / "lock") in held


def test_it_ends_when_its_launcher_dies():
    code = (
        "import os, sys, time; from pathlib import Path; from launcher.run.handover import Worker;"
        "print(Worker(os.environ, Path('.')).process.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    pid = int(done.stdout)

    until = time.monotonic() + 60
    while not gone(pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert gone(pid)


def test_one_whose_launcher_has_died_gets_no_plan():
    ours, theirs = socket.socketpair()
    with ours:
        ours.sendall(json.dumps({"plan": "p", "environment": {}, "launcher": os.getpid(), "folder": "f"}).encode())

    assert wait_for_plan(theirs.detach()) is None
