"""A job's process, from the fork to its end: nothing of it reaches the process that it was forked from."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from hydra.core.utils import JobStatus

from launcher.launch.claims import LOCKS
from launcher.pool.context import Context, run_hydra_job
from launcher.pool.results import completed, failed, pack
from launcher.process_end import end_process

FORGOTTEN = 1
"""Exit status of a job that failed; 0 is that of one that returned."""


@dataclass(frozen=True, kw_only=True)
class JobOrder:
    """One job, as the controller asks a warm server for it."""

    number: int
    overrides: tuple[str, ...]
    environment: Mapping[str, str | None]
    """On top of the server's; None takes a variable away."""
    log: str
    result: int
    """An open file for what it returns."""
    locks: tuple[int, ...]
    """Open files that hold its GPUs: until it has ended, and all that inherited them."""


Handlers = Mapping[int, Any]


def be_job(context: Context, order: JobOrder, handlers: Handlers, mask: Iterable[int]) -> NoReturn:
    """Run the job in this process, which then ends; `mask` are the signals that the application blocks."""
    status = FORGOTTEN
    try:
        _come_loose(order, handlers)
        status = _perform(context, order, mask)
    except BaseException:
        traceback.print_exc()
    finally:
        end_process(status)


def _come_loose(order: JobOrder, handlers: Handlers) -> None:
    if os.getsid(0) != os.getpid():  # a process that was started for this job has a session already
        os.setsid()
    for file in (order.result, *order.locks):
        os.set_inheritable(file, False)
    _write_to(order.log)
    for name, value in order.environment.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    os.environ[LOCKS] = ",".join(map(str, order.locks))
    atexit._clear()  # the controller's exit is not ours
    for number, handler in handlers.items():
        if handler is not None:  # one that was not set from Python, which cannot put it back
            signal.signal(number, handler)


def _write_to(log: str) -> None:
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    for stream in (1, 2):
        os.dup2(file, stream)
    os.close(file)
    # New ones: whatever wrapped the controller's may hold what was not written yet.
    sys.stdout = open(1, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115


def _perform(context: Context, order: JobOrder, mask: Iterable[int]) -> int:
    """The exit status; what there is to say is written into the result's file."""
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)  # and be stopped here, if somebody has asked for it already
        returned = run_hydra_job(context, order.number, list(order.overrides))
    except SystemExit as end:
        _let_go(end)
        return _exited(order, end)
    except BaseException as error:
        traceback.print_exc()
        _let_go(error)
        returned = failed(order.overrides, error)
    if returned.status is JobStatus.FAILED:
        _show(returned._return_value)
    _write(order.result, pack(returned))
    return 0 if returned.status is JobStatus.COMPLETED else FORGOTTEN


def _let_go(error: BaseException) -> None:
    """Of the return that Hydra 1.4 hangs on it, which has the exception again."""
    vars(error).pop("_hydra_job_return_handoff", None)


def _show(error: object) -> None:
    """Into the log, where Hydra would leave it to whoever looks at the return."""
    if isinstance(error, Exception):
        traceback.print_exception(error)


def _exited(order: JobOrder, end: SystemExit) -> int:
    if end.code is None or end.code == 0:
        _write(order.result, pack(completed(order.overrides)))
        return 0
    _write(order.result, pack(failed(order.overrides, end)))
    if not isinstance(end.code, int):
        print(end.code, file=sys.stderr)
        return FORGOTTEN
    return end.code


def _write(file: int, data: bytes) -> None:
    with open(file, "wb") as result:
        result.write(data)
