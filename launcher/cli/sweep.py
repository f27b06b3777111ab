"""`launcher train -m`: the jobs of a sweep, and what came out."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import partial

from rich.console import Console

from launcher.cli.training import make_board, make_session
from launcher.config.arguments import take_apart
from launcher.config.compose import Task, run_hydra
from launcher.config.request import RunRequest
from launcher.device.job import JobFacts, read_job
from launcher.errors import ExitCode, RequestError, printable
from launcher.launch.prepare import plan_data
from launcher.launch.supervise import execute
from launcher.pool import register as register_pool
from launcher.search import plugin as search
from launcher.show.console import make_console
from launcher.sweep import grid, slurm_array
from launcher.sweep.books import Books
from launcher.sweep.finish import finish
from launcher.sweep.preview import JobPlan, preview, preview_json, preview_table
from launcher.sweep.preview_in_slurm import preview_in_slurm
from launcher.sweep.watch import Watcher


def run_sweep(arguments: Sequence[str], task: Task, *, command: Sequence[str]) -> int:
    """Run the jobs that the arguments ask for and that are left; `command` is what was typed.

    Raises:
        LauncherError: the sweep cannot be meant, or a job failed.
        SystemExit: it was stopped.
    """
    _refuse_several_nodes(read_job(os.environ))
    register()
    watcher = Watcher(make_console())
    books = Books(command=command, typed=take_apart(arguments).overrides, watcher=watcher)
    with books:
        try:
            run_hydra(arguments, task, books=books)
        finally:
            watcher.close()
            if books.is_ours and books.sweep is not None:
                finish(books.sweep, books.standings(), books.keep, watcher.say)
    if books.stopped:
        sys.exit(int(ExitCode.resumable))
    return ExitCode.finished


def _refuse_several_nodes(job: JobFacts) -> None:
    """Each node would have a controller, and each job would wait for launchers that nobody starts."""
    if job.node.count > 1:
        raise RequestError(
            f"{job.started_by} started a sweep on {job.node.count} nodes, but its jobs run on one. Start it once, "
            "without srun or torchrun, and its jobs share the GPUs of that node; to train each job on several nodes, "
            "submit each with launcher submit cluster.nodes=N."
        )


def plan_sweep(arguments: Sequence[str], *, as_json: bool) -> int:
    """Show what every job would do; nothing is written, and nothing runs.

    Raises:
        LauncherError: `launcher train -m` would refuse it.
    """
    register()
    books = Books(
        command=("launcher", "plan", *arguments),
        typed=take_apart(arguments).overrides,
        watcher=Watcher(Console(quiet=True)),
        only_looks=True,
    )
    run_hydra(arguments, _nothing, command="launcher plan", only_looks=True, books=books)
    assert books.sweep is not None
    plans = _plans_of(books)
    print(
        preview_json(books.sweep, plans)
        if as_json
        else printable(preview_table(books.sweep, plans, is_drawn=books.draws_seed))
    )
    return ExitCode.finished


def _plans_of(books: Books) -> list[JobPlan]:
    if books.submits:
        return preview_in_slurm(books, partial(plan_data, environ=dict(os.environ)))
    assert books.sweep is not None
    first = next(iter(books.requests.values()))
    board = make_board(first)
    session = make_session(first, ("launcher", "plan"), partial(execute, others=board), board)
    return preview(books.sweep, books.requests, books.decisions, session)


def _nothing(request: RunRequest) -> None:
    raise AssertionError(f"{request.typed.overrides} was to be looked at only")


def register() -> None:
    """Let Hydra find our plugins."""
    register_pool()
    slurm_array.register()
    grid.register()
    search.register()
