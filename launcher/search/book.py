"""What a search asks of the books of its sweep, beside what the pool asks; see `launcher.sweep.books`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from launcher.pool.ledger import Ledger
from launcher.sweep.values import Sweep


class Book(Ledger, Protocol):
    """Of the sweep that this command is."""

    only_looks: bool
    """Nothing is to be written, and nothing runs."""

    @property
    def sweep(self) -> Sweep | None:
        """With all jobs that it has so far; None before it is opened."""

    def say(self, line: str) -> None:
        """To whoever watches the sweep."""

    def expects(self, total: int) -> None:
        """How many jobs there will be."""

    def open(self, overrides: Sequence[str]) -> Sweep:
        """The sweep as earlier starts left it, by the overrides of any of its jobs; none is added.

        Raises:
            RequestError: they cannot be meant, or the sweep is another one.
        """

    def hold(self) -> Sweep:
        """The sweep, once it is open, as it is now; no other controller changes it from here on.

        Raises:
            SweepBusyError: another controller is at it.
        """
