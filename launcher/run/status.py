"""What one run does now, as values: its row, its attempts, and what its files say about this moment."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

from launcher.run.attempts import Attempt, read_attempts, read_plain
from launcher.run.holder import Holder, holder_of
from launcher.run.memory import memory_of
from launcher.run.paths import RunPaths
from launcher.run.progress import Pace, read_pace, tail_of
from launcher.run.summary import RunSummary, State, summary_of

LOG_TAIL = 1 << 14  # bytes
WORKER = b"launcher.train"
"""In a worker's command line, see `launcher.run.handover.TRAIN`."""


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """More than a row about one run."""

    summary: RunSummary
    attempts: tuple[Attempt, ...]
    holder: Holder | None
    """Of its folder, where that is on this host."""
    pace: Pace | None
    memory_mib: int | None
    """Of its worker on this host; None where that cannot be seen."""
    last_lines: tuple[str, ...]
    """Of the latest attempt's log."""
    job_state: str
    """Of its job, in the scheduler's words; empty where nobody has asked it, or it says nothing."""
    is_in_queue: bool | None
    """Whether the scheduler has its job, which waits or runs; None where one was submitted and it cannot be asked."""

    @property
    def left_s(self) -> float | None:
        """Until its last iteration, without evaluations; None where it does not train."""
        run = self.summary
        if run.state is not State.running or self.pace is None or run.total is None:
            return None
        return max(run.total - run.iterations, 0) * self.pace.iteration_s


def look_at_status(folder: Path, now: float, lines: int) -> RunStatus:
    """The run in that folder, with so many last lines of its log."""
    paths = RunPaths(folder)
    attempts, holder = read_attempts(paths), holder_of(folder)
    summary = summary_of(folder, attempts, holder, now)
    log = tail_of(paths.attempt(attempts[-1].number).log(0), LOG_TAIL) if attempts else ""
    return RunStatus(
        summary=summary,
        attempts=attempts,
        holder=holder,
        pace=read_pace(paths.metrics),
        memory_mib=_memory_of(paths) if summary.state is State.running else None,
        last_lines=tuple(line for line in log.splitlines() if line.strip())[-lines:] if lines else (),
        job_state="",
        is_in_queue=False,
    )


def worker_of(paths: RunPaths) -> int | None:
    """The worker on this host that trains in the folder, which leads a session of its own; None where it is not here.

    The folder has to be held: otherwise the number may be another process's by now.
    """
    fence = read_plain(paths.fence)
    process = fence.get("process")
    if fence.get("host") != socket.gethostname() or not isinstance(process, int):
        return None
    try:
        leader = os.getsid(process)  # the fence names rank 0, which may be a child of the worker
        command = Path(f"/proc/{leader}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return None
    # One that trains in the launcher's own process belongs to the session of somebody's shell.
    return leader if WORKER in command else None


def _memory_of(paths: RunPaths) -> int | None:
    worker = worker_of(paths)
    return memory_of(worker) if worker is not None else None
