"""Log files where nothing can be written any more."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.train.output import logs
from tests.show.test_colors import Screen

FULL = Path("/dev/full")
PROGRAM = """
import logging
from pathlib import Path
from launcher.train.output.logs import log_to
log_to(Path("/dev/full"), console=True)
logging.getLogger("x").warning("hello")
logging.shutdown()
"""


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full here")
def test_lines_that_a_full_disk_does_not_take_are_lost_without_a_traceback():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)

    assert done.returncode == 0
    assert "hello" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_name_that_the_screen_or_the_file_cannot_spell_ends_nothing(tmp_path: Path):
    program = (
        "import logging, pathlib, sys, warnings; from launcher.train.output.logs import log_to\n"
        "log_to(pathlib.Path(sys.argv[1]), console=True)\n"
        "logging.warning('k\\xf6ln-\\u4e2d-\\udce9.png')\n"
        "warnings.warn('harmless', FutureWarning)\n"
        "logging.warning('end')"
    )
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONWARNINGS": "error::FutureWarning"}

    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "log.txt"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [r"warning: k\xf6ln-\u4e2d-\udce9.png", "warning: end"]
    assert r"köln-中-\udce9.png" in (tmp_path / "log.txt").read_text(encoding="utf-8")


ENDING_THREAD = """
import sys, threading
from pathlib import Path
from launcher.train.output.logs import log_to
log_to(Path(sys.argv[1]), console=True)
thread = threading.Thread(target=lambda: [][0])
thread.start()
thread.join()
"""


def test_what_ended_a_thread_is_in_the_file_and_not_on_the_console(tmp_path: Path):
    log = tmp_path / "log.txt"

    done = subprocess.run([sys.executable, "-c", ENDING_THREAD, log], capture_output=True, text=True, check=True)

    assert done.stdout + done.stderr == ""
    assert "IndexError" in log.read_text()


SAYING = """
import logging, sys
from pathlib import Path
from launcher.train.output.logs import log_to
log_to(Path(sys.argv[1]), console=True, quiet=sys.argv[2] == "quiet")
theirs, ours = logging.getLogger("detectron2.x"), logging.getLogger("launcher.train.x")
theirs.info("Start inference on 6 batches")
theirs.info("Total inference time: 0:00:00.03")
for number in range(3):
    theirs.warning("Skip loading parameter %d", number)
    ours.warning("image %d is unreadable", number // 2)
theirs.warning("")
ours.warning("  ")
logging.getLogger("launcher.train.evaluation.pace").info("evaluation: 3 of 6")
theirs.error("broken")
"""


def lines_of(program: str, log: Path, *arguments: str) -> list[str]:
    command = [sys.executable, "-c", program, log, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def test_the_console_has_what_matters_once_and_the_file_everything(tmp_path: Path):
    log = tmp_path / "log.txt"

    shown = lines_of(SAYING, log, "loud")

    assert shown == [
        "warning: Skip loading parameter 0",
        "warning: image 0 is unreadable",
        "warning: image 1 is unreadable",
        "evaluation: 3 of 6",
        "error: broken",
    ]
    written = log.read_text()
    assert "Start inference on 6 batches" in written
    assert written.count("Skip loading parameter") == written.count("is unreadable") == 3


def test_a_quiet_worker_prints_nothing_and_writes_the_same_file(tmp_path: Path):
    assert lines_of(SAYING, tmp_path / "log.txt", "quiet") == []
    assert "detectron2.x ERROR: broken" in (tmp_path / "log.txt").read_text()


def test_a_process_that_was_forked_from_a_terminal_draws_nothing_into_a_file(monkeypatch: pytest.MonkeyPatch):
    before = dict(vars(logs.CONSOLE))
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    try:
        monkeypatch.setattr(sys, "stdout", Screen())
        logs.renew_console()
        on_screen = (logs.CONSOLE.is_interactive, logs.CONSOLE.color_system is not None)
        monkeypatch.setattr(sys, "stdout", io.StringIO())
        logs.renew_console()
        in_file = (logs.CONSOLE.is_interactive, logs.CONSOLE.color_system is not None)
    finally:
        vars(logs.CONSOLE).update(before)

    assert (on_screen, in_file) == ((True, True), (False, False))
