"""Workers that are forked from a process that has imported what they need."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks are for Linux")

ABOVE = Path(__file__).parent.parent.parent
JOB = """
import json, logging, os, signal, sys, time, types
from pathlib import Path
from launcher.forking import WARM
from launcher.run.handover import Worker, early_worker, wait_for_plan

def look(channel, folder):
    plan = wait_for_plan(channel)
    held = [os.path.realpath(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd") if int(n) > 2]
    Path(folder, "seen.json").write_text(json.dumps([str(plan), dict(os.environ), held, os.getpid(), os.getsid(0)]))
    return 7

module = types.ModuleType("imports_all"); module.work_forked = look
sys.modules["imports_all"] = module
os.environ["READ"] = "1"
WARM.note("imports_all")
folder = Path(sys.argv[1])
"""


def run(folder: Path, code: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", JOB + code, str(folder)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ABOVE)},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_it_gets_plan_environment_and_open_files_as_a_started_one_does(tmp_path: Path):
    code = """
with early_worker(os.environ, folder) as worker, open(folder / "lock", "w") as lock:
    assert worker.serves({**os.environ, "CUDA_VISIBLE_DEVICES": ""})
    worker.begin(Path("plan.json"), {"NEW": "x" * 100_000}, [lock.fileno()])
    print(json.dumps([worker.is_forked, worker.process.pid, worker.process.wait(60)]))
"""
    is_forked, pid, status = run(tmp_path, code)
    plan, environ, held, own, session = json.loads((tmp_path / "seen.json").read_text())

    assert (is_forked, status) == (True, 7)
    assert (plan, environ) == ("plan.json", {"NEW": "x" * 100_000})
    assert str(tmp_path / "lock") in held
    assert own == session == pid


def test_one_that_is_not_needed_ends_with_the_block(tmp_path: Path):
    code = """
with early_worker(os.environ, folder) as worker:
    before = worker.process.poll()
print(json.dumps([before, worker.process.poll()]))
"""
    assert run(tmp_path, code) == [None, -9]


@pytest.mark.parametrize(
    "condition",
    [
        'os.environ["READ"] = "2"',
        'os.environ["OMP_NUM_THREADS"] = "17"',
        "import threading; threading.Thread(target=time.sleep, args=(3,)).start()",
        "WARM.environ = None",
    ],
    ids=["another value was read", "threads were counted", "a thread would be missing", "nothing was imported"],
)
def test_one_is_started_where_a_fork_would_not_be_the_same(tmp_path: Path, condition: str):
    code = f"""
{condition}
with early_worker(os.environ, folder) as worker:
    print(json.dumps(worker.is_forked))
"""
    assert run(tmp_path, code) is False


def test_it_serves_no_plan_of_several_processes(tmp_path: Path):
    code = """
with early_worker(os.environ, folder) as worker:
    print(json.dumps([worker.serves(os.environ), worker.serves(os.environ, num_processes=2)]))
"""
    assert run(tmp_path, code) == [True, False]


def test_a_signal_that_comes_before_it_has_handlers_is_not_lost(tmp_path: Path):
    code = """
def note(channel, folder):
    time.sleep(0.5)
    signal.signal(signal.SIGTERM, lambda *_: Path(folder, "heard").touch())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    time.sleep(0.1)
    return 0

module.work_forked = note
signal.signal(signal.SIGTERM, lambda *_: sys.exit("not ours"))
worker = Worker(os.environ, folder)
worker.process.send_signal(signal.SIGTERM)
print(json.dumps([worker.process.wait(60), (folder / "heard").exists()]))
"""
    assert run(tmp_path, code) == [0, True]
