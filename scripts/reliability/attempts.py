"""One attempt at a training in a forked child of a process that has imported everything, and ways to disturb it.

What runs in the child is the worker itself, from its plan file to its exit status. What the launcher does around it is
done here with the launcher's own functions, so that an attempt costs a second and not ten.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from launcher.config.request import RunRequest
from launcher.launch.attempts import environment_of
from launcher.launch.prepare import Since, prepare
from launcher.launch.record import record_outcome, record_start
from launcher.launch.supervise import outcome_of
from launcher.run import codes
from launcher.run.heartbeat import read_beat
from launcher.run.outcome import Outcome, WorkerEnd
from launcher.run.paths import AttemptPaths
from launcher.run.plan import RunPlan
from launcher.run.resume import look_for_checkpoints
from launcher.train import failures, trainer  # noqa: F401 - so that no child does
from launcher.train.compat import smoke  # noqa: F401
from launcher.train.evaluation import evaluators  # noqa: F401
from launcher.train.hooks import chosen  # noqa: F401
from launcher.train.output import writers  # noqa: F401
from launcher.train.stop import STOP, end_with_parent
from launcher.train.worker import work
from scripts.reliability.job import session

PATIENCE_S = 120.0
STOP_WITHIN_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Kill:
    """A signal some time after the start; `rank` names one of several processes, -1 the worker that started them."""

    after_s: float
    number: int = signal.SIGKILL
    rank: int = -1


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How an attempt ended."""

    outcome: Outcome
    began_at: int
    """Iterations done before it."""
    done: int
    """Iterations done by its last heartbeat."""
    kept: int
    """Iterations that a next attempt would not have to do again."""
    seconds: float
    seconds_to_stop: float
    """From the signal to the end; 0 where it needed none."""
    was_hit: bool
    """It still ran when the signal was due."""
    printed: str

    @property
    def is_clear(self) -> bool:
        """It finished, stopped in order or reported in a sentence why it did not."""
        outcome = self.outcome
        is_reported = outcome.fault is not None and not outcome.fault.traceback and outcome.code != codes.CRASH
        says_why = outcome.explanation and (outcome.fault is None or is_reported)
        return outcome.exit_code == 0 or bool(says_why)


class Attempt:
    """A worker under way."""

    def __init__(self, plan: RunPlan, *, before: Callable[[], None] = lambda: None) -> None:
        """`before` is run in the child, first."""
        self.plan = plan
        self.paths, self.files = plan.paths, plan.attempt_paths
        self.started = time.monotonic()
        # Not in the run's folder, whose disk may be full.
        self._printed = tempfile.TemporaryFile("w+b", buffering=0)  # noqa: SIM115 - read in `ended`
        self.process = multiprocessing.get_context("fork").Process(
            target=_child, args=(plan, self.files, self._printed.fileno(), before)
        )
        self.process.start()
        self.stop_signal: int | None = None

    @property
    def iterations(self) -> int:
        beat = read_beat(self.files.heartbeat)
        return (beat.iterations or 0) if beat else 0

    def send(self, number: int, rank: int = -1) -> bool:
        """Signal the worker or one of its ranks; False when there is none any more."""
        if not self.process.is_alive():
            return False
        self.stop_signal = number if number != signal.SIGKILL else self.stop_signal
        pids = [self.process.pid or 0, *children_of(self.process.pid or 0)]
        with contextlib.suppress(ProcessLookupError):
            os.kill(pids[min(rank + 1, len(pids) - 1)], number)
        return True

    def wait_until(self, iterations: int) -> None:
        """Until so many iterations are done, or it has ended."""
        while self.process.is_alive() and self.iterations < iterations:
            time.sleep(0.005)

    def ends_within(self, seconds: float) -> bool:
        self.process.join(seconds)
        return self.process.exitcode is not None

    def ended(self, *, signalled: float = 0.0, was_hit: bool = False) -> Ended:
        """Wait for the end and write the outcome down, as the launcher does."""
        if not self.ends_within(PATIENCE_S):
            os.killpg(self.process.pid or 0, signal.SIGKILL)
            self.process.join()
            raise TimeoutError(f"{self.files.folder} did not end within {PATIENCE_S:.0f} s")
        now = time.monotonic()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid or 0, signal.SIGKILL)  # ranks or loaders that outlived it
        end = WorkerEnd(
            exit_status=self.process.exitcode or 0,
            stop_signal=self.stop_signal,
            iterations=self.iterations,
            seconds=now - self.started,
        )
        outcome = outcome_of(self.files, end)
        record_outcome(self.plan, outcome)
        self._printed.seek(0)
        newest = look_for_checkpoints(self.paths).newest_valid
        return Ended(
            outcome=outcome,
            began_at=self.plan.first_iteration,
            done=self.iterations,
            kept=(newest.next_iteration or 0) if newest else 0,
            seconds=end.seconds,
            seconds_to_stop=now - signalled if signalled else 0.0,
            was_hit=was_hit,
            printed=self._printed.read().decode(errors="replace"),
        )


def begin(request: RunRequest, before: Callable[[], None] = lambda: None) -> Attempt:
    """Plan from what is in the folder, write that down and start the worker.

    Raises:
        LauncherError: as for the same command.
    """
    around = session(request)
    prepared = prepare(request, around, Since(began=around.now()))
    record_start(request, prepared.plan, prepared.facts, around.command, around.environ, at=around.now())
    return Attempt(prepared.plan, before=before)


def run(request: RunRequest, kill: Kill | None = None) -> Ended:
    """One attempt from its beginning to its end."""
    attempt = begin(request)
    if kill is None or attempt.ends_within(kill.after_s):
        return attempt.ended()
    signalled = time.monotonic()
    was_hit = attempt.send(kill.number, kill.rank)
    return attempt.ended(signalled=signalled, was_hit=was_hit)


def run_to_end(request: RunRequest) -> Ended:
    """One attempt that nobody disturbs."""
    ended = run(request)
    if ended.outcome.exit_code != 0:
        raise RuntimeError(f"{reason(ended.outcome)}\n{ended.printed[-2000:]}")
    return ended


def reason(outcome: Outcome) -> str:
    """Why an attempt ended, with its traceback where that is all that is known."""
    return f"{outcome.explanation}\n{outcome.fault.traceback if outcome.fault else ''}"


def children_of(pid: int) -> list[int]:
    """The processes that one has started, oldest first."""
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


@contextlib.contextmanager
def forked_ranks() -> Iterator[None]:
    """Ranks are forked, so that they need not import torch: detectron2 spawns them, which costs four seconds each."""
    from detectron2.engine import launch as module

    mp = sys.modules[module.__module__].mp
    real = mp.start_processes
    mp.start_processes = lambda *arguments, **named: real(*arguments, **{**named, "start_method": "fork"})
    try:
        yield
    finally:
        mp.start_processes = real


def _child(plan: RunPlan, files: AttemptPaths, printed: int, before: Callable[[], None]) -> None:
    os.setsid()
    os.dup2(printed, 1)
    os.dup2(printed, 2)
    os.environ.update(environment_of(plan, os.environ))
    torch.set_num_threads(1)
    STOP.note_signals()
    end_with_parent(os.getppid())
    before()
    with forked_ranks():
        sys.exit(work(files.plan))
