"""`launcher cancel`: stop a run wherever it runs; it saves and can be resumed."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from launcher.cli.chosen import add_root, add_run
from launcher.cluster.slurm import cancel, is_in_queue
from launcher.cluster.slurm_queue import SlurmQueue, job_of
from launcher.cluster.states import status_now
from launcher.errors import ExitCode, LauncherError, printable
from launcher.files import remove
from launcher.run.found import called, find_run
from launcher.run.holder import Holder, holder_of
from launcher.run.paths import RunPaths
from launcher.run.status import RunStatus
from launcher.run.stopping import stoppable_in
from launcher.run.summary import RunSummary, State, summarize
from launcher.show.runs import progress_text, state_text
from launcher.sweep.found import find_sweep
from launcher.sweep.standing import standings, standings_in_queue
from launcher.sweep.status import is_at_work
from launcher.sweep.stored import open_sweep
from launcher.sweep.text import title_of
from launcher.sweep.values import JobState, Standing, Sweep

LOOK_EVERY_S = 0.2


def run(arguments: Sequence[str]) -> int:
    """Ask the run to stop, and wait for that.

    Raises:
        LauncherError: it cannot be stopped from here; what can stop it is named.
    """
    parser = argparse.ArgumentParser(
        prog="launcher cancel", description="Stop a run or sweep; it saves and can be resumed."
    )
    add_run(parser)
    parser.add_argument("--wait", type=float, default=60.0, metavar="SECONDS", help="for it to save and end (60)")
    add_root(parser)
    asked = parser.parse_args(arguments)
    until = time.monotonic() + asked.wait
    if (sweep := find_sweep(asked.run, asked.root)) is not None:
        return _cancel_sweep(open_sweep(sweep), until)
    folder = find_run(asked.run, asked.root)
    status = status_now(folder, lines=0)
    # Slurm may have started its job already, of which the folder says nothing before the training begins.
    if status.summary.state not in (State.running, State.queued) and not is_in_queue(job_of(folder), folder):
        _refuse_unknown_job(status)
        print(printable(f"{called(folder)} does not run: it is {state_text(status.summary)}"))
        return ExitCode.finished
    print(printable(_stop(status)), flush=True)
    print(printable(_wait(folder, until)))
    return ExitCode.finished


def _refuse_unknown_job(status: RunStatus) -> None:
    """Raises LauncherError where its job may wait in Slurm's queue, because nobody knows whether it does."""
    if status.is_in_queue is None and status.summary.state is not State.pruned:
        name, job = called(status.summary.folder), job_of(status.summary.folder)
        raise LauncherError(
            f"{name} is {state_text(status.summary)} by its folder. squeue does not answer, so nobody knows whether "
            f"Slurm has its job {job}; nothing was cancelled. Type the command again once it answers, or: scancel {job}"
        )


def _cancel_sweep(sweep: Sweep, until: float) -> int:
    """Stop whoever runs it, so that no other job begins, then its jobs, and wait for them."""
    queue = SlurmQueue()
    found = standings_in_queue(sweep, queue, time.time())
    _refuse_unknown(sweep, found, queue)
    if not is_at_work(sweep, found):
        print(printable(f"{called(sweep.folder)} does not run: {title_of(found)}"))
        return ExitCode.finished
    for line in _stop_sweep(sweep, found, until):
        print(printable(line), flush=True)
    while is_at_work(sweep, found) and time.monotonic() < until:
        time.sleep(LOOK_EVERY_S)
        found = standings(sweep, time.time())
    print(printable(f"{called(sweep.folder)}: {title_of(found)}. Continue with: {sweep.command}"))
    return ExitCode.finished


def _refuse_unknown(sweep: Sweep, found: Sequence[Standing], queue: SlurmQueue) -> None:
    """Raises LauncherError where jobs would stay in Slurm's queue, because nobody knows whether it has them."""
    folders = [sweep.folder_of(one.job) for one in found if one.state is JobState.queued]
    if unknown := [job_of(folder) for folder in folders if queue.has(folder) is None]:
        raise LauncherError(
            f"squeue does not answer, so nobody knows which jobs of {called(sweep.folder)} Slurm has, and nothing was "
            f"cancelled. Type the command again once it answers, or: scancel {' '.join(unknown)}"
        )


def _stop_sweep(sweep: Sweep, found: Sequence[Standing], until: float) -> Iterator[str]:
    holder = holder_of(sweep.folder)
    if holder is not None and holder.host != socket.gethostname():
        raise LauncherError(_explain_elsewhere(sweep.folder, holder))
    in_slurm = [one for one in found if one.in_slurm]
    if holder is not None:
        yield _stop_here(sweep.folder, holder, "which runs the sweep, to end")
    if in_slurm:
        jobs = [job_of(sweep.folder_of(one.job)) for one in in_slurm]
        yield f"cancelled {len(jobs)} job{'s' if len(jobs) > 1 else ''}: {cancel(jobs)}"
    for one in in_slurm:
        if one.state is JobState.queued:
            remove(RunPaths(sweep.folder_of(one.job)).submission)  # nothing waits any more
    while (is_held := holder_of(sweep.folder) is not None) and time.monotonic() < until:
        time.sleep(LOOK_EVERY_S)
    if not is_held:  # its own jobs have ended with it; those of an earlier controller run on
        ran = {one.job.folder for one in found if one.state is JobState.running and not one.in_slurm}
        still = (one.job for one in standings(sweep, time.time()) if one.state is JobState.running)
        outlived = (sweep.folder_of(job) for job in still if job.folder in ran)
        yield from (_stop(status_now(folder, lines=0)) for folder in outlived)


def _stop(status: RunStatus) -> str:
    """Stop it and say how.

    Raises:
        LauncherError: it cannot be done from here.
    """
    holder, run = status.holder, status.summary
    if run.job and is_in_queue(run.job, run.folder):  # a launcher that merely stops would be requeued
        return _cancel_of(run)
    if holder is not None and holder.host == socket.gethostname():
        return _stop_here(run.folder, holder)
    if run.job:
        return _cancel_of(run)
    started = status.attempts[-1].started if status.attempts else None
    where = holder or (Holder(process=started.process, host=started.host) if started is not None else None)
    raise LauncherError(_explain_elsewhere(run.folder, where))


def _cancel_of(run: RunSummary) -> str:
    cancelled = f"cancelled job {run.job}: {cancel([run.job])}"
    if run.state is State.queued:
        remove(RunPaths(run.folder).submission)  # nothing waits any more
    return cancelled


def _stop_here(folder: Path, holder: Holder, means: str = "to stop: it finishes its iteration and saves") -> str:
    found = stoppable_in(folder, holder)
    if found is None:
        raise LauncherError(
            f"{folder} is held by a process that its lock does not name. Look for it: fuser {folder}/.lock"
        )
    try:
        os.kill(found.process, signal.SIGTERM)
    except ProcessLookupError:
        return f"process {found.process} has just ended"
    except PermissionError as error:
        raise LauncherError(
            f"{folder} is trained by process {found.process}, which belongs to another user. "
            f"That user can stop it: kill {found.process}"
        ) from error
    return f"asked process {found.process}, {found.what}, {means}"


def _explain_elsewhere(folder: Path, where: Holder | None) -> str:
    if where is None or where.process is None:
        return f"{folder} is trained by a process that it does not name, perhaps on another host. Stop it there."
    how = f"ssh {where.host} kill {where.process}"
    return f"{folder} is trained by {where}, and this is {socket.gethostname()}. Stop it there: {how}"


def _wait(folder: Path, until: float) -> str:
    """What has become of it by then."""
    while summarize(folder, time.time()).state is State.running and time.monotonic() < until:
        time.sleep(LOOK_EVERY_S)
    run = status_now(folder, lines=0).summary
    name = shlex.quote(called(folder))
    if run.state is State.running:
        return f"{name} still saves, at iteration {progress_text(run)}. Watch it: launcher status {name} --follow"
    return f"{name} is {state_text(run)} at iteration {progress_text(run)}. Continue with: launcher resume {name}"
