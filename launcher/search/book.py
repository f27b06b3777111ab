"""What a search asks of the books of its sweep, beside what the pool asks; see `launcher.sweep.books`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from launcher.pool.ledger import Ledger
from launcher.sweep.books import Space
from launcher.sweep.values import Sweep


class Book(Ledger, Protocol):
    """Of the sweep that this command is."""

    @property
    def sweep(self) -> Sweep | None:
        """With all jobs that it has so far; None before `begin`."""

    def begin(self, space: Space, point: Sequence[str]) -> Sweep:
        """The sweep as earlier starts left it, found by the overrides of any of its points; no job is added.

        Raises:
            RequestError: that point cannot be meant, or the sweep is another one.
            SweepBusyError: another controller is at it.
        """

    def plan(self, space: Space, points: Sequence[Sequence[str]]) -> list[list[str]]:
        """All that the jobs at these points are given, by the overrides of each point; they belong to the sweep now.

        Raises:
            RequestError: some of them cannot be meant: then none does.
        """
