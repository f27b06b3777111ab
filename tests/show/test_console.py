"""Nothing that is printed for a person reaches the terminal as something that it obeys."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from launcher.config.adjustment import Adjustment
from launcher.run.plan import Report
from launcher.show.console import PrintableConsole, make_console
from launcher.show.run import show_outcome, show_plan
from tests.values import a_plan, finished_after, keys_shown_in_plan

BAD = "a\x1b[2Jb\x9b1mc\x07\u200bd"


def _table(console: Console) -> None:
    table = Table()
    table.add_column("name")
    table.add_row(BAD)
    console.print(table)


def _plan(console: Console) -> None:
    adjusted = Adjustment(setting="SEED", asked=BAD, planned=3, reason=BAD)
    report = Report(adjustments=(adjusted,), warnings=(), notices=(BAD,), changed=())
    keys = {**keys_shown_in_plan(), "MODEL": {"WEIGHTS": BAD}}
    show_plan(a_plan(keys, folder=BAD, report=report), console)


PRINTERS: dict[str, Callable[[Console], None]] = {
    "text": lambda console: console.print(BAD),
    "markup": lambda console: console.print(f"[bold]{BAD}[/bold]"),
    "padding": lambda console: console.print(Padding(Text(BAD), (0, 4))),
    "table": _table,
    "plan": _plan,
    "outcome": lambda console: show_outcome(
        replace(finished_after(1), explanation=BAD),
        a_plan({"SOLVER": {"MAX_ITER": 1}}, folder=BAD),
        console,
        seconds=1.0,
    ),
}


@pytest.mark.parametrize("printer", PRINTERS)
def test_what_a_terminal_would_obey_is_spelled_out(printer: str):
    printed = io.StringIO()

    PRINTERS[printer](PrintableConsole(file=printed, soft_wrap=True))

    assert "a\\x1b[2Jb" in printed.getvalue()
    assert {"\x1b", "\x9b", "\x07"} & {*printed.getvalue()} == set()


def test_colors_of_our_own_stay():
    printed = io.StringIO()

    PrintableConsole(file=printed, force_terminal=True, color_system="standard", _environ={}).print("[red]x[/red]")

    assert printed.getvalue() == "\x1b[31mx\x1b[0m\n"


def test_the_console_of_every_command_is_such_a_one():
    assert isinstance(make_console(), PrintableConsole)
