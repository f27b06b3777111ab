"""Being asked to stop: a signal sets a flag, and all ranks agree on it after an iteration."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
from types import FrameType

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stop:
    """The wish to stop, as far as this process knows. Nothing is saved inside a handler."""

    def __init__(self) -> None:
        self.asked = False

    def note_signals(self) -> None:
        for number in STOP_SIGNALS:
            signal.signal(number, self._note)

    def hand_signals_to_ranks(self) -> None:
        """For the process that only waits for its ranks."""
        for number in STOP_SIGNALS:
            signal.signal(number, self._hand_on)

    def agreed(self, num_processes: int) -> bool:
        """Whether any rank was asked; every rank must call this at the same point."""
        if num_processes == 1:
            return self.asked
        import torch
        from detectron2.utils import comm

        return any(comm.all_gather(torch.tensor(self.asked)))

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = True

    def _hand_on(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        for rank in multiprocessing.active_children():
            if rank.pid is not None:
                os.kill(rank.pid, number)


STOP = Stop()


def end_with_parent() -> None:
    """Ask Linux for SIGTERM when the launcher dies, so that no training goes on without anybody to report to."""
    if sys.platform != "linux":
        return
    pr_set_pdeathsig = 1  # prctl(2)
    parent = os.getppid()
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)
