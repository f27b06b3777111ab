"""How processes of ours end."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


def ended(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", f"from launcher.process_end import end_process\n{program}"],
        capture_output=True,
        text=True,
        timeout=60,
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        check=False,
    )


def test_threads_and_what_is_registered_for_the_exit_come_first_and_all_is_written():
    done = ended(
        "import atexit, sys, threading, time\n"
        "atexit.register(lambda: sys.stdout.write('registered '))\n"
        "def work():\n    time.sleep(0.3)\n    sys.stdout.write('thread ')\n"
        "threading.Thread(target=work).start()\n"
        "sys.stdout.write('main ')\n"
        "end_process(7)"
    )

    assert (done.returncode, done.stdout, done.stderr) == (7, "main thread registered ", "")


def test_nothing_in_memory_is_taken_apart():
    done = ended("class Large:\n    def __del__(self): print('taken apart')\nkept = Large()\nend_process(0)")

    assert (done.returncode, done.stdout) == (0, "")


def test_what_fails_on_the_way_is_shown_and_changes_no_status():
    done = ended("import atexit\natexit.register(lambda: 1 / 0)\nend_process(3)")

    assert done.returncode == 3
    assert "ZeroDivisionError" in done.stderr


@pytest.mark.parametrize("close", ["sys.stdout.close()", "sys.stdout = None", "os.close(1); sys.stdout.write('x')"])
def test_a_screen_that_is_gone_changes_no_status(close: str):
    done = ended(f"import os, sys\n{close}\nend_process(0)")

    assert (done.returncode, done.stderr) == (0, "")
