"""`launcher train -m`: the jobs of a sweep, and what came out."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from launcher.config.arguments import take_apart
from launcher.config.compose import Task, run_hydra
from launcher.errors import ExitCode
from launcher.pool import register as register_pool
from launcher.search import plugin as search
from launcher.show.console import make_console
from launcher.sweep import grid
from launcher.sweep.books import Books
from launcher.sweep.finish import finish
from launcher.sweep.watch import Watcher


def run_sweep(arguments: Sequence[str], task: Task, *, command: Sequence[str]) -> int:
    """Run the jobs that the arguments ask for and that are left; `command` is what was typed.

    Raises:
        LauncherError: the sweep cannot be meant, or a job failed.
        SystemExit: it was stopped.
    """
    register()
    watcher = Watcher(make_console())
    books = Books(command=command, typed=take_apart(arguments).overrides, watcher=watcher)
    with books:
        try:
            run_hydra(arguments, task, books=books)
        finally:
            watcher.close()
            if books.sweep is not None:
                finish(books.sweep, books.keep, watcher.say)
    if books.stopped:
        sys.exit(int(ExitCode.resumable))
    return ExitCode.finished


def register() -> None:
    """Let Hydra find our plugins."""
    register_pool()
    grid.register()
    search.register()
