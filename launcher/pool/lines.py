"""The ledger of an application that keeps none: nothing is known of earlier, and a line is printed per event."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from launcher.pool.ledger import Decision, Ended, Go, Job, Place, Run, Stop


class Lines:
    """Runs every job, whatever becomes of the others."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._first = self._of = 0
        self._shared: frozenset[str] = frozenset()

    def admit(self, jobs: Sequence[Sequence[str]], first: int) -> Sequence[Decision]:
        self._first, self._of = first, len(jobs)
        # What all jobs have in common tells none from another.
        self._shared = frozenset.intersection(*map(frozenset, jobs)) if len(jobs) > 1 else frozenset()
        return [Run() for _ in jobs]

    def started(self, job: Job, place: Place) -> None:
        own = " ".join(override for override in job.overrides if override not in self._shared)
        self._say(f"{self._name(job)} started on {place.name}: {own}")

    def tick(self) -> None:
        pass

    def ended(self, ended: Ended) -> Go | Stop:
        self._say(f"{self._name(ended.job)} {describe_end(ended)}")
        return Go()

    def _name(self, job: Job) -> str:
        return f"job {job.number - self._first + 1}/{self._of}"


def describe_end(ended: Ended) -> str:
    """`returned 0.25 after 3.2 s`, `failed after 0.4 s: ValueError: no such file`."""
    if ended.failure is None:
        value = ended.result._return_value
        said = f"returned {value}" if isinstance(value, int | float | str) else "finished"
        return f"{said} after {ended.seconds:.1f} s"
    if isinstance(ended.failure, SystemExit):
        return f"ended with exit code {ended.exit_code} after {ended.seconds:.1f} s (log: {ended.log})"
    error = ended.failure
    first = str(error).strip().splitlines()[0] if str(error).strip() else ""
    return f"failed after {ended.seconds:.1f} s: {type(error).__name__}: {first} (log: {ended.log})"
