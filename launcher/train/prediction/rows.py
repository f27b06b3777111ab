"""How far a prediction is: a row per image where there are few, one live line where there are many."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from launcher.train.output.logs import CONSOLE

MANY = 40
"""Images from which on a terminal shows a bar, and other outputs every tenth part."""
PARTS = 10


class Rows:
    """Shows images as they are done."""

    def __init__(self, total: int, *, rank: int, num_processes: int, console: Console = CONSOLE) -> None:
        """Of `total` images of all processes together, of which rank 0 shows how far they are."""
        self._total = total
        self._done = 0
        self._is_first = rank == 0
        self._at_once = num_processes
        self._console = console
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Rows:
        if self._is_first and self._total >= MANY and self._console.is_interactive:
            columns = (TextColumn("prediction"), BarColumn(bar_width=30), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=self._console, refresh_per_second=4)
            self._task = self._bar.add_task("prediction", total=self._total)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def add(self, name: str, text: str) -> None:
        """One more image is done, or cannot be."""
        before, self._done = self._done, min(self._done + self._at_once, self._total)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self._done)
        elif self._total < MANY:
            self._print(f"  {name}   {text}")
        elif self._is_first and self._done * PARTS // self._total > before * PARTS // self._total:
            self._print(f"prediction: {self._done} of {self._total} images")

    def _print(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False)
