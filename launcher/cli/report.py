"""`launcher report`: a sweep as one HTML page."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from launcher.cli.chosen import add_root
from launcher.errors import ExitCode, RequestError, printable
from launcher.files import write_text
from launcher.run.found import called
from launcher.sweep.found import find_sweep, find_sweeps
from launcher.sweep.report.page import page, plotly_js
from launcher.sweep.report.values import make_report
from launcher.sweep.standing import standings
from launcher.sweep.stored import NAME, read_sweep
from launcher.sweep.values import Sweep

PAGE = "report.html"
SHOWN = 4


def run(arguments: Sequence[str]) -> int:
    """Write the page.

    Raises:
        RequestError: there is no such sweep, Plotly is missing, or the page cannot be written.
    """
    asked = _parser().parse_args(arguments)
    script = plotly_js()
    sweep = _sweep(asked.sweep, asked.root)
    made_at = time.strftime("%Y-%m-%d %H:%M")
    report = make_report(sweep, standings(sweep, time.time()), name=called(sweep.folder), made_at=made_at)
    target = asked.out or sweep.folder / PAGE
    try:
        write_text(target, page(report, script))
    except OSError as error:
        raise RequestError(f"{target} cannot be written ({error.strerror}). Choose another file: --out FILE") from error
    print(printable(f"{target}  ({len(report.jobs)} jobs; opens in any browser, without a network)"))
    return ExitCode.finished


def _sweep(asked: str, root: Path) -> Sweep:
    """The sweep that is meant.

    Raises:
        RequestError: there is none, or it cannot be read.
    """
    folder = find_sweep(asked, root)
    if folder is None:
        names = [str(one.relative_to(root)) for one in find_sweeps(root)] if root.is_dir() else []
        near = get_close_matches(asked, names, n=SHOWN, cutoff=0.0)
        there = f"{root} has {', '.join(near)}" if near else f"there is none in {root}"
        raise RequestError(f"no sweep is called {asked}; {there}. Name one: launcher report SWEEP --root DIR")
    if (sweep := read_sweep(folder)) is None:
        raise RequestError(f"{folder / NAME} is damaged or of another version of the launcher, so there is no report.")
    return sweep


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="launcher report", description="A sweep as one HTML page.")
    parser.add_argument("sweep", metavar="SWEEP", help="its folder, or the end of it")
    parser.add_argument("--out", type=Path, metavar="FILE", help=f"({PAGE} in the sweep's folder)")
    add_root(parser)
    return parser
