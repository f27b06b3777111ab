"""The books of one sweep while it runs: what its sweeper and its launcher ask about jobs. They are kept in folders."""

from __future__ import annotations

import contextlib
import secrets
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from omegaconf import DictConfig

from launcher.config.compose import Examined
from launcher.config.request import Rerun, RunRequest
from launcher.errors import ExitCode, RequestError, TrainingFailedError
from launcher.pool import ledger
from launcher.sweep.naming import SEED, job_name, key_of, sweep_folder
from launcher.sweep.policy import Turn, turn_of
from launcher.sweep.problems import refuse_problems
from launcher.sweep.record import hold_sweep, read_sweep, refuse_another, write_sweep
from launcher.sweep.retention import apply_keep
from launcher.sweep.standing import standing_of, standings
from launcher.sweep.values import SWEEP_VERSION, Job, JobState, Standing, Sweep
from launcher.sweep.watch import Watcher

SEEDS = 2**31
LONGEST_SEED = 2**32 - 1


@dataclass(frozen=True, kw_only=True)
class Space:
    """What a sweeper makes jobs of."""

    sweeper: str
    """Its name, as in `hydra/sweeper=`."""
    swept: tuple[str, ...]
    """The keys that differ from job to job, without a plus."""
    compose: Callable[[Sequence[str]], DictConfig]
    """Hydra's configuration of the job with these overrides."""


@dataclass(frozen=True, kw_only=True)
class _Planned:
    """A job before it has a folder."""

    overrides: tuple[str, ...]
    """All of them."""
    own: tuple[str, ...]
    repeats: int | None
    request: RunRequest


class Books(contextlib.ExitStack):
    """Everything that is known about a sweep is in its folders; this says it to those who ask.

    Used in a `with` block, at whose end other commands may run the sweep again.
    """

    only_looks = False
    """Whether nothing is to start."""

    def __init__(
        self, *, command: Sequence[str], typed: Sequence[str], watcher: Watcher, now: Callable[[], float] = time.time
    ) -> None:
        """`typed` are the overrides of the command line."""
        super().__init__()
        self.failures: list[tuple[str, Exception]] = []
        self.stopped: list[str] = []
        """Names of the jobs that were interrupted."""
        self.sweep: Sweep | None = None
        """None until the first job has been planned."""
        self.requests: dict[str, RunRequest] = {}
        """Of the jobs that were planned, by their folder."""
        self._command = tuple(command)
        self._typed = tuple(typed)
        self._watcher = watcher
        self._now = now
        self._examine: Callable[[DictConfig], Examined] | None = None
        self._numbers: dict[int, Job] = {}
        """The jobs that the launcher was told of, by its own number."""
        self._by_place: dict[str, Job] = {}
        """By the override that says where a job lives, which is the last of its overrides."""

    def examine_with(self, examine: Callable[[DictConfig], Examined]) -> None:
        """Have what was composed turned into requests by this."""
        self._examine = examine

    @property
    def keep(self) -> str:
        """`sweep.keep`, which all jobs share."""
        return next((request.sweep.keep for request in self.requests.values()), "")

    # asked by a sweeper

    def plan(self, space: Space, points: Sequence[Sequence[str]]) -> list[list[str]]:
        """The overrides of the jobs that these points need, with seed and folder; they belong to the sweep now.

        Raises:
            RequestError: some of them cannot be meant: then none does, and every problem is named.
            SweepBusyError: another controller is at this sweep.
        """
        first = self._examined(space, points[:1])
        sweep = self.sweep or self._open(space, first[0].request)
        planned = self._examined(space, [job for point in points for job in repeated(point, sweep, space.swept)])
        jobs = _with_jobs(sweep, planned)
        self._write(replace(sweep, jobs=jobs))
        by_folder = {job.folder: job for job in jobs}
        names = dict.fromkeys(_name_of(one) for one in planned)
        found = {_name_of(one): one for one in planned}
        self.requests |= {name: one.request for name, one in found.items()}
        return [self._placed(found[name], by_folder[name]) for name in names]

    def _open(self, space: Space, request: RunRequest) -> Sweep:
        """The sweep, as it is or as it begins; from here on it is ours."""
        fixed = tuple(text for text in self._typed if key_of(text) not in space.swept and not is_hydras(text))
        _refuse_seeds(request, space.swept)
        folder = sweep_folder(request, fixed, space.swept)
        if not self.only_looks:
            self.enter_context(hold_sweep(folder))
        before = read_sweep(folder)
        now = Sweep(
            version=SWEEP_VERSION,
            folder=folder,
            command=shlex.join(self._command),
            fixed=fixed,
            swept=space.swept,
            sweeper=space.sweeper,
            metric=request.sweep.metric,
            mode=request.sweep.mode,
            seed=_seed_of(request, before, space.swept),
            seeds=request.sweep.seeds,
            jobs=before.jobs if before is not None else (),
        )
        refuse_another(before, now)
        return now

    def _examined(self, space: Space, points: Sequence[Sequence[str]]) -> list[_Planned]:
        assert self._examine is not None
        planned, problems = [], []
        for point in points:
            overrides = tuple(text for text in point if not is_hydras(text))
            own = tuple(text.lstrip("+") for text in overrides if key_of(text) in space.swept)
            request, found = self._examine(space.compose(point))
            problems.append((" ".join(own), found))
            if request is not None and not found:
                repeats = _repeat_of(point, self.sweep, space.swept)
                planned.append(_Planned(overrides=tuple(point), own=own, repeats=repeats, request=request))
        refuse_problems(problems)
        return planned

    def _write(self, sweep: Sweep) -> None:
        if not self.only_looks and sweep != self.sweep:
            write_sweep(sweep)
        if self.sweep is None:
            self._watcher.begin(sweep)
        self.sweep = sweep

    def _placed(self, planned: _Planned, job: Job) -> list[str]:
        assert self.sweep is not None
        place = f"hydra.sweep.subdir={quoted(job.folder)}"
        self._by_place[place] = job
        return [*planned.overrides, f"hydra.sweep.dir={quoted(str(self.sweep.folder))}", place]

    # asked by a launcher: launcher.pool.ledger.Ledger

    def admit(self, jobs: Sequence[Sequence[str]], first: int) -> list[ledger.Decision]:
        """What is to be done with each of the planned jobs."""
        return [self._decide(number, self._by_place[one[-1]]) for number, one in enumerate(jobs, start=first)]

    def started(self, job: ledger.Job, place: ledger.Place) -> None:
        self._watcher.started(self._numbers[job.number], place.name)

    def tick(self) -> None:
        assert self.sweep is not None
        self._watcher.look(self.sweep, self._now())

    def ended(self, ended: ledger.Ended) -> ledger.Go | ledger.Stop:
        """Note how a job ended, and what that means for the others."""
        assert self.sweep is not None
        job = self._numbers[ended.job.number]
        standing = standing_of(self.sweep, job, self._now())
        self._watcher.ended(standing)
        if ended.log is None:  # it was known
            return ledger.Go()
        failure = ended.failure
        if isinstance(failure, SystemExit | KeyboardInterrupt):
            self.stopped.append(job.folder)
        elif failure is not None:
            self.failures.append((job.folder, _as_exception(failure)))
            if self.requests[job.folder].sweep.on_failure == "stop":
                return ledger.Stop(reason=f"{job.folder} failed, and sweep.on_failure=stop")
        else:
            self._keep_best(self.requests[job.folder])
        return ledger.Go()

    def _decide(self, number: int, job: Job) -> ledger.Decision:
        assert self.sweep is not None
        self._numbers[number] = job
        request = self.requests[job.folder]
        standing = standing_of(self.sweep, job, self._now())
        turn = turn_of(standing, request.sweep.rerun)
        if turn is Turn.adopt:
            return ledger.Wait(folder=self.sweep.folder_of(job))
        if turn is Turn.run or request.resume == "never":
            return ledger.Run(log=self.sweep.folder / "logs" / f"{job.folder}.txt")
        if standing.state is JobState.failed:
            self.failures.append((job.folder, _not_repeated(standing, request.sweep.rerun)))
        return ledger.Known(value=standing.value)

    def _keep_best(self, request: RunRequest) -> None:
        assert self.sweep is not None
        for line in apply_keep(self.sweep, request.sweep.keep, standings(self.sweep, self._now())):
            self._watcher.say(line)


def repeated(point: Sequence[str], sweep: Sweep, swept: Sequence[str]) -> Iterator[list[str]]:
    """The jobs of a point, by their overrides: one for each of its seeds."""
    if SEED in swept or sweep.seed is None:
        yield list(point)
        return
    without = [text for text in point if key_of(text) != SEED]
    for number in range(sweep.seeds):
        yield [*without, f"{SEED}={sweep.seed + number}"]


def is_hydras(override: str) -> bool:
    """Whether it sets something of Hydra itself."""
    return key_of(override).partition(".")[0].partition("/")[0] == "hydra"


def quoted(text: str) -> str:
    """As a value in Hydra's grammar, whatever is in it."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'") if text.endswith("\\") else text.replace("'", "\\'")
    return f"'{escaped}'"


def _repeat_of(point: Sequence[str], sweep: Sweep | None, swept: Sequence[str]) -> int | None:
    """The seed of a point that is not its first one."""
    typed = [text.partition("=")[2] for text in point if key_of(text) == SEED]
    if sweep is None or sweep.seed is None or SEED in swept or not typed or int(typed[-1]) == sweep.seed:
        return None
    return int(typed[-1])


def _name_of(planned: _Planned) -> str:
    return job_name(planned.request, planned.own, repeats=planned.repeats)


def _with_jobs(sweep: Sweep, planned: Sequence[_Planned]) -> tuple[Job, ...]:
    """Those that there are, and the new ones after them."""
    jobs = {job.folder: job for job in sweep.jobs}
    for one in planned:
        seed = (f"{SEED}={one.repeats}",) if one.repeats is not None else ()
        name = _name_of(one)
        jobs.setdefault(name, Job(number=len(jobs), overrides=(*one.own, *seed), folder=name))
    return tuple(jobs.values())


def _seed_of(request: RunRequest, before: Sweep | None, swept: Sequence[str]) -> int | None:
    """As asked for, as drawn before, or drawn now."""
    if SEED in swept:
        return None
    asked = request.keys.get(SEED, -1)
    if asked >= 0:
        return int(asked)
    return before.seed if before is not None and before.seed is not None else secrets.randbelow(SEEDS)


def _refuse_seeds(request: RunRequest, swept: Sequence[str]) -> None:
    seeds, asked = request.sweep.seeds, request.keys.get(SEED, -1)
    if seeds > 1 and SEED in swept:
        raise RequestError(
            f"sweep.seeds={seeds} repeats each point with seeds of its own, and SEED is swept. Drop one."
        )
    if asked + seeds - 1 > LONGEST_SEED:
        raise RequestError(f"sweep.seeds={seeds} from SEED={asked} on leads beyond {LONGEST_SEED}. Lower SEED.")


def _as_exception(failure: BaseException) -> Exception:
    return failure if isinstance(failure, Exception) else TrainingFailedError(repr(failure))


def _not_repeated(standing: Standing, rerun: Rerun) -> Exception:
    why = "would fail in the same way again" if rerun is Rerun.unfinished else f"sweep.rerun={rerun.value}"
    return TrainingFailedError(
        f"failed earlier [{standing.code}], and was not repeated: {why}. sweep.rerun=failed repeats it.",
        exit_code=ExitCode.training_failed,
    )
