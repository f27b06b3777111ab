"""A training as somebody watches it in a terminal, and as a program reads it from a pipe."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Launch
from tests.terminal import CTRL_C, Terminal

LAUNCHER = (sys.executable, "-m", "launcher")
AT_ONCE_S = 2.0
"""On a machine that is busy with other tests."""
LONG = ("SOLVER.MAX_ITER=5000", "checkpoint.period=2", "run.name=long", "device=cpu", "TEST.EVAL_PERIOD=0")
SLOW = ("INPUT.MIN_SIZE_TRAIN=[640]", "SOLVER.IMS_PER_BATCH=4")
"""Some seconds per iteration."""

Open = Callable[..., Terminal]


@pytest.fixture
def terminal(tmp_path: Path, launcher_environment: dict[str, str]) -> Iterator[Open]:
    """Open a terminal in which `launcher ARGUMENTS` runs."""
    opened: list[Terminal] = []

    def open_one(*arguments: str, columns: int = 80, **environment: str) -> Terminal:
        environ = {**launcher_environment, "TERM": "xterm-256color", **environment}
        opened.append(Terminal([*LAUNCHER, *arguments], tmp_path, environ, columns=columns))
        return opened[-1]

    yield open_one
    for one in opened:
        one.kill()


def test_ctrl_c_in_a_terminal_is_answered_at_once_and_the_training_saves(
    terminal: Open, demo_settings: tuple[str, ...]
):
    training = terminal("train", *demo_settings, *LONG)
    training.wait_for("img/s")

    training.type(CTRL_C)

    assert training.wait_for("Ctrl-C again ends now\n") < AT_ONCE_S
    assert training.end() == 130
    assert "of 5000, then saving; Ctrl-C again ends now\n" in training.text
    assert "stopped: " in training.text
    assert training.shown.rindex(b"\x1b[?25h") > training.shown.rindex(b"\x1b[?25l"), "the cursor is hidden"


def test_a_second_ctrl_c_ends_the_training_and_says_where_it_would_resume(
    terminal: Open, demo_settings: tuple[str, ...]
):
    training = terminal("train", *demo_settings, *LONG, *SLOW)
    training.wait_for(" 3/5000")

    training.type(CTRL_C)
    training.wait_for("Ctrl-C again ends now\n")
    training.type(CTRL_C)

    training.wait_for("\ninterrupted: ended by a second Ctrl-C; nothing more was saved\n")
    assert training.end() == 130
    assert "of 5000 is saved, where the same command resumes; " in training.text
    assert training.shown.rindex(b"\x1b[?25h") > training.shown.rindex(b"\x1b[?25l"), "the cursor is hidden"


def test_ctrl_c_without_a_terminal_is_answered_in_a_line_of_its_own(
    tmp_path: Path, launcher_environment: dict[str, str], demo_settings: tuple[str, ...]
):
    command = [*LAUNCHER, "train", *demo_settings, *LONG]
    with subprocess.Popen(
        command, cwd=tmp_path, env=launcher_environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as training:
        assert training.stdout is not None
        assert training.stderr is not None
        next(line for line in training.stdout if line.startswith("iteration 3/"))

        training.send_signal(signal.SIGINT)

        errors, printed = training.stderr.read(), training.stdout.read()
    assert training.returncode == 130
    assert errors.startswith("stopping after iteration ")
    assert errors.endswith(" of 5000, then saving; Ctrl-C again ends now\n")
    assert "\x1b" not in printed + errors


def test_a_quiet_training_prints_how_it_ended_and_nothing_else(launch: Launch, demo_settings: tuple[str, ...]):
    done = launch("train", *demo_settings, "logging.quiet=true", "TEST.EVAL_PERIOD=3", "run.name=q", "device=cpu")

    assert (done.returncode, done.stderr) == (0, "")
    first, *rest = done.stdout.splitlines()
    assert first.startswith("finished: 6 iterations")
    assert [line for line in rest if not line.startswith("  ")] == []


def test_a_quiet_training_that_fails_prints_its_error(launch_warm: Launch, demo_settings: tuple[str, ...]):
    done = launch_warm("train", *demo_settings, "logging.quiet=true", "SOLVER.BASE_LR=1e30", "run.name=q", "device=cpu")

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert "[run.diverged]" in done.stderr
