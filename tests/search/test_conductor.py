"""A search from its first proposal to its last job, with a pool and books of values."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hydra.core.utils import JobReturn, JobStatus

from launcher.config.request import BestMode
from launcher.config.values import read_json_if_valid, to_plain, write_json
from launcher.errors import RequestError
from launcher.launch.folder_lock import lock_folder
from launcher.pool.adopted import Adopted
from launcher.pool.ledger import Decision, Ended, Go, Job, Known, Place, Run, Stop, Wait
from launcher.run import codes
from launcher.run.outcome import Ending, Outcome, Pruned
from launcher.run.paths import RunPaths
from launcher.search.conductor import Search
from launcher.search.space import Point, Space, parse, space_of
from launcher.search.values import Aim, Plan, Proposing, Pruning
from launcher.sweep.values import Job as SweepJob
from launcher.sweep.values import Sweep
from tests.recorded_runs import begin, record_run, stopped_after, write_metrics
from tests.values import failed_with, finished_after

SPACE = space_of(parse(["lr=interval(0, 100)", "act=relu,gelu"], None))
NO_PRUNING = Pruning(pruner="none", settings={})


def scored(value: float) -> Outcome:
    done = finished_after(100)
    return replace(done, work=replace(done.work, metrics={"bbox/AP": value}))


def by_lr(job: SweepJob) -> Outcome:
    return scored(float(job.overrides[0].partition("=")[2]))


class Book:
    """Keeps a sweep in a folder, as `launcher.sweep.books` does, without composing anything."""

    only_looks = False

    def __init__(self, folder: Path, jobs: Sequence[SweepJob] = ()) -> None:
        self.sweep = Sweep(
            version=1,
            folder=folder,
            command="",
            fixed=(),
            swept=("lr", "act"),
            sweeper="search",
            metric="bbox/AP",
            mode=BestMode.max,
            seed=1,
            seeds=1,
            jobs=tuple(jobs),
        )
        self.said: list[str] = []
        self.order: list[str] = []
        self.decide: Callable[[int], Decision] = lambda _: Run()
        self.refuse: Callable[[Sequence[str]], str] = lambda _: ""
        self.verdict: Callable[[Ended], Go | Stop] = lambda _: Go()

    def open(self, overrides: Sequence[str]) -> Sweep:
        return self.sweep

    def hold(self) -> Sweep:
        return self.sweep

    def say(self, line: str) -> None:
        self.said.append(line)

    def admit(self, jobs: Sequence[Sequence[str]], first: int) -> list[Decision]:
        (overrides,) = jobs
        if problem := self.refuse(overrides):
            raise RequestError(problem)
        if first == len(self.sweep.jobs):
            own = tuple(text for text in overrides if not text.startswith("fixed"))
            job = SweepJob(number=first, overrides=own, folder=str(first))
            self.sweep = replace(self.sweep, jobs=(*self.sweep.jobs, job))
        return [self.decide(first)]

    def started(self, job: Job, place: Place) -> None:
        self.order.append(f"start {job.number}")

    def tick(self) -> None:
        pass

    def ended(self, ended: Ended) -> Go | Stop:
        self.order.append(f"end {ended.job.number}")
        return self.verdict(ended)


class Pool:
    """Runs jobs by writing what they would have left, each after so many waits."""

    stopping = False
    on_cpu = True

    def __init__(self, book: Book, size: int = 2, outcome_of: Callable[[SweepJob], Outcome] = by_lr) -> None:
        self.book = book
        self.size = size
        self.outcome_of = outcome_of
        self.left: dict[int, int] = {}
        self.jobs: dict[int, Job] = {}
        self.lasts: Callable[[int], int] = lambda _: 1
        self.stopped: list[int] = []

    @property
    def free(self) -> int:
        return self.size - len(self.left)

    @property
    def running(self) -> tuple[int, ...]:
        return tuple(self.left)

    def start(self, job: Job) -> Place | None:
        self.left[job.number], self.jobs[job.number] = self.lasts(job.number), job
        return Place(name="CPU", gpus=(), log=Path())

    def stop(self, number: int) -> None:
        self.stopped.append(number)
        self.left[number] = 1

    def wait(self, timeout_s: float) -> list[Ended]:
        self.left = {number: left - 1 for number, left in self.left.items()}
        return [self._end(number) for number, left in [*self.left.items()] if left <= 0]

    def _end(self, number: int) -> Ended:
        del self.left[number]
        sweep, job = self.book.sweep, self.book.sweep.jobs[number]
        outcome = self.outcome_of(job)
        if number in self.stopped:
            outcome = replace(stopped_after(50), ending=Ending.pruned)
        if not RunPaths(sweep.folder_of(job)).attempt_numbers():
            record_run(sweep.folder_of(job), outcome)
        else:
            RunPaths(sweep.folder_of(job)).attempt(1).outcome.write_text(json.dumps(to_plain(outcome)))
        returned = JobReturn(overrides=list(self.jobs[number].overrides), status=JobStatus.COMPLETED)
        return Ended(job=self.jobs[number], result=returned, seconds=1.0, log=Path(), exit_code=0)


def plan(n_trials: int, *, space: Space = SPACE, first: Point | None = None, pruning: Pruning = NO_PRUNING) -> Plan:
    aim = Aim(metric="bbox/AP", mode=BestMode.max)
    return Plan(
        how=Proposing(space=space, aim=aim, sampler="random", settings={}, seed=1),
        pruning=pruning,
        n_trials=n_trials,
        first=first,
        overrides_of=lambda point: ("fixed=1", *point),
    )


def search(asked: Plan, book: Book, pool: Pool, **more: Any) -> Search:
    running = Search(asked, book, **more)
    running.recall()
    running.run(pool)
    return running


def points(book: Book) -> list[Point]:
    return [job.overrides for job in book.sweep.jobs]


def test_a_job_is_proposed_as_soon_as_a_device_is_free(tmp_path: Path):
    book = Book(tmp_path)
    pool = Pool(book)
    pool.lasts = lambda number: 5 if number == 0 else 1

    found = search(plan(5), book, pool)

    assert book.order[:6] == ["start 0", "start 1", "end 1", "start 2", "end 2", "start 3"]
    assert sorted(found.returns) == [0, 1, 2, 3, 4]
    assert not found.was_stopped
    assert len(set(points(book))) == 5


def test_the_configuration_as_it_is_is_job_0_where_it_lies_in_the_space(tmp_path: Path):
    book = Book(tmp_path)

    search(plan(3, first=("lr=7.0", "act=gelu")), book, Pool(book))

    assert points(book)[0] == ("lr=7.0", "act=gelu")
    assert points(book).count(("lr=7.0", "act=gelu")) == 1


def test_the_same_command_has_nothing_to_do_and_more_trials_add_to_those_there_are(tmp_path: Path):
    search(plan(4), first := Book(tmp_path), Pool(first))
    again, more = Book(tmp_path, first.sweep.jobs), Book(tmp_path, first.sweep.jobs)

    search(plan(4), again, Pool(again))
    search(plan(6), more, Pool(more))

    assert again.order == []
    assert points(more)[:4] == points(first)
    assert [line for line in more.order if line.startswith("start")] == ["start 4", "start 5"]


def test_a_search_that_was_interrupted_proposes_what_it_would_have_proposed(tmp_path: Path):
    search(plan(6), whole := Book(tmp_path / "whole"), Pool(whole, size=1))
    search(plan(3), half := Book(tmp_path / "half"), Pool(half, size=1))
    rest = Book(tmp_path / "half", half.sweep.jobs)

    search(plan(6), rest, Pool(rest, size=1))

    assert points(rest) == points(whole)


def test_jobs_that_did_not_come_to_their_end_are_run_before_new_ones(tmp_path: Path):
    search(plan(4), first := Book(tmp_path), Pool(first, outcome_of=lambda _: stopped_after(10)))
    again = Book(tmp_path, first.sweep.jobs)

    search(plan(5), again, Pool(again))

    assert again.order[:2] == ["start 0", "start 1"]
    assert [line for line in again.order if line == "start 4"]


def test_a_job_that_failed_is_no_value_and_does_not_end_the_search(tmp_path: Path):
    book = Book(tmp_path)
    pool = Pool(book, outcome_of=lambda job: failed_with(codes.DIVERGED) if job.number % 2 else by_lr(job))

    found = search(plan(6), book, pool)

    assert len(found.returns) == 6
    assert found.has_value


def test_a_search_in_which_nothing_was_measured_has_no_value(tmp_path: Path):
    book = Book(tmp_path)

    assert not search(plan(5), book, Pool(book, outcome_of=lambda _: finished_after(100))).has_value
    assert len(points(book)) == 5


def test_a_job_that_another_process_runs_is_waited_for_and_counts(tmp_path: Path):
    search(plan(2), first := Book(tmp_path), Pool(first, outcome_of=lambda _: stopped_after(10)))
    again, held = Book(tmp_path, first.sweep.jobs), [True, True, False]
    waited = iter([Wait(folder=tmp_path / "0"), Run(), Known(value=3.0)])
    again.decide = lambda _: next(waited)
    clock = iter(range(0, 10_000, 2))

    found = search(
        plan(2), again, Pool(again), adopted=Adopted(is_held=lambda _: held.pop(0)), now=lambda: float(next(clock))
    )

    assert sorted(found.returns) == [0, 1]
    assert "start 0" not in again.order
    assert held == []


def test_the_end_of_a_job_that_was_waited_for_is_noted_as_that_of_any_other(tmp_path: Path):
    search(plan(2), first := Book(tmp_path), Pool(first, outcome_of=lambda _: stopped_after(10)))
    again, held = Book(tmp_path, first.sweep.jobs), [True, False]
    again.decide = lambda number: Run() if number else Wait(folder=tmp_path / "0") if held else Known(value=None)
    again.verdict = lambda _: Stop(reason="0 failed")
    clock, adopted = iter(range(0, 10_000, 2)), Adopted(is_held=lambda _: held.pop(0))
    begun = Search(plan(9), again)
    begun.recall()
    assert begun.waits, "what that job has of the GPUs gets free"

    found = search(plan(9), again, Pool(again, size=1), adopted=adopted, now=lambda: float(next(clock)))

    assert again.order == ["end 0"]
    assert found.was_stopped


def test_a_point_that_cannot_be_trained_is_replaced_by_another(tmp_path: Path):
    book = Book(tmp_path)
    book.refuse = lambda overrides: "gelu is unknown" if "act=gelu" in overrides else ""

    search(plan(4, first=("lr=1.0", "act=relu")), book, Pool(book))

    assert {point[1] for point in points(book)} == {"act=relu"}
    assert len(points(book)) == 4
    assert any("gelu is unknown" in line for line in book.said)


def test_a_first_point_that_cannot_be_trained_refuses_the_search(tmp_path: Path):
    book = Book(tmp_path)
    book.refuse = lambda _: "nothing works"

    with pytest.raises(RequestError, match="nothing works"):
        search(plan(4), book, Pool(book))

    assert book.order == []


def test_a_space_in_which_almost_nothing_can_be_trained_ends_with_the_reason(tmp_path: Path):
    book = Book(tmp_path)
    book.refuse = lambda overrides: "too large" if "lr=1.0" not in overrides else ""

    with pytest.raises(RequestError, match="too large"):
        search(plan(40, first=("lr=1.0", "act=relu")), book, Pool(book, size=1))


def test_a_small_space_ends_when_all_of_it_is_tried(tmp_path: Path):
    small = space_of(parse(["lr=1,2,3"], None))
    book = Book(tmp_path)

    search(plan(50, space=small), book, Pool(book))

    assert sorted(points(book)) == sorted(small.points())
    assert book.said == ["all 3 points of the space are tried, so the search ends here"]


def test_jobs_of_an_earlier_space_stay_and_teach_nothing(tmp_path: Path):
    outside = SweepJob(number=0, overrides=("lr=500.0", "act=relu"), folder="0")
    record_run(tmp_path / "0", stopped_after(10))
    book = Book(tmp_path, [outside])

    search(plan(3), book, Pool(book))

    assert book.order[0] == "start 1"
    assert len(points(book)) == 3


def test_when_it_is_told_to_stop_what_runs_is_stopped_and_nothing_more_starts(tmp_path: Path):
    book = Book(tmp_path)
    pool = Pool(book)
    pool.lasts = lambda number: 1 if number == 0 else 50
    book.verdict = lambda _: Stop(reason="0 failed")

    found = search(plan(10), book, pool)

    assert found.was_stopped
    assert pool.stopped == [1]
    assert len(points(book)) == 2


MEDIAN = Pruning(pruner="median", settings={"n_startup_trials": 2})


class Trainings(Pool):
    """Writes one evaluation of each job at every wait: a tenth of its end at each."""

    def start(self, job: Job) -> Place | None:
        folder = self.book.sweep.folder_of(self.book.sweep.jobs[job.number])
        begin(folder)
        self.lasts = lambda _: 10
        return super().start(job)

    def wait(self, timeout_s: float) -> list[Ended]:
        for number, left in self.left.items():
            job = self.book.sweep.jobs[number]
            value, done = by_lr(job).work.metrics["bbox/AP"], 11 - left
            line = json.dumps({"bbox/AP": value * done / 10, "iteration": 10 * done - 1}) + "\n"
            with RunPaths(self.book.sweep.folder_of(job)).metrics.open("a") as file:
                file.write(line)
        return super().wait(timeout_s)


def test_a_job_that_is_worse_than_the_median_is_stopped_and_pruned(tmp_path: Path):
    book = Book(tmp_path)
    pool = Trainings(book, size=1)
    clock = iter(range(0, 1_000_000, 2))

    found = search(plan(12, pruning=MEDIAN), book, pool, now=lambda: float(next(clock)))

    ends = [by_lr(job).work.metrics["bbox/AP"] for job in book.sweep.jobs]
    assert pool.stopped
    assert ends.index(max(ends)) not in pool.stopped
    for number in pool.stopped:
        note = json.loads(RunPaths(tmp_path / str(number)).attempt(1).pruned.read_text())
        assert (note["metric"], note["pruner"]) == ("bbox/AP", "median")
        assert note["value"] == pytest.approx(ends[number] * note["iterations"] / 100)
    assert len(found.returns) == 12
    assert sum("is pruned" in line for line in book.said) == len(pool.stopped)


class Outliving(Trainings):
    """One job trains without a place in this pool, since an earlier controller started it."""

    def __init__(self, book: Book, number: int) -> None:
        super().__init__(book, size=1)
        self.outlives = number
        self.done = 0
        self.asked: list[Path] = []

    def is_held(self, folder: Path) -> bool:
        self.done += 1
        with RunPaths(folder).metrics.open("a") as file:
            file.write(json.dumps({"bbox/AP": 0.0, "iteration": 10 * self.done - 1}) + "\n")
        return not self.asked


def an_outliving_job(folder: Path) -> tuple[Book, Outliving]:
    """Three jobs of values 1, 2 and 3 that finished, and one that still trains, badly."""
    jobs = [SweepJob(number=at, overrides=(f"lr={at}.0", "act=relu"), folder=str(at)) for at in (1, 2, 3)]
    jobs = [replace(job, number=at) for at, job in enumerate(jobs)]
    worst = SweepJob(number=3, overrides=("lr=0.5", "act=relu"), folder="worst")
    for job in jobs:
        value = by_lr(job).work.metrics["bbox/AP"]
        paths = record_run(folder / job.folder, by_lr(job))
        write_metrics(paths, *({"bbox/AP": value * done / 10, "iteration": 10 * done - 1} for done in range(1, 11)))
    begin(folder / "worst")
    book = Book(folder, [*jobs, worst])
    book.decide = lambda _: Wait(folder=folder / "worst") if not pool.asked else Known(value=None)
    pool = Outliving(book, 3)
    return book, pool


def search_with(book: Book, pool: Outliving) -> Search:
    clock = iter(range(0, 1_000_000, 2))
    return search(
        plan(4, pruning=MEDIAN), book, pool,
        adopted=Adopted(is_held=pool.is_held, stop=pool.asked.append), now=lambda: float(next(clock)),
    )  # fmt: skip


def test_a_job_that_outlived_its_controller_is_pruned_as_any_other(tmp_path: Path):
    book, pool = an_outliving_job(tmp_path)

    with lock_folder(tmp_path / "worst"):
        found = search_with(book, pool)

    assert pool.asked == [tmp_path / "worst"]
    assert read_json_if_valid(RunPaths(tmp_path / "worst").attempt(1).pruned, Pruned) is not None
    assert any(line.startswith("worst is pruned") for line in book.said)
    assert not found.was_stopped


def test_a_job_whose_controller_died_before_it_asked_for_the_stop_is_asked(tmp_path: Path):
    book, pool = an_outliving_job(tmp_path)
    note = Pruned(metric="bbox/AP", value=0.0, iterations=10, pruner="median")
    write_json(RunPaths(tmp_path / "worst").attempt(1).pruned, note)

    with lock_folder(tmp_path / "worst"):
        search_with(book, pool)

    assert pool.asked == [tmp_path / "worst"]
    assert book.said == []


def test_a_pruned_job_that_somebody_continues_is_not_pruned_again(tmp_path: Path):
    book, pool = an_outliving_job(tmp_path)
    write_json(RunPaths(tmp_path / "worst").attempt(1).pruned, {})
    begin(tmp_path / "worst", attempt=2)
    pool.is_held = lambda folder: Outliving.is_held(pool, folder) and pool.done < 12
    book.decide = lambda _: Wait(folder=tmp_path / "worst") if pool.done < 12 else Known(value=None)

    with lock_folder(tmp_path / "worst"):
        search_with(book, pool)

    assert pool.asked == []
