"""Start the worker of a plan, forward signals, wait for it, and report how it ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Protocol, TypeVar

from launcher.config.values import read_json, read_json_if_valid
from launcher.forking import ForkedProcess
from launcher.launch.oom import count_memory_kills
from launcher.run import codes
from launcher.run.handover import Worker
from launcher.run.heartbeat import Watch, read_beat
from launcher.run.outcome import RANK_KILLED, Outcome, Pruned, WorkerEnd, WorkerFailure, WorkerResult, classify
from launcher.run.paths import AttemptPaths
from launcher.run.plan import RunPlan
from launcher.show.stopping import stopping_text
from launcher.show.stream import leave_progress_line, say_at_once
from launcher.signals import handling

T = TypeVar("T")
LOOK_EVERY_S = 0.5
FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
OWN_FAULTS = (codes.OUT_OF_MEMORY, codes.HOST_MEMORY, codes.DIVERGED)
GRACE_S = 30.0
"""For processes of this node to notice that those of another one have ended."""
LAST_WORDS_S = 5.0
"""For a hung worker to write its stacks."""


class Others(Protocol):
    """The launchers of the other nodes, in the same attempt."""

    def say_ended(self) -> None:
        """The processes of this node have ended."""

    def ended_elsewhere(self) -> str:
        """The hosts where they have ended; empty for none."""

    def wait_until_ended(self) -> None:
        """Until they have ended everywhere and it is written down why, or there is no more time for it."""


class Supervision:
    """A worker, and the signals that were sent to it so far."""

    def __init__(self, others: Others, answer: Callable[[int], object] = lambda _: None) -> None:
        """`answer` is called with the first signal, to say what happens now."""
        self._others = others
        self._answer = answer
        self._alone_since: float | None = None
        self.abandoned_by = ""
        self.process: subprocess.Popen[bytes] | ForkedProcess | None = None
        self.stop_signal: int | None = None
        self.killed_by_us = False
        self.hung_in = ""

    def forward(self, number: int, frame: FrameType | None) -> None:
        """First signal: ask to stop. A second Ctrl-C means now; schedulers repeat SIGTERM, which changes nothing."""
        if self.stop_signal is not None and number == signal.SIGINT and self.process is not None:
            self.killed_by_us = True
            _kill_group(self.process.pid)
            return
        is_first = self.stop_signal is None
        self.stop_signal = self.stop_signal or number
        self.pass_to_worker()
        if is_first:
            self._answer(number)

    def suspend(self, number: int, frame: FrameType | None) -> None:
        """Ctrl-Z: the worker, which the terminal does not reach, stops and continues together with this process."""
        if self.process is not None:
            _signal_group(self.process.pid, signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)
        if self.process is not None:
            _signal_group(self.process.pid, signal.SIGCONT)

    def pass_to_worker(self) -> None:
        # Only to the worker, which tells its ranks: a data loader process that gets SIGTERM takes the run with it.
        if self.process is not None and self.stop_signal is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(self.stop_signal)

    def wait(self, process: subprocess.Popen[bytes] | ForkedProcess, watch: Watch) -> int:
        """The worker's exit status; kills it when it hangs."""
        while True:
            try:
                return process.wait(LOOK_EVERY_S)
            except subprocess.TimeoutExpired:
                self.hung_in = self.hung_in or watch.hung_in(time.monotonic())
            if self.hung_in or self._is_abandoned(time.monotonic()):
                return self._end_hung(process)

    def _is_abandoned(self, now: float) -> bool:
        """Whether the processes of another node have ended some time ago, and these wait for them in vain."""
        ended = self._others.ended_elsewhere()
        self._alone_since = (self._alone_since or now) if ended else None
        if self._alone_since is None or now - self._alone_since < GRACE_S:
            return False
        self.abandoned_by = ended
        return True

    def _end_hung(self, process: subprocess.Popen[bytes] | ForkedProcess) -> int:
        # SIGABRT makes Python's fault handler write the stacks of all threads into the attempt's folder.
        _signal_group(process.pid, signal.SIGABRT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(LAST_WORDS_S)
        _kill_group(process.pid)
        try:
            return process.wait(LAST_WORDS_S)
        except subprocess.TimeoutExpired:
            # It hangs in the kernel, where no signal reaches it; whoever waits for it hangs too.
            return -signal.SIGKILL


def execute(
    plan: RunPlan,
    environment: Mapping[str, str],
    *,
    inherited: Sequence[int],
    others: Others,
    early: Worker | None = None,
) -> Outcome:
    """Run the plan's worker to its end, whatever end that is; an `early` one is taken if it still can be.

    The worker inherits the file descriptors that hold the folder and the GPUs: should the launcher be killed, nobody
    else takes them before the worker has ended too.
    """
    attempt = plan.attempt_paths
    started = time.monotonic()
    kills = count_memory_kills()
    supervision = Supervision(others, partial(_answer, plan=plan))
    with handling({**dict.fromkeys(FORWARDED, supervision.forward), signal.SIGTSTP: supervision.suspend}):
        worker = _worker_for(plan, environment, early)
        process = supervision.process = worker.process
        worker.begin(plan.file, environment, inherited)
        supervision.pass_to_worker()
        watch = Watch(attempt.heartbeat, hang_s=plan.limits.hang_minutes * 60, now=started)
        exit_status = supervision.wait(process, watch)
        _kill_group(process.pid)  # ranks or loaders that outlived their parent
        if exit_status:
            leave_progress_line()
        others.say_ended()
        if not attempt.result.exists():
            others.wait_until_ended()
    beat = read_beat(attempt.heartbeat)
    end = WorkerEnd(
        exit_status=exit_status,
        stop_signal=supervision.stop_signal,
        killed_by_us=supervision.killed_by_us,
        hung_in=supervision.hung_in,
        abandoned_by=supervision.abandoned_by,
        patience_s=watch.patience_in(supervision.hung_in),
        memory_kills=count_memory_kills() - kills,
        stage=beat.stage if beat else "",
        iterations=beat.iterations if beat else None,
        seconds=time.monotonic() - started,
    )
    return outcome_of(attempt, end)


def _answer(number: int, plan: RunPlan) -> None:
    say_at_once(stopping_text(number, read_beat(plan.attempt_paths.heartbeat), plan))


def _worker_for(plan: RunPlan, environment: Mapping[str, str], early: Worker | None) -> Worker:
    number = plan.num_processes
    if early is not None and early.serves(environment, num_processes=number):
        return early
    return Worker(environment, plan.paths.folder, may_fork=number == 1)


def outcome_of(attempt: AttemptPaths, end: WorkerEnd) -> Outcome:
    """Put how the worker ended and what its ranks wrote down together."""
    return classify(
        end,
        result=_read(attempt.result, WorkerResult),
        failure=find_first_failure(attempt),
        pruned=read_json_if_valid(attempt.pruned, Pruned),
    )


def find_first_failure(attempt: AttemptPaths) -> WorkerFailure | None:
    """The failure of the rank that failed first; the others fail as a consequence.

    A rank that was killed wrote nothing itself, so others wrote before its end was noted. But some failures are nobody
    else's consequence, and a rank may well be killed in the wake of such a one.
    """
    written = sorted(attempt.failures(), key=lambda path: path.stat().st_mtime_ns)
    failures = [read_json(path, WorkerFailure) for path in written]
    own_fault = [failure for failure in failures if failure.code in OWN_FAULTS or failure.cuda_code is not None]
    killed = [failure for failure in failures if failure.kind == RANK_KILLED]
    return next(iter([*own_fault, *killed, *failures]), None)


def _kill_group(leader: int) -> None:
    _signal_group(leader, signal.SIGKILL)


def _signal_group(leader: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


def _read(path: Path, kind: type[T]) -> T | None:
    return read_json(path, kind) if path.exists() else None
