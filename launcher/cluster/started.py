"""What the start of a submitted job does before it trains: its own earlier start is ended, edited code is named."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from launcher.cluster.code import change_since_submission
from launcher.device.job import read_job
from launcher.errors import printable
from launcher.run.attempts import read_attempts
from launcher.run.holder import Holder, holder_of
from launcher.run.paths import RunPaths
from launcher.run.submission import read_submission

WAIT_S = 600.0
LOOK_EVERY_S = 0.5


def begin_in_job(run: Path, project: Path, environ: Mapping[str, str], report: Callable[[str], None]) -> None:
    """Get the folder ready for this start of the run's job, on its first node; does nothing outside of a job."""
    facts = read_job(environ)
    job = facts.job_id if facts.scheduler == "slurm" else ""
    if not job or facts.node.rank:
        return
    if earlier := earlier_start(run, job):
        report(f"note: process {earlier.process} of an earlier start of job {job} still trains here; ending it")
        _end(run, earlier)
    submission = read_submission(RunPaths(run))
    change = change_since_submission(run, project) if submission is None or submission.job_id == job else ""
    if change:
        report(printable(f"note: the code is not as it was submitted; {change}. cluster.code=snapshot prevents this"))


def earlier_start(run: Path, job: str) -> Holder | None:
    """Who holds the folder on this host for the same job: Slurm lost its node, gave it up and has started it again."""
    holder = holder_of(run)
    if holder is None or holder.is_dead or holder.process is None or holder.host != socket.gethostname():
        return None
    attempts = read_attempts(RunPaths(run))
    started = attempts[-1].started if attempts else None
    is_same = started is not None and started.job_id == job and started.process == holder.process
    return holder if is_same and holder.process != os.getpid() else None


def _end(run: Path, holder: Holder) -> None:
    """Have it save and end."""
    assert holder.process is not None
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(holder.process, signal.SIGTERM)
    until = time.monotonic() + WAIT_S
    while holder_of(run) is not None and time.monotonic() < until:
        time.sleep(LOOK_EVERY_S)
