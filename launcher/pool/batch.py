"""The conductor of one batch: every job that its ledger wants run gets its turn, and its return is handed back."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from hydra.core.utils import JobReturn

from launcher.pool.ledger import Decision, Ended, Go, Job, Known, Ledger, Place, Run, Stop, Wait
from launcher.pool.results import JobFailedError, completed, failed
from launcher.run.holder import holder_of

TICK_S = 1.0


class Runs(Protocol):
    """What a batch or a search needs of a Pool."""

    @property
    def stopping(self) -> bool: ...
    @property
    def on_cpu(self) -> bool: ...
    @property
    def free(self) -> int: ...
    @property
    def running(self) -> tuple[int, ...]: ...
    def start(self, job: Job) -> Place | None: ...
    def wait(self, timeout_s: float) -> list[Ended]: ...
    def stop(self, number: int) -> None: ...


class Batch:
    """One call of Hydra's `launch`."""

    def __init__(
        self,
        jobs: Sequence[Sequence[str]],
        first: int,
        ledger: Ledger,
        *,
        is_held: Callable[[Path], bool] = lambda folder: holder_of(folder) is not None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises whatever the ledger refuses the batch with."""
        self._overrides = {first + at: tuple(overrides) for at, overrides in enumerate(jobs)}
        self._ledger = ledger
        self._is_held = is_held
        self._now = now
        self._queue: deque[Job] = deque()
        self._waiting: dict[int, Wait] = {}
        self._returns: dict[int, JobReturn] = {}
        self._stopped_because = ""
        self._ticked = now()
        for number, decision in zip(self._overrides, ledger.admit(jobs, first), strict=True):
            self._take(number, decision)

    @property
    def is_done(self) -> bool:
        """Nothing is left to start or to wait for."""
        return not self._queue and not self._waiting

    @property
    def returns(self) -> list[JobReturn]:
        """In the order of the jobs; one that was not started has failed."""
        why = self._stopped_because or "the sweep was stopped"
        return [
            self._returns.get(number) or _not_started(overrides, why) for number, overrides in self._overrides.items()
        ]

    def run(self, pool: Runs) -> None:
        """Until all has ended, or it is stopped and what ran has ended."""
        while True:
            if pool.stopping or self._stopped_because:
                self._queue.clear()
                self._waiting.clear()
            self._start_what_fits(pool)
            if self.is_done and not pool.running:
                return
            for ended in pool.wait(TICK_S):
                self._end(ended, pool)
            self._tick()

    def _take(self, number: int, decision: Decision) -> None:
        overrides = self._overrides[number]
        if isinstance(decision, Run):
            self._queue.append(Job(number=number, overrides=overrides, run=decision))
        elif isinstance(decision, Wait):
            self._waiting[number] = decision
        else:
            self._know(Job(number=number, overrides=overrides), decision)

    def _know(self, job: Job, known: Known) -> None:
        result = completed(job.overrides, known.value)
        self._note(Ended(job=job, result=result, seconds=0.0, log=None, exit_code=0))

    def _start_what_fits(self, pool: Runs) -> None:
        # A job that another process runs uses the CPU too; what it has of the GPUs, its claims say.
        others = len(self._waiting) if pool.on_cpu else 0
        while self._queue and pool.free - others > 0:
            job = self._queue[0]
            if (place := pool.start(job)) is None:
                return
            self._queue.popleft()
            self._ledger.started(job, place)

    def _end(self, ended: Ended, pool: Runs) -> None:
        self._note(ended)
        if self._stopped_because:
            for number in pool.running:
                pool.stop(number)

    def _note(self, ended: Ended) -> None:
        self._returns[ended.job.number] = ended.result
        verdict: Go | Stop = self._ledger.ended(ended)
        if isinstance(verdict, Stop):
            self._stopped_because = self._stopped_because or verdict.reason

    def _tick(self) -> None:
        if self._now() - self._ticked < TICK_S:
            return
        self._ticked = self._now()
        self._ledger.tick()
        for number, wait in [*self._waiting.items()]:
            if not self._is_held(wait.folder):
                del self._waiting[number]
                (decision,) = self._ledger.admit([self._overrides[number]], number)
                self._take(number, decision)


def _not_started(overrides: Sequence[str], why: str) -> JobReturn:
    return failed(overrides, JobFailedError(f"not started: {why}. The same command starts it."))
