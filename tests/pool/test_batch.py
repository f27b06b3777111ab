"""The conductor of a batch, with a pool of values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hydra.core.utils import JobReturn, JobStatus

from launcher.errors import DeviceUnavailableError
from launcher.pool.adopted import Adopted
from launcher.pool.batch import Batch
from launcher.pool.ledger import Decision, Ended, Go, Job, Known, Place, Run, Stop, Wait
from launcher.pool.opened import run_batch
from launcher.pool.results import failed

JOBS = [[f"x={x}"] for x in range(5)]


@dataclass
class Pretended:
    """A pool of some slots, in which each job ends when it is waited for; those of `fails` fail."""

    size: int = 2
    on_cpu: bool = True
    stops_after: int = 99
    fails: tuple[int, ...] = ()
    busy_once: bool = False
    running_now: list[Job] = field(default_factory=list)
    started: list[int] = field(default_factory=list)
    stopped: list[int] = field(default_factory=list)
    most: int = 0
    clock: float = 0.0

    @property
    def stopping(self) -> bool:
        return len(self.started) >= self.stops_after

    @property
    def running(self) -> tuple[int, ...]:
        return tuple(job.number for job in self.running_now)

    @property
    def free(self) -> int:
        return 0 if self.stopping else self.size - len(self.running_now)

    def start(self, job: Job) -> Place | None:
        if self.busy_once:
            self.busy_once = False
            return None
        self.running_now.append(job)
        self.started.append(job.number)
        self.most = max(self.most, len(self.running_now))
        return Place(name="here", gpus=(), log=Path("log"))

    def wait(self, timeout_s: float) -> list[Ended]:
        self.clock += timeout_s
        if not self.running_now:
            return []
        job = self.running_now.pop(0)
        result = JobReturn(status=JobStatus.COMPLETED)
        result.return_value = job.number * 10
        if job.number in self.fails:
            result = failed([], ValueError("no"))
        code = int(job.number in self.fails)
        return [Ended(job=job, result=result, seconds=1.0, log=Path("log"), exit_code=code)]

    def stop(self, number: int) -> None:
        self.stopped.append(number)


@dataclass
class Noting:
    """A ledger that decides as it is told, and notes what it hears."""

    decisions: dict[int, list[Decision]] = field(default_factory=dict)
    stop_at: int = 99
    heard: list[str] = field(default_factory=list)

    def admit(self, jobs: Sequence[Sequence[str]], first: int) -> Sequence[Decision]:
        decided = []
        for number in range(first, first + len(jobs)):
            left = self.decisions.get(number, [])
            decided.append(left.pop(0) if left else Run())
        return decided

    def started(self, job: Job, place: Place) -> None:
        self.heard.append(f"started {job.number}")

    def tick(self) -> None:
        self.heard.append("tick")

    def ended(self, ended: Ended) -> Go | Stop:
        self.heard.append(f"ended {ended.job.number}")
        return Stop(reason="enough") if ended.job.number >= self.stop_at else Go()


def batch_of(ledger: Noting, pool: Pretended, held: set[str] | None = None, first: int = 0) -> Batch:
    adopted = Adopted(is_held=lambda folder: folder.name in (held or ()))
    return Batch(JOBS, first, ledger, adopted=adopted, now=lambda: pool.clock)


def values(batch: Batch) -> list[object]:
    return [one._return_value for one in batch.returns]


def test_every_job_runs_and_returns_come_in_the_order_of_the_jobs():
    pool, ledger = Pretended(), Noting()
    batch = batch_of(ledger, pool, first=7)

    batch.run(pool)

    assert values(batch) == [70, 80, 90, 100, 110]
    assert pool.most == 2
    assert [line for line in ledger.heard if line != "tick"][:4] == ["started 7", "started 8", "ended 7", "started 9"]


def test_what_is_known_is_not_run():
    pool = Pretended()
    batch = batch_of(Noting({number: [Known(value=number)] for number in range(5)}), pool)

    assert batch.is_done
    assert values(batch) == [0, 1, 2, 3, 4]
    assert batch.returns[0].status is JobStatus.COMPLETED


def test_a_failure_costs_no_other_job():
    pool = Pretended(fails=(1, 3))
    batch = batch_of(Noting(), pool)

    batch.run(pool)

    assert [one.status is JobStatus.FAILED for one in batch.returns] == [False, True, False, True, False]


def test_devices_that_somebody_has_just_taken_are_asked_for_again():
    pool = Pretended(busy_once=True)
    batch = batch_of(Noting(), pool)

    batch.run(pool)

    assert sorted(pool.started) == [0, 1, 2, 3, 4]


def test_a_stop_of_the_ledger_starts_nothing_more_and_stops_what_runs():
    pool = Pretended()
    batch = batch_of(Noting(stop_at=0), pool)

    batch.run(pool)

    assert pool.started == [0, 1]
    assert pool.stopped == [1]
    with pytest.raises(Exception, match="not started: enough"):
        _ = batch.returns[4].return_value


def test_a_signal_starts_nothing_more_and_waits_for_what_runs():
    pool = Pretended(stops_after=2)
    batch = batch_of(Noting(), pool)

    batch.run(pool)

    assert pool.started == [0, 1]
    assert values(batch)[:2] == [0, 10]
    assert "not started: the sweep was stopped" in str(values(batch)[2])


@pytest.mark.parametrize(("after", "value", "runs"), [(Known(value=5), 5, False), (Run(), 20, True)])
def test_a_job_of_another_process_is_waited_for_and_then_asked_about_again(after: Decision, value: int, runs: bool):
    pool, held = Pretended(), {"theirs"}
    ledger = Noting({2: [Wait(folder=Path("theirs")), after]})
    batch = batch_of(ledger, pool, held)
    while pool.clock < 20 and not batch.is_done:
        pool.clock += 1
        if pool.clock > 10:
            held.clear()
            batch.run(pool)
        else:
            batch._tick()

    assert values(batch)[2] == value
    assert (2 in pool.started) == runs


@pytest.mark.parametrize(("on_cpu", "most"), [(True, 1), (False, 2)])
def test_a_job_of_another_process_uses_the_cpu_too(on_cpu: bool, most: int):
    pool, held = Pretended(on_cpu=on_cpu), {"theirs"}
    ledger = Noting({2: [Wait(folder=Path("theirs")), Known(value=1)]})
    batch = batch_of(ledger, pool, held)
    pool.fails = ()

    batch._start_what_fits(pool)

    assert len(pool.running) == most


class Taken(Pretended):
    """A pool without a device that is free when the batch begins."""

    def refuse_taken(self) -> None:
        raise DeviceUnavailableError("too few are free")

    def __enter__(self) -> Taken:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def test_devices_that_others_have_refuse_a_batch():
    with pytest.raises(DeviceUnavailableError):
        run_batch(JOBS, 0, Noting(), Taken)


def test_devices_that_earlier_jobs_of_the_sweep_have_are_waited_for(tmp_path: Path):
    ledger = Noting({2: [Wait(folder=tmp_path), Known(value=7)]})

    returns = run_batch(JOBS, 0, ledger, Taken)

    assert [one._return_value for one in returns] == [0, 10, 7, 30, 40]
