"""A worker's heartbeat: its stage and progress in a small file, from which the launcher tells that it hangs."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

SMOKE, ENDING = "smoke test", "ending"
IMPORTING = "importing modules"
TRAINING, EVALUATION, PREDICTION, SAVING = "training", "evaluation", "prediction", "saving"
SHORT_PATIENCE_S = 60.0
"""For a forward and backward pass of milliseconds, and for ending once all is done: whoever takes longer hangs."""
SUSPENDED_S = 30.0
"""Who looks as rarely as that was suspended, and the training probably too."""
LENGTH = 96  # bytes, so that a later text covers an earlier one


class Heartbeat:
    """Records the stage and progress of this process; costs some microseconds."""

    def __init__(self, path: Path | None) -> None:
        # An unwritable folder is not what a heartbeat should end a training for.
        self._file: int | None = None
        if path is not None:
            with contextlib.suppress(OSError):
                self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        self._count = 0
        self._iterations: int | None = None

    def beat(self, stage: str, iterations: int | None = None) -> None:
        """`iterations` are those done so far; without a number the last one stays."""
        if self._file is None:
            return
        self._count += 1
        self._iterations = self._iterations if iterations is None else iterations
        done = "-" if self._iterations is None else str(self._iterations)
        with contextlib.suppress(OSError):
            os.pwrite(self._file, f"{self._count} {done} {stage}".encode().ljust(LENGTH)[:LENGTH], 0)


@dataclass(frozen=True, kw_only=True)
class Beat:
    count: int
    iterations: int | None
    stage: str


def read_beat(path: Path) -> Beat | None:
    """The last heartbeat, or None when there is none yet."""
    try:
        count, done, stage = path.read_text(encoding="utf-8").strip().split(" ", 2)
        return Beat(count=int(count), iterations=None if done == "-" else int(done), stage=stage)
    except (OSError, ValueError):
        return None


class Watch:
    """Looks at a heartbeat from time to time and notices when it stops; 0 for `hang_s` disables the check."""

    def __init__(self, path: Path, *, hang_s: float, now: float) -> None:
        self._path = path
        self._hang_s = hang_s
        self._last: Beat | None = None
        self._changed = self._looked = now

    def hung_in(self, now: float) -> str:
        """The stage that has made no progress for too long, or empty."""
        # By our own clock and by change: the file's times may come from another machine's clock.
        if now - self._looked > SUSPENDED_S:
            self._changed += now - self._looked
        self._looked = now
        beat = read_beat(self._path)
        if beat != self._last:
            self._last, self._changed = beat, now
        stage = beat.stage if beat else "start"
        patience = self.patience_in(stage)
        return stage if patience and now - self._changed > patience else ""

    def patience_in(self, stage: str) -> float:
        """Seconds without progress in that stage after which a worker counts as hung; 0 for never."""
        is_short = stage in (SMOKE, ENDING)
        return min(self._hang_s or SHORT_PATIENCE_S, SHORT_PATIENCE_S) if is_short else self._hang_s
