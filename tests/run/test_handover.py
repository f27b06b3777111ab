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

from launcher.run.handover import Worker, early_worker, wait_for_plan

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
        until = time.monotonic() + 60
        # For a moment after it has started the kernel has no command line to show.
        while not (command := Path(f"/proc/{worker.process.pid}/cmdline").read_text()) and time.monotonic() < until:
            time.sleep(0.01)

    assert str(tmp_path) in command


def test_it_serves_an_environment_that_differs_only_in_what_is_read_later(tmp_path: Path):
    with early_worker(ENVIRON, tmp_path) as worker:
        assert worker.serves({**ENVIRON, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"})
        assert not worker.serves({**ENVIRON, "LD_LIBRARY_PATH": "/mask"})
        assert not worker.serves({name: value for name, value in ENVIRON.items() if name != "KEPT"})
        os.kill(worker.process.pid, signal.SIGKILL)
        worker.process.wait()
        assert not worker.serves(ENVIRON)


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
        ours.sendall(json.dumps({"plan": "p", "environment": {}, "launcher": os.getpid()}).encode())

    assert wait_for_plan(theirs.detach()) is None
