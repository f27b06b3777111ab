"""What it means how a job's process ended. Decides only."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus

from launcher.errors import ExitCode
from launcher.pool.ledger import Ended, Job
from launcher.pool.results import JobFailedError, failed, unpack


def end_of(job: Job, data: bytes, *, status: int | None, seconds: float, log: Path, asked_to_stop: bool) -> Ended:
    """`data` is what the job wrote, `status` its exit status (-n for signal n), None where its server was lost."""
    returned = _unpacked(data)
    if isinstance(returned, JobReturn):
        code = _code_of(returned, status)
        return Ended(job=job, result=returned, seconds=seconds, log=log, exit_code=code)
    number = -status if status is not None and status < 0 else None
    error = _without_result(job, status, number, log, asked_to_stop, why=returned)
    return Ended(
        job=job,
        result=failed(job.overrides, error),
        seconds=seconds,
        log=log,
        exit_code=128 + number if number is not None else status,
        signal=number,
    )


def ended_in_batch(job: Job, returned: JobReturn, seconds: float) -> Ended:
    """Of a job that another of Hydra's launchers ran, which says no more."""
    code = 0 if returned.status is JobStatus.COMPLETED else 1
    return Ended(job=job, result=returned, seconds=seconds, log=job.run.log or Path(), exit_code=code)


def _unpacked(data: bytes) -> JobReturn | str:
    """The return, or why there is none."""
    if not data:
        return ""
    try:
        return unpack(data)
    except Exception as error:  # whatever a user's own classes do, and what was cut off in the middle
        return f"what it returned cannot be read ({type(error).__name__}: {error})"


def _code_of(returned: JobReturn, status: int | None) -> int | None:
    value: Any = returned._return_value
    if isinstance(value, SystemExit):
        return value.code if isinstance(value.code, int) else int(ExitCode.training_failed)
    if isinstance(value, KeyboardInterrupt):
        return int(ExitCode.interrupted)
    return status


def _without_result(
    job: Job, status: int | None, number: int | None, log: Path, asked_to_stop: bool, *, why: str
) -> BaseException:
    if asked_to_stop and number is not None:
        how = f"was stopped by {signal.Signals(number).name}"
    elif number is not None:
        how = f"was killed by {signal.Signals(number).name}{_hint(number)}"
    elif why:
        how = why
    elif status is None:
        how = "ended, and so did the server that would have said how"
    else:
        how = f"ended with status {status} before it returned"
    named = " ".join(job.overrides)
    return JobFailedError(f"the job {named or job.number} {how}. What it printed: {log}")


def _hint(number: int) -> str:
    return " (out of memory, perhaps: dmesg says so)" if number == signal.SIGKILL else ""
