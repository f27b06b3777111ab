"""Start the worker of a plan, hand signals on, wait for it, and say how it ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import TypeVar

from launcher.config.values import read_json
from launcher.run.outcome import RANK_KILLED, Outcome, WorkerFailure, WorkerResult, classify
from launcher.run.paths import AttemptPaths, RunPaths
from launcher.run.plan import RunPlan

T = TypeVar("T")


class Supervision:
    """A worker and what it was told so far."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.stop_signal: int | None = None
        self.killed_by_us = False

    def hand_on(self, number: int, frame: FrameType | None) -> None:
        """First signal: ask to stop. A second Ctrl-C means now; schedulers repeat SIGTERM, which changes nothing."""
        if self.stop_signal is not None and number == signal.SIGINT and self.process is not None:
            self.killed_by_us = True
            _kill_group(self.process.pid)
            return
        self.stop_signal = self.stop_signal or number
        self.pass_to_worker()

    def pass_to_worker(self) -> None:
        # Only to the worker, which tells its ranks: a data loader process that gets SIGTERM takes the run with it.
        if self.process is not None and self.stop_signal is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(self.stop_signal)


def execute(plan: RunPlan, environment: Mapping[str, str], *, lock: int) -> Outcome:
    """Run the plan's worker to its end, whatever end that is.

    The worker inherits the folder's `lock`: should the launcher be killed, nobody else trains there before the worker
    has ended too.
    """
    attempt = RunPaths(Path(plan.folder)).attempt(plan.attempt)
    command = [sys.executable, "-m", "launcher.train", str(attempt.plan)]
    started = time.monotonic()
    supervision = Supervision()
    with _handled(supervision):
        # A session of its own keeps the terminal's Ctrl-C away from ranks and loaders; the launcher hands it on.
        process = subprocess.Popen(command, env=dict(environment), start_new_session=True, pass_fds=(lock,))
        supervision.process = process
        supervision.pass_to_worker()
        exit_status = process.wait()
    _kill_group(process.pid)  # ranks or loaders that outlived their parent
    return outcome_of(
        attempt,
        exit_status=exit_status,
        stop_signal=supervision.stop_signal,
        killed_by_us=supervision.killed_by_us,
        seconds=time.monotonic() - started,
    )


def outcome_of(
    attempt: AttemptPaths,
    *,
    exit_status: int,
    stop_signal: int | None = None,
    killed_by_us: bool = False,
    seconds: float = 0.0,
) -> Outcome:
    """Put the worker's exit status and what its ranks wrote down together."""
    return classify(
        exit_status=exit_status,
        stop_signal=stop_signal,
        killed_by_us=killed_by_us,
        result=_read(attempt.result, WorkerResult),
        failure=first_failure(attempt),
        seconds=seconds,
    )


def first_failure(attempt: AttemptPaths) -> WorkerFailure | None:
    """What the rank that failed first wrote; the others fail in its wake.

    A rank that was killed wrote nothing itself, so others wrote before its end was noted.
    """
    written = sorted(attempt.failures(), key=lambda path: path.stat().st_mtime_ns)
    failures = [read_json(path, WorkerFailure) for path in written]
    return next((failure for failure in failures if failure.kind == RANK_KILLED), next(iter(failures), None))


@contextlib.contextmanager
def _handled(supervision: Supervision) -> Iterator[None]:
    before = {number: signal.signal(number, supervision.hand_on) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def _read(path: Path, kind: type[T]) -> T | None:
    return read_json(path, kind) if path.exists() else None
