"""Watches the evaluations of jobs that run, and says which of them should stop. Writes down why."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace

from launcher.config.values import write_json
from launcher.run.outcome import Pruned
from launcher.run.paths import RunPaths
from launcher.search.book import Book
from launcher.search.pruning import should_prune
from launcher.search.values import Observed, Plan
from launcher.sweep.curves import Curve, Measured, curve_of, main_metric_in
from launcher.sweep.values import Job


class Judge:
    """Of one search."""

    def __init__(self, plan: Plan, book: Book) -> None:
        self._plan = plan
        self._book = book

    def curve(self, job: Job) -> Curve:
        """The evaluations of a job so far; empty where nobody goes by them."""
        return curve_of(self._paths(job), self._plan.how.aim.metric) if self._plan.pruning.prunes else ()

    def is_pruned(self, job: Job) -> bool:
        """Whether its latest attempt is to end, by what this search or an earlier start of it has written down."""
        return any(self._notes(job)[-1:])

    def look(self, before: Observed, job: Job, others: Collection[Observed]) -> tuple[Observed, bool]:
        """The job with its evaluations up to now, and whether they say that it should stop."""
        curve = self.curve(job)
        if len(curve) <= len(before.curve) or any(self._notes(job)):
            return before, False
        now = replace(before, curve=curve)
        rest = [one for one in others if one.number != job.number]
        is_over = should_prune(self._plan.pruning, self._plan.how, now, rest)
        return now, is_over and self._prune(job, curve[-1])

    def _prune(self, job: Job, latest: Measured) -> bool:
        """Write down why, where the run that is to stop finds it; False where there is no such place."""
        paths = self._paths(job)
        attempts = paths.attempt_numbers()
        if not attempts:
            return False
        why = Pruned(
            metric=self._plan.how.aim.metric or main_metric_in(paths),
            value=latest.value,
            iterations=latest.iterations,
            pruner=self._plan.pruning.pruner,
        )
        write_json(paths.attempt(attempts[-1]).pruned, why)
        seen = "NaN" if math.isnan(latest.value) else f"{latest.value:.4g}"
        self._book.say(f"{job.folder} is pruned: {why.metric} is {seen} after {latest.iterations} iterations")
        return True

    def _notes(self, job: Job) -> list[bool]:
        """For each attempt, whether it was pruned: one after that is somebody's who wants the job to continue."""
        paths = self._paths(job)
        return [paths.attempt(number).pruned.exists() for number in paths.attempt_numbers()]

    def _paths(self, job: Job) -> RunPaths:
        assert self._book.sweep is not None
        return RunPaths(self._book.sweep.folder_of(job))
