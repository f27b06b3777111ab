"""Which streams get colors."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping

import pytest

from launcher.show.colors import colored_labels, is_colored, show_on_stderr
from launcher.show.console import make_console


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environ", "on_terminal", "in_file"),
    [
        ({}, True, False),
        ({"TERM": "xterm"}, True, False),
        ({"TERM": "dumb"}, False, False),
        ({"NO_COLOR": "1"}, False, False),
        ({"NO_COLOR": ""}, True, False),
        ({"FORCE_COLOR": "1"}, True, True),
        ({"FORCE_COLOR": "0"}, True, False),
        ({"CLICOLOR_FORCE": "1"}, True, True),
        ({"CLICOLOR_FORCE": "1", "TERM": "dumb"}, True, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, False),
    ],
)
def test_colors_follow_the_stream_and_what_the_user_asks_for(
    environ: Mapping[str, str], on_terminal: bool, in_file: bool
):
    assert is_colored(Screen(), environ) is on_terminal
    assert is_colored(io.StringIO(), environ) is in_file


def test_a_stream_that_is_closed_or_none_gets_none():
    closed = io.StringIO()
    closed.close()

    assert not is_colored(closed, {})
    assert not is_colored(None, {})


def test_labels_are_colored_where_a_line_begins_with_one():
    text = "error: no such run\nhint: the error: word within a line stays"

    assert colored_labels(text) == (
        "\x1b[1m\x1b[31merror\x1b[0m\x1b[1m:\x1b[0m no such run\n"
        "\x1b[1m\x1b[36mhint\x1b[0m\x1b[1m:\x1b[0m the error: word within a line stays"
    )


def test_an_error_is_plain_in_a_file_and_colored_on_a_terminal(monkeypatch: pytest.MonkeyPatch):
    in_file, on_screen = io.StringIO(), Screen()

    for stream in (in_file, on_screen):
        monkeypatch.setattr(sys, "stderr", stream)
        show_on_stderr("error: a\x1b[2Jb", {})

    assert in_file.getvalue() == "error: a\\x1b[2Jb\n"
    assert on_screen.getvalue() == "\x1b[1m\x1b[31merror\x1b[0m\x1b[1m:\x1b[0m a\\x1b[2Jb\n"


@pytest.mark.parametrize(
    ("stream", "environ", "printed"),
    [
        (io.StringIO, {}, "x\n"),
        (io.StringIO, {"FORCE_COLOR": "1"}, "\x1b[31mx\x1b[0m\n"),
        (io.StringIO, {"CLICOLOR_FORCE": "1"}, "\x1b[31mx\x1b[0m\n"),
        (Screen, {"TERM": "xterm"}, "\x1b[31mx\x1b[0m\n"),
        (Screen, {"TERM": "xterm", "NO_COLOR": "1"}, "x\n"),
        (Screen, {"TERM": "dumb"}, "x\n"),
    ],
)
def test_the_console_goes_by_the_same_rules(
    stream: type[io.StringIO], environ: dict[str, str], printed: str, monkeypatch: pytest.MonkeyPatch
):
    for name in ("NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stdout", stream())

    make_console().print("[red]x[/red]")

    assert sys.stdout.getvalue() == printed  # type: ignore[attr-defined]


def test_colors_in_a_file_make_no_terminal_of_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(sys, "stdout", io.StringIO())

    assert not make_console().is_interactive


def test_a_quiet_console_prints_nothing(monkeypatch: pytest.MonkeyPatch):
    printed = io.StringIO()
    monkeypatch.setattr(sys, "stdout", printed)

    make_console(quiet=True).print("x")

    assert printed.getvalue() == ""
