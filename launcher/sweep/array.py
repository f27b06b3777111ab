"""The jobs of a sweep in Slurm's queue: handed over together as an array, and followed by their folders."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

from launcher.cluster.array import note_element, problems_with_number, problems_with_settings, submit_array
from launcher.cluster.freeze import (
    Submittable,
    archive_previous,
    keep_code,
    look_at_run,
    problems_with_submission,
)
from launcher.cluster.job import on_the_nodes
from launcher.cluster.slurm import cancel, elements_in, how_it_ended, largest_element
from launcher.cluster.slurm_queue import job_of
from launcher.config.arguments import command_of_one
from launcher.config.request import RunRequest
from launcher.errors import ExitCode, LauncherError, TrainingFailedError
from launcher.files import remove
from launcher.launch.prepare import plan_data
from launcher.pool.ledger import Ended, Job, Place
from launcher.pool.results import completed, failed
from launcher.run.attempts import read_attempts
from launcher.run.folder import last_outcome
from launcher.run.found import called
from launcher.run.paths import RunPaths
from launcher.run.plan import Finished
from launcher.sweep.books import Books
from launcher.sweep.preview import data_key, once
from launcher.sweep.standing import DONE
from launcher.sweep.values import JobState, Standing


class ArrayRuns:
    """Of one sweep; what `launcher.pool.batch.Runs` and `launcher.sweep.books.Submitting` say."""

    on_cpu = False
    """What other processes run takes nothing away from these."""

    def __init__(
        self, books: Books, *, size: int | None, detach: bool, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """`size` is the number of jobs in the queue at a time, None for all; with `detach` none is followed."""
        self._books = books
        self.size = size
        self._detach = detach
        self._sleep = sleep
        self._plan_data = once(partial(plan_data, environ=dict(os.environ)), data_key)
        self._running: dict[int, Job] = {}
        self._collected: list[int] = []
        self._has_submitted = False
        self._is_left = False

    @property
    def stopping(self) -> bool:
        """What is in the queue is left to itself."""
        return self._is_left

    @property
    def running(self) -> tuple[int, ...]:
        """In the queue, or about to be."""
        return tuple(self._running)

    @property
    def free(self) -> int:
        if self._is_left:
            return 0
        return 1 if self.size is None else self.size - len(self._running)

    def problems_with(self, request: RunRequest, folder: Path) -> list[str]:
        run = in_folder(request, folder)
        return [str(problem) for problem in problems_with_submission(run, RunPaths(folder), self._plan_data)]

    def problems_with_number(self, num_jobs: int) -> list[str]:
        return [*problems_with_number(num_jobs, self._largest)]

    def problems_with_all(self, requests: Sequence[RunRequest]) -> list[str]:
        return [*problems_with_settings([request.cluster for request in requests])]

    def start(self, job: Job) -> Place | None:
        """Have it submitted with those that start now; one that Slurm has already is followed from here on."""
        self._running[job.number] = job
        if self._books.queue.has(self._books.folder(job.number)) is not True:
            self._collected.append(job.number)
        return Place(name="", gpus=(), log=job.run.log or Path())

    def wait(self, timeout_s: float) -> list[Ended]:
        """Submit what was collected, and return what has ended after a while."""
        self._submit()
        if self._detach:
            self._is_left = True
            self._running.clear()
            return []
        self._sleep(timeout_s)
        queue, folder = self._books.queue, self._books.folder
        queue.refresh(map(folder, self._running))
        begun = [job for number, job in self._running.items() if not queue.waits(folder(number))]
        found = [(job, self._books.standing(job.number)) for job in begun]
        ended = [self._end(job, standing) for job, standing in found if self._has_ended(job.number, standing)]
        for one in ended:
            del self._running[one.job.number]
        return ended

    def stop(self, number: int) -> None:
        """Cancel it; one that a search has pruned is asked to save, which takes as long as it takes."""
        folder = self._books.folder(number)
        attempts = read_attempts(RunPaths(folder))
        is_pruned = bool(attempts) and attempts[-1].is_pruned
        try:
            cancel([job_of(folder)], *(["--signal=USR1"] if is_pruned else []))
        except LauncherError as error:  # it has just ended, for example
            self._books.say(f"{folder.name} could not be stopped: {error}")

    @cached_property
    def _largest(self) -> int | None:
        return largest_element()

    def _submit(self) -> None:
        numbers, self._collected = self._collected, []
        others = len(self._running) - len(numbers)
        if others and not self._has_submitted:
            jobs = "1 job is" if others == 1 else f"{others} jobs are"
            self._books.say(f"{jobs} in Slurm's queue already{'' if numbers else ', and nothing is submitted'}")
        there = self._elements() if numbers else {}
        if there is None:
            self._collected = numbers  # for the next time
            return
        runs = {self._element(number): self._look_at(number) for number in self._not_in_slurm(numbers, there)}
        left = {number: run for number, run in runs.items() if not isinstance(run.start, Finished)}
        if left:
            self._submit_array(left)
        self._has_submitted = True

    def _elements(self) -> Mapping[int, str] | None:
        """Those of the sweep that Slurm has; None where it is to be asked again later.

        Raises:
            LauncherError: it cannot be asked, and nothing is followed yet.
        """
        assert self._books.sweep is not None
        there = elements_in(self._books.sweep.folder)
        if there is None and not self._has_submitted:
            raise LauncherError(
                "squeue does not answer, so nothing was submitted: what Slurm has already would be submitted twice. "
                "Once squeue answers, type the command again."
            )
        return there

    def _element(self, number: int) -> int:
        """Elements are numbered as the sweep's table numbers its jobs."""
        return self._books.job(number).number + 1

    def _not_in_slurm(self, numbers: Sequence[int], there: Mapping[int, str]) -> Iterator[int]:
        """All but those that a command submitted which was killed before it could note that."""
        for number in numbers:
            folder, job = self._books.folder(number), there.get(self._element(number), "")
            if job and job != job_of(folder):
                note_element(RunPaths(folder), job)
                self._books.queue.expire()
                self._books.say(f"{folder.name} is in Slurm's queue already, as {job}")
            else:
                yield number

    def _look_at(self, number: int) -> Submittable:
        folder = self._books.folder(number)
        request = in_folder(self._books.requests[folder.name], folder)
        return look_at_run(request, RunPaths(folder), self._plan_data)

    def _submit_array(self, runs: dict[int, Submittable]) -> None:
        assert self._books.sweep is not None
        folder = self._books.sweep.folder
        for run in runs.values():
            if (archived := archive_previous(run)) is not None:
                self._books.say(f"the previous run was renamed to {archived}")
        asked = next(iter(runs.values())).request.cluster
        reuses = self._has_submitted or self._may_have_jobs()
        code = keep_code(RunPaths(folder), asked.code, Path.cwd(), reuses=reuses)
        job = submit_array(folder, runs, self._command_of, code, self._books.say)
        self._books.queue.expire()
        for line in _submitted_lines(folder, job, [*runs], asked.max_parallel, is_first=not self._has_submitted):
            self._books.say(line)

    def _may_have_jobs(self) -> bool:
        """Whether Slurm may have some of the sweep, which run from its copy of the code."""
        assert self._books.sweep is not None
        folders = map(self._books.sweep.folder_of, self._books.sweep.jobs)
        return any(job_of(folder) and self._books.queue.has(folder) is not False for folder in folders)

    def _command_of(self, request: RunRequest) -> tuple[str, ...]:
        return command_of_one(self._books.command, request.typed.overrides)

    def _has_ended(self, number: int, standing: Standing) -> bool:
        return standing.state in DONE or self._books.queue.has(self._books.folder(number)) is False

    def _end(self, job: Job, standing: Standing) -> Ended:
        folder = self._books.folder(job.number)
        failure = None if standing.state in DONE else _failure_of(folder, standing)
        result = completed(job.overrides, standing.value) if failure is None else failed(job.overrides, failure)
        if standing.state is JobState.planned:
            remove(RunPaths(folder).submission)  # nothing waits any more
        return Ended(
            job=job,
            result=result,
            seconds=standing.seconds,
            log=_output_of(folder.parent, job_of(folder)),
            exit_code=0 if failure is None else 1,
        )


def in_folder(request: RunRequest, folder: Path) -> RunRequest:
    """The job's request with its own folder, and the devices that its element has."""
    return on_the_nodes(replace(request, typed=replace(request.typed, folder=str(folder))))


def _failure_of(folder: Path, standing: Standing) -> BaseException:
    """Of a job that has left the queue: it failed, or was cancelled, which is no failure."""
    name = shlex.quote(called(folder))
    outcome = last_outcome(folder)
    if standing.state is JobState.failed:
        why = outcome.explanation.splitlines()[0] if outcome is not None and outcome.explanation else "it was killed"
        return TrainingFailedError(
            f"{why} [{standing.code}]. Look at it: launcher status {name}",
            exit_code=ExitCode(outcome.exit_code) if outcome is not None else ExitCode.training_failed,
        )
    job = job_of(folder)
    ended = how_it_ended(job)
    if standing.state is JobState.stopped or ended is None or ended.state.startswith("CANCELLED"):
        return SystemExit(int(ExitCode.resumable))
    output = _output_of(folder.parent, job)
    return TrainingFailedError(f"its job {job} ended before it began to train: {ended}. Look into {output}")


def _output_of(sweep: Path, job: str) -> Path:
    """What that job of the sweep printed."""
    return sweep / "cluster" / f"slurm-{job}.out"


def _submitted_lines(folder: Path, job: str, numbers: Sequence[int], at_once: int, *, is_first: bool) -> Iterator[str]:
    """What was submitted, and the first time how to go by it."""
    jobs = f"{len(numbers)} jobs" if len(numbers) > 1 else f"job {numbers[0]}"
    yield f"submitted as array {job}: {jobs}{f', at most {at_once} at a time' if at_once and len(numbers) > 1 else ''}"
    if not is_first:
        return
    name = shlex.quote(called(folder))
    yield f"  folder   {folder}"
    yield f"  script   {RunPaths(folder).job_script}"
    yield f"  output   {_output_of(folder, f'{job}_<job>')}"
    yield f"  watch    launcher status {name} --follow"
    yield f"  cancel   launcher cancel {name}"
