"""Being asked to stop: a signal sets a flag, and all ranks agree on it after an iteration."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
"""Schedulers send the latter two some time before they end a job."""


class Stop:
    """The wish to stop, as far as this process knows. Nothing is saved inside a handler."""

    def __init__(self) -> None:
        self.asked = False
        self.note: Path | None = None
        self.at = 0.0
        """When to stop by the clock, in seconds since the epoch; 0 for never."""

    def note_signals(self, note: Path | None = None) -> None:
        """From now on a stop signal sets the flag.

        With a `note`, it also leaves that file behind, for ranks that look for it: a signal sent on to a rank that is
        still importing torch would end it with a traceback.
        """
        self.note = note
        for number in STOP_SIGNALS:
            signal.signal(number, self._notice)

    def look_for(self, note: Path) -> None:
        """Take the existence of that file for a stop signal too."""
        self.note = note

    def agreed(self, num_processes: int) -> bool:
        """Whether any rank was asked; every rank must call this at the same point."""
        asked = self.asked or (self.note is not None and self.note.exists()) or self.is_late()
        if num_processes == 1:
            return asked
        from detectron2.utils import comm

        return any(comm.all_gather(asked))

    def is_late(self) -> bool:
        return 0 < self.at <= time.time()

    def _notice(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        if self.note is not None:
            self.note.touch()


STOP = Stop()


def end_with_parent() -> None:
    """Ask Linux for SIGTERM when the launcher dies, so that no training continues without anybody to report to."""
    if sys.platform != "linux":
        return
    pr_set_pdeathsig = 1  # prctl(2)
    parent = os.getppid()
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)
