"""The conductor of one batch: every job that its ledger wants run gets its turn, and its return is handed back."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from hydra.core.utils import JobReturn

from launcher.pool.adopted import Adopted
from launcher.pool.ledger import Decision, Ended, Go, Job, Known, Ledger, Place, Run, Stop, Wait
from launcher.pool.results import JobFailedError, completed, failed

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
        adopted: Adopted | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises whatever the ledger refuses the batch with."""
        self._overrides = {first + at: tuple(overrides) for at, overrides in enumerate(jobs)}
        self._ledger = ledger
        self._now = now
        self._queue: deque[Job] = deque()
        self._adopted = adopted if adopted is not None else Adopted()
        self._returns: dict[int, JobReturn] = {}
        self._stopped_because = ""
        self._asked_to_stop: set[int] = set()
        self._ticked = now()
        for number, decision in zip(self._overrides, ledger.admit(jobs, first), strict=True):
            self._take(number, decision)

    @property
    def is_done(self) -> bool:
        """Nothing is left to start or to wait for."""
        return not self._queue and not self._adopted

    @property
    def waits(self) -> bool:
        """Whether another process is at one of its jobs."""
        return bool(self._adopted)

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
                self._adopted.clear()
            self._start_what_fits(pool)
            if self.is_done and not pool.running:
                return
            for ended in pool.wait(TICK_S):
                self._note(ended)
            self._tick()
            if self._stopped_because:
                self._stop_what_runs(pool)

    def _take(self, number: int, decision: Decision) -> None:
        overrides = self._overrides[number]
        if isinstance(decision, Run):
            self._queue.append(Job(number=number, overrides=overrides, run=decision))
        elif isinstance(decision, Wait):
            self._adopted.add(number, decision)
        else:
            self._know(Job(number=number, overrides=overrides), decision)

    def _know(self, job: Job, known: Known) -> None:
        result = completed(job.overrides, known.value)
        self._note(Ended(job=job, result=result, seconds=0.0, log=None, exit_code=0))

    def _start_what_fits(self, pool: Runs) -> None:
        # A job that another process runs uses the CPU too; what it has of the GPUs, its claims say.
        others = len(self._adopted) if pool.on_cpu else 0
        while self._queue and pool.free - others > 0:
            job = self._queue[0]
            if (place := pool.start(job)) is None:
                return
            self._queue.popleft()
            self._ledger.started(job, place)

    def _stop_what_runs(self, pool: Runs) -> None:
        for number in pool.running:
            if number not in self._asked_to_stop:
                self._asked_to_stop.add(number)
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
        for number in self._adopted.take_ended():
            (decision,) = self._ledger.admit([self._overrides[number]], number)
            self._take(number, decision)


def _not_started(overrides: Sequence[str], why: str) -> JobReturn:
    return failed(overrides, JobFailedError(f"not started: {why}. The same command starts it."))
