"""Jobs that another process started: no children of ours, so that what becomes of them is seen in their folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from launcher.pool.ledger import Wait
from launcher.run.holder import holder_of
from launcher.run.stopping import ask_to_stop


class Adopted:
    """Those that are waited for, by their number."""

    def __init__(
        self,
        *,
        is_held: Callable[[Path], bool] = lambda folder: holder_of(folder) is not None,
        stop: Callable[[Path], None] = ask_to_stop,
    ) -> None:
        self._is_held = is_held
        self._stop = stop
        self._folders: dict[int, Path] = {}

    def __len__(self) -> int:
        return len(self._folders)

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(self._folders)

    def add(self, number: int, wait: Wait) -> None:
        """Wait for one more."""
        self._folders[number] = wait.folder

    def take_ended(self) -> list[int]:
        """Those that nobody is at any more, which are waited for no longer."""
        ended = [number for number, folder in self._folders.items() if not self._is_held(folder)]
        for number in ended:
            del self._folders[number]
        return ended

    def stop(self, number: int) -> None:
        """Ask it to; it ends in its own time."""
        self._stop(self._folders[number])

    def clear(self) -> None:
        """Wait for none; they continue to their end."""
        self._folders.clear()
