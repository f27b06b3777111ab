"""The worker process: reads a plan, starts its ranks, has them perform a task, and writes down how that ended.

Rank is decided here, once: rank 0 shows more, writes the result, and gets more hooks and writers.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from launcher.config.values import read_json, write_json
from launcher.errors import ExitCode, printable
from launcher.run import codes
from launcher.run.heartbeat import ENDING, IMPORTING, Heartbeat
from launcher.run.outcome import COULD_NOT_WRITE, WorkerFailure, WorkerResult
from launcher.run.paths import AttemptPaths
from launcher.run.plan import Evaluate, Predict, RunPlan, Train
from launcher.signals import handling
from launcher.train.output.logs import log_to
from launcher.train.stop import STOP

TASKS = {
    Train: "launcher.train.tasks.train",
    Evaluate: "launcher.train.tasks.evaluate",
    Predict: "launcher.train.tasks.predict",
}


def work(plan_file: Path, *, raise_errors: bool = False) -> int:
    """Do as the plan says and return the exit status: 0 when a result was written.

    `raise_errors` lets a single process's exception through, for debuggers.
    """
    plan = read_json(plan_file, RunPlan)
    if plan.num_processes == 1:
        return work_as_rank(plan_file, 0, raise_errors=raise_errors)
    attempt = plan.attempt_paths
    if STOP.asked:
        return 1
    STOP.note_signals(attempt.stop_note)
    log_to(attempt.log(plan.first_rank), console=False)
    # Ranks import torch before our code can tell Python where warnings go.
    os.environ["PYTHONWARNINGS"] = "ignore"
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # torch's own warnings, once from each rank
    sys.warnoptions.clear()  # multiprocessing hands these on as options, which count more
    try:
        from launcher.train.ranks import launch_ranks  # torch, which may be what fails
    except Exception as error:
        return _end_with(error, attempt, plan.first_rank)
    return launch_ranks(work_as_rank, plan_file, plan)


def work_as_rank(plan_file: Path, rank: int, *, raise_errors: bool = False) -> int:
    """One rank's work; an exception becomes a failure file and status 1."""
    plan = read_json(plan_file, RunPlan)
    attempt = plan.attempt_paths
    log_to(attempt.log(rank), console=rank == 0, quiet=plan.quiet)
    heartbeat = Heartbeat(attempt.heartbeat if rank == 0 else None)
    try:
        with _stacks_into(attempt.stacks(rank)):
            result = _perform(plan, rank, heartbeat)
    except Exception as error:
        status = _end_with(error, attempt, rank)
        if raise_errors:
            raise
        return status
    if rank == 0:
        with _children_unheard():
            write_json(attempt.result, result)
        heartbeat.beat(ENDING)
    return 0


def _children_unheard() -> contextlib.AbstractContextManager[None]:
    """While the end is written down: torch raises wherever the process is when a loader's process has been killed."""
    return handling({signal.SIGCHLD: signal.SIG_DFL})


def _perform(plan: RunPlan, rank: int, heartbeat: Heartbeat) -> WorkerResult:
    heartbeat.beat(IMPORTING)
    task = import_module(TASKS[type(plan.task)])  # here, where an error in importing torch is noted like any other
    result: WorkerResult = task.perform(plan, rank, heartbeat)
    return result


def _end_with(error: Exception, attempt: AttemptPaths, rank: int) -> int:
    """Note the failure and return the exit status."""
    with _children_unheard():
        return 1 if _note_failure(attempt, rank, error) else COULD_NOT_WRITE


def _explain(error: Exception) -> WorkerFailure:
    try:
        from launcher.train.failures import explain  # torch, which may be what has failed
    except Exception:
        return WorkerFailure(
            kind=type(error).__name__,
            message=f"{type(error).__name__}: {error}",
            understood=False,
            exit_code=int(ExitCode.training_failed),
            code=codes.FAILED,
            traceback="".join(traceback.format_exception(error)),
        )
    return explain(error)


def _note_failure(attempt: AttemptPaths, rank: int, error: Exception) -> bool:
    """Write down what failed; False where that cannot be written."""
    failure = replace(_explain(error), rank=rank)
    try:
        if not attempt.folder.is_dir():  # renamed or deleted: it is not made again
            raise FileNotFoundError(attempt.folder)
        write_json(attempt.failure(rank), failure)
    except OSError:  # a full disk: then the console and the exit status are the only places left
        print(printable(failure.message if failure.understood else failure.traceback), file=sys.stderr)
        return False
    return True


@contextlib.contextmanager
def _stacks_into(file: Path) -> Iterator[None]:
    """Where the threads stand when a signal such as SIGSEGV ends us; nothing is left behind when none does."""
    with open(file, "w") as stacks:
        faulthandler.enable(stacks)
        try:
            yield
        finally:
            faulthandler.disable()
            file.unlink()
