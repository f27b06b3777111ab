"""What takes seconds to start and is started before anybody knows whether it is needed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from launcher.errors import LauncherError

T = TypeVar("T")


class Ahead(Generic[T]):
    """Holds it until somebody takes it."""

    def __init__(self, end: Callable[[T], object]) -> None:
        self._end = end
        self._waiting: T | None = None

    @contextlib.contextmanager
    def started(self, start: Callable[[], T]) -> Iterator[None]:
        """Start it now; it ends with the block unless it has been taken.

        What keeps it from starting is not said: whoever needs it will start it, and say so.
        """
        with contextlib.suppress(OSError, LauncherError):
            self._waiting = start()
        try:
            yield
        finally:
            self.drop()

    def take_if(self, fits: Callable[[T], bool]) -> T | None:
        """It is the caller's now, if it fits; otherwise it ends."""
        if self._waiting is not None and not fits(self._waiting):
            self.drop()
        return self.take()

    def drop(self) -> None:
        """Nobody needs it: it ends."""
        if (waiting := self.take()) is not None:
            self._end(waiting)

    def take(self) -> T | None:
        """It is the caller's now; None where there is none."""
        waiting, self._waiting = self._waiting, None
        return waiting
