"""`launcher runs`: all runs below a folder, one line each."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from launcher.cluster.slurm import GLANCE_S
from launcher.cluster.states import with_jobs
from launcher.errors import ExitCode, RequestError, printable
from launcher.run.found import ROOT, find_runs
from launcher.run.summary import RunSummary, State, summarize
from launcher.show.console import screen_width
from launcher.show.runs import runs_json, runs_table
from launcher.sweep.found import find_sweep, with_sweeps_as_one

ORDERS: dict[str, Callable[[RunSummary], Any]] = {
    "name": lambda run: str(run.folder),
    "state": lambda run: list(State).index(run.state),
    "age": lambda run: -(run.began or math.inf),
    "duration": lambda run: -run.seconds,
    "iteration": lambda run: -run.iterations,
}
"""What `--sort` takes beside the name of a metric."""


def run(arguments: Sequence[str]) -> int:
    """Print the list.

    Raises:
        RequestError: there is no such folder, or no such state.
    """
    asked = _parser().parse_args(arguments)
    if not asked.folder.is_dir():
        asked.folder = find_sweep(str(asked.folder), Path(ROOT)) or asked.folder
    if not asked.folder.is_dir():
        raise RequestError(
            f"{asked.folder.absolute()} should hold runs, but there is no such folder. Name one: launcher runs DIR"
        )
    now = time.time()
    metric = "" if asked.sort in ORDERS else asked.sort
    found = with_jobs([summarize(folder, now, metric) for folder in find_runs(asked.folder)], now, patience_s=GLANCE_S)
    if found and metric and not any(run.score for run in found):
        raise RequestError(_no_metric(found, metric, now))
    chosen = [run for run in found if run.state.value in _states(asked.state)]
    # A program wants every run; a person opens the sweep that is of interest.
    shown = _in_order(chosen if asked.json else _rows(found, chosen, asked.folder), asked.sort)
    if asked.json:
        print(runs_json(shown))
    elif shown:
        print(printable(runs_table(shown, lambda run: _name_in(asked.folder, run), now, width=screen_width())))
    else:
        print(printable(_nothing(found, asked)))
    return ExitCode.finished


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="launcher runs", description="All runs below a folder, one line each; a sweep is one line."
    )
    parser.add_argument(
        "folder", nargs="?", type=Path, default=Path(ROOT), metavar="DIR", help=f"({ROOT}), or a sweep: its jobs"
    )
    parser.add_argument("--state", default="", metavar="STATE[,STATE]", help=", ".join(state.value for state in State))
    parser.add_argument("--sort", default="age", metavar="BY", help=f"{', '.join(ORDERS)} or a metric such as bbox/AP")
    parser.add_argument("--json", action="store_true", help="the same as JSON")
    return parser


def _states(asked: str) -> set[str]:
    known = {state.value for state in State}
    if unknown := [name for name in asked.split(",") if name and name not in known]:
        raise RequestError(f"--state={asked}: {unknown[0]!r} is no state. There are {', '.join(sorted(known))}.")
    return set(asked.split(",")) & known or known


def _rows(found: Sequence[RunSummary], chosen: Sequence[RunSummary], below: Path) -> list[RunSummary]:
    """The chosen runs, and the sweeps that have a chosen job."""
    folders = {run.folder for run in chosen}
    above = {place for folder in folders for place in folder.parents}
    return [row for row in with_sweeps_as_one(found, below) if row.folder in (above if row.jobs else folders)]


def _in_order(runs: Sequence[RunSummary], by: str) -> list[RunSummary]:
    return sorted(runs, key=ORDERS.get(by, _by_score))


def _by_score(run: RunSummary) -> float:
    """The best first; those without a number last."""
    return math.inf if run.score is None or run.score.best is None else -run.score.best


def _name_in(folder: Path, run: RunSummary) -> str:
    name = str(run.folder.relative_to(folder))
    return str(run.folder) if name == "." else name


def _no_metric(found: Sequence[RunSummary], metric: str, now: float) -> str:
    scores = [run.score for run in (summarize(one.folder, now) for one in found) if run.score is not None]
    known = ", ".join(dict.fromkeys(score.metric for score in scores))
    there = f"They have {known} among others" if known else "None has been evaluated yet"
    return f"--sort={metric}: no run has a metric {metric}. {there}. Sort by a metric, or by {', '.join(ORDERS)}."


def _nothing(found: Sequence[RunSummary], asked: argparse.Namespace) -> str:
    if not found:
        return f"no runs in {asked.folder}"
    return f"none of the {len(found)} runs in {asked.folder} is {asked.state.replace(',', ' or ')}"
