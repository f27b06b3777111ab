"""Whether the launcher of the first node lives: it renews a file, and the others see that the file changes.

No clocks are compared: each measures with its own for how long it has seen the same.
"""

from __future__ import annotations

import signal
import threading
import uuid
from contextlib import suppress
from pathlib import Path

from launcher.files import read_if_there, write_text
from launcher.signals import blocking

BEAT_S = 15.0
SILENCE_S = 120.0
"""Longer than a network disk stalls, or one call keeps a launcher from everything else."""


class Pulse:
    """That of this launcher, in a thread of its own: looking at data takes minutes in which nothing else is done."""

    def __init__(self) -> None:
        self._is_over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, file: Path) -> None:
        self._thread = threading.Thread(target=self._beat, args=(file,), daemon=True)
        with blocking(signal.valid_signals()):  # what the launcher blocks must not reach it by way of this thread
            self._thread.start()

    def stop(self) -> None:
        self._is_over.set()
        if self._thread is not None:
            self._thread.join()

    def _beat(self, file: Path) -> None:
        while not self._is_over.is_set():
            with suppress(OSError):  # a full disk; the next one may get through
                write_text(file, uuid.uuid4().hex)
            self._is_over.wait(BEAT_S)


class Silence:
    """For how long another launcher's pulse has not changed, as far as somebody has looked."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._last: tuple[bytes, float] | None = None
        """What was seen, and when first."""

    def is_long(self, now: float) -> bool:
        """Whether it is to be taken for dead."""
        beat = read_if_there(self._file)
        if self._last is None or beat != self._last[0]:
            self._last = beat, now
        return now - self._last[1] > SILENCE_S
