"""The books of one sweep while it runs: what its sweeper and its launcher ask about jobs. They are kept in folders."""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from launcher.cluster.slurm_queue import SlurmQueue, job_of
from launcher.config.arguments import is_hydras
from launcher.config.compose import Examined
from launcher.config.request import Rerun, RunRequest
from launcher.data.plan import data_environment
from launcher.errors import ExitCode, LauncherError, RequestError, TrainingFailedError
from launcher.pool import ledger
from launcher.run.found import called
from launcher.sweep.naming import LOGS, SEED, key_of, settings_without_quotes, sweep_folder
from launcher.sweep.planned import (
    Planned,
    own_of,
    planned_job,
    refuse_seeds,
    repeated,
    seed_of,
    sweeper_in,
    swept_keys,
    with_jobs,
)
from launcher.sweep.policy import Turn, turn_of
from launcher.sweep.problems import refuse_problems
from launcher.sweep.record import hold_sweep, refuse_another, write_sweep
from launcher.sweep.retention import apply_keep
from launcher.sweep.standing import has_outcome, standing_of, standings, standings_in_queue
from launcher.sweep.stored import read_sweep
from launcher.sweep.values import SWEEP_VERSION, Job, JobState, Standing, Sweep
from launcher.sweep.watch import Watcher

Examine = Callable[[Sequence[str]], Examined]
"""What a job of these overrides asks for, and every problem with it."""


class Submitting(Protocol):
    """A launcher that hands jobs to Slurm, and follows those that Slurm has already."""

    def problems_with(self, request: RunRequest, folder: Path) -> list[str]:
        """What is wrong with the run in that folder as a job there."""

    def problems_with_number(self, num_jobs: int) -> list[str]:
        """Why Slurm cannot have a sweep of so many."""

    def problems_with_all(self, requests: Sequence[RunRequest]) -> list[str]:
        """What is wrong with them together."""


class Books(contextlib.ExitStack):
    """Everything that is known about a sweep is in its folders; this says it to those who ask.

    Used in a `with` block, at whose end other commands may run the sweep again. For a sweeper: `open`, `hold`,
    `repeated`; for a launcher: `launcher.pool.ledger.Ledger`.
    """

    def __init__(
        self,
        *,
        command: Sequence[str],
        typed: Sequence[str],
        watcher: Watcher,
        only_looks: bool = False,
    ) -> None:
        """`typed` are the overrides of the command line; with `only_looks` nothing is written and nothing runs."""
        super().__init__()
        self.failures: list[tuple[str, Exception]] = []
        self.stopped: list[str] = []
        """Names of the jobs that were interrupted."""
        self.sweep: Sweep | None = None
        """None before it is opened."""
        self.only_looks = only_looks
        self.draws_seed = False
        """Whether the seed was drawn now, and nothing keeps it yet."""
        self.is_ours = False
        """Whether its folder is held."""
        self.requests: dict[str, RunRequest] = {}
        """Of the jobs that were admitted, by name."""
        self.decisions: dict[str, ledger.Decision] = {}
        """What was decided about them."""
        self._written: Sweep | None = None
        self._command = tuple(command)
        self._typed = tuple(typed)
        self._watcher = watcher
        self.queue = SlurmQueue()
        """As it was when it was last asked about the jobs."""
        self._examine: Examine | None = None
        self._submitting: Submitting | None = None
        self._admitted: dict[tuple[str, ...], Planned] = {}
        """By the overrides that the sweeper gave them."""
        self._numbers: dict[int, Job] = {}
        """By the number that the launcher knows them by."""
        self._adopted: set[str] = set()
        """Names of the jobs that another process is at, or was until it ended them."""
        self._failed_early: dict[str, LauncherError] = {}
        """Of the jobs that failed before they left anything in their folders, by name."""

    def examine_with(self, examine: Examine) -> None:
        """Have overrides composed by this."""
        self._examine = examine

    def submit_with(self, submitting: Submitting) -> None:
        """Have jobs checked for Slurm, and those that it has already followed."""
        self._submitting = submitting

    @property
    def submits(self) -> bool:
        """Whether the jobs are Slurm's."""
        return self._submitting is not None

    @property
    def command(self) -> tuple[str, ...]:
        """That was typed."""
        return self._command

    @property
    def typed(self) -> tuple[str, ...]:
        """Its overrides."""
        return self._typed

    @property
    def keep(self) -> str:
        """`sweep.keep`, which all jobs share."""
        return next((request.sweep.keep for request in self.requests.values()), "")

    def open(self, overrides: Sequence[str]) -> Sweep:
        """The sweep, as it is or as it would begin; nothing is written. The overrides are those of any of its jobs.

        Raises:
            RequestError: they cannot be composed, or another sweep lives in the folder.
        """
        if self.sweep is None:
            request, problems = self._examined(overrides)
            if request is None:
                raise RequestError("\n".join(problems))
            self.sweep = self._opened(request)
        return self.sweep

    def hold(self) -> Sweep:
        """The sweep, once it is open, as it is now; no other controller changes it from here on.

        Raises:
            SweepBusyError: another controller is at it.
        """
        self._write(self._held())
        assert self.sweep is not None
        return self.sweep

    def repeated(self, points: Sequence[Sequence[str]]) -> list[list[str]]:
        """The jobs of these points: one for each of its seeds, and of a point that is typed twice no more."""
        sweep = self.open(points[0])
        jobs: dict[frozenset[tuple[str, str]], list[str]] = {}
        for job in (job for point in points for job in repeated(point, sweep)):
            jobs.setdefault(settings_without_quotes(job), job)
        return list(jobs.values())

    def standing(self, number: int) -> Standing:
        """Where the job stands that the launcher knows by that number."""
        assert self.sweep is not None
        return standing_of(self.sweep, self._numbers[number], time.time(), self.queue)

    def job(self, number: int) -> Job:
        """The job of that number, which in the sweep may have another."""
        return self._numbers[number]

    def folder(self, number: int) -> Path:
        """Its run folder."""
        assert self.sweep is not None
        return self.sweep.folder_of(self._numbers[number])

    def standings(self) -> list[Standing]:
        """Where all jobs stand; what failed in this command before it began has left nothing in its folder."""
        assert self.sweep is not None
        found = standings_in_queue(self.sweep, self.queue, time.time())
        return [_of_failure(one, self._failed_early.get(one.job.folder)) for one in found]

    def admit(self, jobs: Sequence[Sequence[str]], first: int) -> list[ledger.Decision]:
        """What is to be done with each of the jobs, which belong to the sweep now.

        Raises:
            RequestError: some of them cannot be meant: then none is added, and every problem is named. Or the sweep's
                folder cannot be written.
            SweepBusyError: another controller is at this sweep.
        """
        self.open(jobs[0])
        self._refuse_number(len(jobs))
        self._plan(jobs)
        planned = [self._admitted[tuple(overrides)] for overrides in jobs]
        self._refuse_together(planned)
        sweep = self._held()
        sweep = replace(sweep, jobs=with_jobs(sweep, planned))
        self._write(sweep)
        self.queue.refresh(map(sweep.folder_of, sweep.jobs))
        by_name = {job.folder: job for job in sweep.jobs}
        decisions = [self._decide(number, by_name[one.name], one) for number, one in enumerate(planned, start=first)]
        admitted = [self._numbers[first + at] for at in range(len(jobs))]
        self._watcher.admitted(admitted, decisions)
        self.decisions |= {job.folder: one for job, one in zip(admitted, decisions, strict=True)}
        return decisions

    def started(self, job: ledger.Job, place: ledger.Place) -> None:
        """A process was asked for."""
        self._watcher.started(self._numbers[job.number], place.name)

    def say(self, line: str) -> None:
        """To whoever watches the sweep."""
        self._watcher.say(line)

    def expects(self, total: int) -> None:
        """How many jobs there will be, where they are added one after the other."""
        self._watcher.expects(total)

    def tick(self) -> None:
        """About once a second."""
        assert self.sweep is not None
        self._watcher.look(self.sweep, time.time(), self.queue)

    def ended(self, ended: ledger.Ended) -> ledger.Go | ledger.Stop:
        """Note how a job ended, and what that means for the others."""
        job = self._numbers[ended.job.number]
        if ended.log is None and job.folder not in self._adopted:  # it was known
            return ledger.Go()
        standing, asked = self.standing(ended.job.number), self.requests[job.folder].sweep
        failure = _failure_in(standing, self.folder(ended.job.number)) if job.folder in self._adopted else ended.failure
        if standing.state is JobState.planned and isinstance(failure, LauncherError):
            self._failed_early[job.folder] = failure
        self._watcher.ended(_of_failure(standing, self._failed_early.get(job.folder)))
        if isinstance(failure, SystemExit | KeyboardInterrupt):
            self.stopped.append(job.folder)
        elif failure is not None:
            self.failures.append((job.folder, _as_exception(failure)))
            if asked.on_failure == "stop":
                return ledger.Stop(reason=f"{job.folder} failed, and sweep.on_failure=stop")
        else:
            self._keep_best(asked.keep)
        return ledger.Go()

    def _opened(self, request: RunRequest) -> Sweep:
        swept = swept_keys(self._typed)
        fixed = tuple(text for text in self._typed if key_of(text) not in swept and not is_hydras(text))
        refuse_seeds(request, swept)
        folder = sweep_folder(request, fixed, swept)
        before = read_sweep(folder)
        self.draws_seed = before is None and SEED not in swept and request.keys.get(SEED, -1) < 0
        now = Sweep(
            version=SWEEP_VERSION,
            folder=folder,
            command=shlex.join(self._command),
            fixed=fixed,
            swept=swept,
            sweeper=sweeper_in(self._typed),
            metric=request.sweep.metric,
            mode=request.sweep.mode,
            seed=seed_of(request, before, swept),
            seeds=request.sweep.seeds,
            jobs=before.jobs if before is not None else (),
        )
        refuse_another(before, now)
        return now

    def _held(self) -> Sweep:
        """The sweep, which no other controller changes from here on."""
        assert self.sweep is not None
        if self.only_looks or self.is_ours:
            return self.sweep
        self.enter_context(hold_sweep(self.sweep.folder))
        self.is_ours = True
        before = read_sweep(self.sweep.folder)
        refuse_another(before, self.sweep)
        if before is not None and before.seed != self.sweep.seed:
            raise RequestError(f"{self.sweep.folder} appeared meanwhile: another command began it. Run this one again.")
        return replace(self.sweep, jobs=before.jobs) if before is not None else self.sweep

    def _plan(self, jobs: Sequence[Sequence[str]]) -> None:
        assert self.sweep is not None
        examined = [
            (tuple(job), *self._examined([*job, *self._seed(job)])) for job in jobs if tuple(job) not in self._admitted
        ]
        refuse_problems(
            [
                (" ".join(own_of(job, self.sweep)), [*problems, *self._in_slurm(job, request)])
                for job, request, problems in examined
            ]
        )
        for job, request, _ in examined:
            assert request is not None
            self._admitted[job] = planned_job(job, self._seed(job), request, self.sweep)
        self.requests |= {one.name: one.request for one in self._admitted.values()}

    def _refuse_together(self, planned: Sequence[Planned]) -> None:
        assert self.sweep is not None
        self._refuse_number(len(with_jobs(self.sweep, planned)))
        if self._submitting is not None:
            refuse_problems([("", self._submitting.problems_with_all([one.request for one in planned]))])

    def _refuse_number(self, num_jobs: int) -> None:
        """Before they are composed, which takes a while."""
        if self._submitting is not None:
            refuse_problems([("", self._submitting.problems_with_number(num_jobs))])

    def _in_slurm(self, job: Sequence[str], request: RunRequest | None) -> list[str]:
        """What is wrong with it there, where it is handed to Slurm."""
        assert self.sweep is not None
        if self._submitting is None or request is None:
            return []
        name = planned_job(job, self._seed(job), request, self.sweep).name
        return self._submitting.problems_with(request, self.sweep.folder / name)

    def _examined(self, overrides: Sequence[str]) -> Examined:
        assert self._examine is not None
        return self._examine(overrides)

    def _seed(self, overrides: Sequence[str]) -> list[str]:
        """That of the sweep, where the job has none."""
        assert self.sweep is not None
        has_one = self.sweep.seed is None or any(key_of(text) == SEED for text in overrides)
        return [] if has_one else [f"{SEED}={self.sweep.seed}"]

    def _write(self, sweep: Sweep) -> None:
        if not self.only_looks and sweep != self._written:
            write_sweep(sweep)
            self._written = sweep
        self.sweep = sweep
        self._watcher.knows(sweep)

    def _decide(self, number: int, job: Job, planned: Planned) -> ledger.Decision:
        self._numbers[number] = job
        standing, request = self.standing(number), planned.request
        turn = turn_of(standing, request.sweep.rerun)
        has_ended = job.folder in self._adopted and turn is not Turn.adopt and has_outcome(self.folder(number))
        if has_ended and request.resume != "never":
            return ledger.Known(value=standing.value)
        self._adopted.discard(job.folder)
        follows = self._submitting is not None and self.queue.has(self.folder(number)) is True
        if turn is Turn.adopt and not follows:
            self._adopted.add(job.folder)
            return self._wait_for(self.folder(number), standing)
        if turn is not Turn.skip or request.resume == "never":
            assert self.sweep is not None
            return ledger.Run(
                log=self.sweep.folder / LOGS / f"{job.folder}.txt",
                overrides=planned.added,
                environment=data_environment(request.dataset),
            )
        if standing.state is JobState.failed and not self.only_looks:
            self.failures.append((job.folder, _not_repeated(standing, request.sweep.rerun)))
        return ledger.Known(value=standing.value)

    def _wait_for(self, folder: Path, standing: Standing) -> ledger.Wait:
        """With what is known of who is at it, or is going to be."""
        submitted = job_of(folder)
        if standing.in_slurm:
            return ledger.Wait(folder=folder, why=f"is waited for: Slurm has it, as {standing.in_slurm}")
        if submitted and self.queue.has(folder) is None:
            said = f"its folder says {standing.state.value}, and squeue does not answer about its job {submitted}"
            return ledger.Wait(folder=folder, why=f"is waited for: {said}")
        return ledger.Wait(folder=folder)

    def _keep_best(self, keep: str) -> None:
        if not keep:
            return
        assert self.sweep is not None
        for line in apply_keep(self.sweep, keep, standings(self.sweep, time.time())):
            self._watcher.say(line)


def _of_failure(standing: Standing, failure: LauncherError | None) -> Standing:
    """With the failure of a job that came to its end before its folder says so."""
    if standing.state is not JobState.planned or failure is None:
        return standing
    return replace(standing, state=JobState.failed, code=failure.code)


def _failure_in(standing: Standing, folder: Path) -> BaseException | None:
    """Of a job that another process has run to that end."""
    if standing.state is JobState.stopped:
        return SystemExit(int(ExitCode.resumable))
    if standing.state is JobState.failed:
        look = f"launcher status {shlex.quote(called(folder))}"
        return TrainingFailedError(f"failed [{standing.code}]. Why: {look}", exit_code=ExitCode.training_failed)
    return None


def _as_exception(failure: BaseException) -> Exception:
    return failure if isinstance(failure, Exception) else TrainingFailedError(repr(failure))


def _not_repeated(standing: Standing, rerun: Rerun) -> Exception:
    why = "would fail in the same way again" if rerun is Rerun.unfinished else f"sweep.rerun={rerun.value}"
    return TrainingFailedError(
        f"failed earlier [{standing.code}], and was not repeated: {why}. sweep.rerun=failed repeats it.",
        exit_code=ExitCode.training_failed,
    )
