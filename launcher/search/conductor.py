"""The conductor of a search: proposes as devices get free, watches, prunes. What it knows follows from the folders."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from hydra.core.utils import JobReturn

from launcher.errors import RequestError
from launcher.pool.adopted import Adopted
from launcher.pool.batch import TICK_S, Runs
from launcher.pool.ledger import Decision, Ended, Job, Known, Run, Stop, Wait
from launcher.pool.results import completed
from launcher.search.book import Book
from launcher.search.judge import Judge
from launcher.search.space import Point
from launcher.search.study import propose
from launcher.search.values import Observed, Plan, Stage
from launcher.sweep.standing import standing_of, standings
from launcher.sweep.values import Job as SweepJob
from launcher.sweep.values import JobState, Standing, Sweep

MOST_REFUSED = 20
"""Points that cannot be trained, beyond as many as could: then the space is wrong."""
STAGES = {JobState.finished: Stage.complete, JobState.pruned: Stage.pruned, JobState.failed: Stage.failed}


class Search:
    """One start of a search."""

    def __init__(
        self,
        plan: Plan,
        book: Book,
        *,
        adopted: Adopted | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """The `book` has been opened."""
        self._plan = plan
        self._book = book
        self._judge = Judge(plan, book)
        self._now = now
        self._ticked = now()
        self._known: dict[int, Observed] = {}
        self._refused: list[Observed] = []
        self._queue: deque[Job] = deque()
        self._adopted = adopted if adopted is not None else Adopted()
        self._stopped_because = ""
        self._asked_to_stop: set[int] = set()
        self._exhausted = False
        self.was_stopped = False
        """Before it was at its end."""
        self.returns: dict[int, JobReturn] = {}

    def recall(self) -> None:
        """What earlier starts have left: jobs that ended are known, the others are run first.

        Raises:
            LauncherError: they cannot be run.
        """
        all_jobs = standings(self._sweep, self._now())
        found = [observed for one in all_jobs if (observed := self._observed(one)) is not None]
        self._known = {one.number: one for one in found}
        for one in found:
            if one.stage not in (Stage.complete, Stage.pruned):
                self._take(*self._admitted(one.number, one.point))
        if not all_jobs:
            self._propose()  # before a device is looked for: what is wrong with it is wrong with the search

    def run(self, pool: Runs) -> None:
        """Until there are as many jobs as are asked for and all have ended, or it is stopped and what ran has ended."""
        while True:
            self._start_what_fits(pool)
            if not pool.running and self._next_is_none(pool):
                self.was_stopped = self._is_stopping(pool)
                return
            self._tick(pool)
            for ended in pool.wait(TICK_S):
                self._note(ended)
            if self._stopped_because:
                self._stop_what_runs(pool)

    @property
    def waits(self) -> bool:
        """Whether another process is at one of its jobs."""
        return bool(self._adopted)

    @property
    def has_value(self) -> bool:
        """Whether any job reported the metric."""
        return any(one.value is not None or one.curve for one in self._known.values())

    def _admitted(self, number: int, point: Point) -> tuple[Job, Decision]:
        """A job, which belongs to the sweep now, and what is to be done with it.

        Raises:
            RequestError: it cannot be meant.
        """
        overrides = self._plan.overrides_of(point)
        (decision,) = self._book.admit([overrides], number)
        return Job(number=number, overrides=overrides), decision

    @property
    def _sweep(self) -> Sweep:
        assert self._book.sweep is not None
        return self._book.sweep

    def _point_of(self, job: SweepJob) -> Point | None:
        return self._plan.how.space.point_in(job.overrides)

    def _next_is_none(self, pool: Runs) -> bool:
        return self._is_stopping(pool) or (not self._queue and not self._adopted and self._is_complete)

    def _is_stopping(self, pool: Runs) -> bool:
        return pool.stopping or bool(self._stopped_because)

    @property
    def _is_complete(self) -> bool:
        return self._exhausted or len(self._sweep.jobs) >= self._plan.n_trials

    def _start_what_fits(self, pool: Runs) -> None:
        # A job that another process runs uses the CPU too; what it has of the GPUs, its claims say.
        while not self._is_stopping(pool) and pool.free - (len(self._adopted) if pool.on_cpu else 0) > 0:
            if not self._queue and not self._propose():
                return
            if not self._queue:
                continue  # it is known, or somebody is at it
            if (place := pool.start(self._queue[0])) is None:
                return
            self._book.started(self._queue.popleft(), place)

    def _propose(self) -> bool:
        """Have one more job, unless there are enough."""
        if self._is_complete:
            return False
        number = len(self._sweep.jobs)
        point = self._point(number)
        if point is None:
            self._exhausted = True
            self._book.say(f"all {self._plan.how.space.size} points of the space are tried, so the search ends here")
            return False
        try:
            job, decision = self._admitted(number, point)
        except RequestError as error:
            self._refuse(number, point, error)
            return True
        self._known[job.number] = _begun(job.number, point)
        self._take(job, decision)
        return True

    def _point(self, number: int) -> Point | None:
        if number == 0 and self._plan.first is not None:
            return self._plan.first
        return propose(self._plan.how, [*self._known.values(), *self._refused], number)

    def _refuse(self, number: int, point: Point, error: RequestError) -> None:
        """Have another point proposed in its place; raises the error where that would not end."""
        self._refused.append(replace(_begun(number, point), stage=Stage.failed))
        if not self._known or len(self._refused) > MOST_REFUSED + len(self._known):
            raise error
        self._book.say(f"{' '.join(point)} cannot be trained, so another point is proposed: {error}")

    def _take(self, job: Job, decision: Decision) -> None:
        if isinstance(decision, Run):
            self._queue.append(replace(job, run=decision))
        elif isinstance(decision, Wait):
            self._adopt(job.number, decision)
        else:
            self._know(job, decision)

    def _adopt(self, number: int, wait: Wait) -> None:
        """Watch a job that an earlier controller started, which may have died before it judged what is there."""
        self._adopted.add(number, wait)
        self._known[number] = replace(self._known[number], curve=())
        if self._judge.is_pruned(self._sweep.jobs[number]):
            self._adopted.stop(number)

    def _know(self, job: Job, known: Known) -> None:
        result = completed(job.overrides, known.value)
        self._note(Ended(job=job, result=result, seconds=0.0, log=None, exit_code=0))

    def _stop_what_runs(self, pool: Runs) -> None:
        for number in pool.running:
            if number not in self._asked_to_stop:
                self._asked_to_stop.add(number)
                pool.stop(number)

    def _note(self, ended: Ended) -> None:
        """What became of a job."""
        number = ended.job.number
        self.returns[number] = ended.result
        verdict = self._book.ended(ended)
        if isinstance(verdict, Stop):
            self._stopped_because = self._stopped_because or verdict.reason
        observed = self._observed(standing_of(self._sweep, self._sweep.jobs[number], self._now()))
        if observed is not None:
            self._known[number] = observed

    def _observed(self, standing: Standing) -> Observed | None:
        """None for a job outside of the space, as of one that was searched before."""
        point = self._point_of(standing.job)
        stage, value = STAGES.get(standing.state, Stage.running), standing.value
        if stage is Stage.complete and value is None:
            stage = Stage.failed
        if point is None:
            return None
        return Observed(
            number=standing.job.number,
            point=point,
            stage=stage,
            value=value if stage is Stage.complete else None,
            curve=self._judge.curve(standing.job),
        )

    def _tick(self, pool: Runs) -> None:
        if self._now() - self._ticked < TICK_S:
            return
        self._ticked = self._now()
        self._book.tick()
        for number in self._adopted.take_ended():
            self._take(*self._admitted(number, self._known[number].point))
        for number, stop in self._watched(pool):
            job = self._sweep.jobs[number]
            self._known[number], is_over = self._judge.look(self._known[number], job, self._known.values())
            if is_over:
                stop(number)

    def _watched(self, pool: Runs) -> list[tuple[int, Callable[[int], None]]]:
        """The jobs that run, each with what stops it."""
        own = [(number, pool.stop) for number in pool.running]
        return [*own, *((number, self._adopted.stop) for number in self._adopted.numbers)]


def _begun(number: int, point: Point) -> Observed:
    return Observed(number=number, point=point, stage=Stage.running, value=None, curve=())
