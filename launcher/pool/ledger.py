"""What the pool asks of whoever keeps the books of a sweep. A task function may carry one as its `ledger`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from hydra.core.utils import JobReturn


@dataclass(frozen=True, kw_only=True)
class Run:
    """The job is to run."""

    log: Path | None = None
    """For what it prints, appended; None for a file in the sweep's folder."""
    overrides: tuple[str, ...] = ()
    """In addition to those that it is known by, such as where it lives."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """On top of the controller's. A value that is read when a library is imported gets a warm server of its own."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """The job ended well earlier: it is not run, and returns this."""

    value: object


@dataclass(frozen=True, kw_only=True)
class Wait:
    """Another process is at the job. The pool waits until nobody holds the folder's lock, then asks again."""

    folder: Path
    why: str = "another process runs it, and is waited for"
    """For people."""


Decision = Run | Known | Wait


@dataclass(frozen=True, kw_only=True)
class Job:
    """One job that is to run."""

    number: int
    """Hydra's `hydra.job.num`."""
    overrides: tuple[str, ...]
    """All that are given for it, those that the whole sweep shares too."""
    run: Run = Run()


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a job runs."""

    name: str
    """For people: `GPU 0`, `CPU, 2 threads`."""
    gpus: tuple[str, ...]
    """UUIDs; empty on the CPU."""
    log: Path


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a job ended."""

    job: Job
    result: JobReturn
    """Hydra's: FAILED with the exception as value, also for one that crashed or was stopped."""
    seconds: float
    """0 for one that was not run."""
    log: Path | None
    exit_code: int | None
    """Of `sys.exit` in the job, 128 + n where signal n ended the process; 0 for a return, 1 for an exception; None
    where nobody knows."""
    signal: int | None = None
    """That ended the process."""

    @property
    def failure(self) -> BaseException | None:
        value = self.result._return_value
        return value if isinstance(value, BaseException) and self.exit_code != 0 else None


@dataclass(frozen=True, kw_only=True)
class Go:
    """The sweep continues."""


@dataclass(frozen=True, kw_only=True)
class Stop:
    """No further job starts, and those that run get SIGTERM, the stop that a training understands."""

    reason: str
    """For the jobs that are not started."""


class Ledger(Protocol):
    """Called in the controller, from one thread."""

    def admit(self, jobs: Sequence[Sequence[str]], first: int) -> Sequence[Decision]:
        """What is to be done with each job of a batch, by its overrides; the first one has that number.

        May raise, which refuses the whole batch before anything starts. Asked once more about a job that was waited
        for, alone.
        """

    def started(self, job: Job, place: Place) -> None:
        """A process was asked for; it may still be importing."""

    def tick(self) -> None:
        """About once a second while jobs run."""

    def ended(self, ended: Ended) -> Go | Stop:
        """Called for jobs that were known or stopped too; not for those that never started."""
