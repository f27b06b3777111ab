"""`launcher status`: what one run does now."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from launcher.cli.chosen import add_root, add_run
from launcher.cluster.slurm_queue import SlurmQueue
from launcher.cluster.states import status_now
from launcher.errors import ExitCode, printable
from launcher.run.found import called, find_run
from launcher.run.status import RunStatus
from launcher.run.summary import State
from launcher.show.console import screen_width
from launcher.show.status import now_line, status_json, status_text
from launcher.sweep import status as sweeps
from launcher.sweep.found import find_sweep
from launcher.sweep.standing import standings_in_queue
from launcher.sweep.stored import open_sweep, read_sweep
from launcher.sweep.values import Sweep

LOOK_EVERY_S = 2.0


def run(arguments: Sequence[str]) -> int:
    """Print the status, with `--follow` until the run no longer runs.

    Raises:
        RequestError: there is no such run.
    """
    parser = argparse.ArgumentParser(prog="launcher status", description="What one run, or a sweep, does now.")
    add_run(parser)
    parser.add_argument("--follow", action="store_true", help="until it has ended")
    parser.add_argument("--lines", type=int, default=5, metavar="N", help="of its log (5)")
    add_root(parser)
    parser.add_argument("--json", action="store_true", help="the same as JSON")
    asked = parser.parse_args(arguments)
    if (sweep := find_sweep(asked.run, asked.root)) is not None:
        return _show_sweep(sweep, as_json=asked.json, follow=asked.follow)
    folder = find_run(asked.run, asked.root)
    status = status_now(folder, asked.lines)
    if asked.json:
        print(status_json(status))
        return ExitCode.finished
    _print_all(status)
    if asked.follow and _follow(folder, status):
        _print_all(status_now(folder, asked.lines))
    return ExitCode.finished


def _show_sweep(folder: Path, *, as_json: bool, follow: bool) -> int:
    sweep = open_sweep(folder)
    if as_json:
        print(sweeps.status_json(sweep))
        return ExitCode.finished
    queue = SlurmQueue()
    if follow:
        follow_sweep(sweep, queue)
        sweep = read_sweep(folder) or sweep
    print(printable(sweeps.status_text(sweep, standings_in_queue(sweep, queue, time.time()), queue)))
    return ExitCode.finished


def follow_sweep(sweep: Sweep, queue: SlurmQueue) -> None:
    """Print a line whenever something has changed, until nobody is at it."""
    found, before, has_answered = standings_in_queue(sweep, queue, time.time()), "", False
    while sweeps.is_at_work(sweep, found) or (has_answered and sweeps.may_be_at_work(sweep, found, queue)):
        if (line := sweeps.status_line(sweep, found, queue)) != before:
            print(printable(line), flush=True)
        before, has_answered = line, has_answered or queue.answers
        time.sleep(LOOK_EVERY_S)
        sweep = read_sweep(sweep.folder) or sweep
        found = standings_in_queue(sweep, queue, time.time())


def _print_all(status: RunStatus) -> None:
    text = status_text(status, called(status.summary.folder), time.time(), width=screen_width())
    print(printable(text), flush=True)


def _follow(folder: Path, status: RunStatus) -> bool:
    """Print a line whenever something has changed, until the run has ended; whether it ran at all."""
    ran, before, has_answered = False, "", False
    while _is_under_way(status, has_answered=has_answered):
        ran = True
        if (line := now_line(status)) != before:
            print(printable(line), flush=True)
        before, has_answered = line, has_answered or status.is_in_queue is not None
        time.sleep(LOOK_EVERY_S)
        status = status_now(folder, lines=0)
    return ran


def _is_under_way(status: RunStatus, *, has_answered: bool) -> bool:
    """Also between two starts of its job, which Slurm may have still where it has answered before and does not now."""
    state = status.summary.state
    may_be_in_queue = has_answered and status.is_in_queue is None and state is not State.pruned
    return state in (State.running, State.queued) or bool(status.is_in_queue) or may_be_in_queue
