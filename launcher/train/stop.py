"""Being asked to stop: a signal sets a flag, and all ranks agree on it after an iteration."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

from launcher.errors import ExitCode, TrainingFailedError
from launcher.forking import rename_process
from launcher.run.outcome import TIME_LIMIT

OUTLIVES_S = 600.0
"""For which a worker may outlive its launcher, to finish its iteration and save."""
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
"""Schedulers send the latter two some time before they end a job."""


LOOK_EVERY_S = 0.5


class _InterruptedError(BaseException):
    """Raised by a signal's handler wherever the process is; no `except Exception` on the way takes it for its own."""


class Stop:
    """The wish to stop, as far as this process knows. Nothing is saved inside a handler."""

    def __init__(self) -> None:
        self.asked = False
        self.note: Path | None = None
        self._late_at: float | None = None
        """When to stop by `_elapsed`; None for never."""
        self._interrupts = False

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

    def stop_at(self, when: float) -> None:
        """Stop by the clock, at that time in seconds since the epoch; 0 for never.

        From now on another clock counts: somebody may set that one.
        """
        self._late_at = _elapsed() + when - time.time() if when > 0 else None

    def agreed(self, num_processes: int) -> bool:
        """Whether any rank was asked; every rank must call this at the same point."""
        asked = self.asked or (self.note is not None and self.note.exists()) or self.is_late()
        if num_processes == 1:
            return asked
        from detectron2.utils import comm

        return any(comm.all_gather(asked))

    @contextlib.contextmanager
    def interrupting(self, what: str) -> Iterator[None]:
        """Let a stop end `what` is done in the block, however long it waits: for before there is anything to save.

        Raises:
            TrainingFailedError: a stop was asked.
        """
        done = threading.Event()
        threading.Thread(target=self._watch_note, args=(done,), daemon=True).start()
        try:
            self._interrupts = True
            try:
                if self.asked:
                    raise _InterruptedError
                yield
            finally:
                self._interrupts = False
        except _InterruptedError:
            raise TrainingFailedError(f"A stop was asked while {what}", ExitCode.resumable) from None
        finally:
            done.set()

    def _watch_note(self, done: threading.Event) -> None:
        """Send the signal that this rank did not get, to the thread that waits."""
        while self.note is not None and not done.wait(LOOK_EVERY_S):
            if self.note.exists():
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
                return

    def is_late(self) -> bool:
        return self._late_at is not None and self._late_at <= _elapsed()

    def stopped_by(self) -> str:
        """The limit that was reached, where that alone stops this process; otherwise empty."""
        return TIME_LIMIT if self.is_late() and not self.asked else ""

    def _notice(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        if self.note is not None:
            self.note.touch()
        if self._interrupts:
            raise _InterruptedError


def _elapsed() -> float:
    """Seconds by a clock that nobody sets, and that counts while the machine is suspended where there is such a one."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.monotonic()


STOP = Stop()


def end_with_parent(parent: int, number: int = signal.SIGTERM) -> None:
    """Ask Linux for that signal when the launcher dies, so that no training continues without anybody to report to.

    Whoever does not hear it ends `OUTLIVES_S` later.
    """
    if sys.platform != "linux":
        return
    worker = os.getpid()
    ask_for(number)
    if os.getppid() != parent:  # it died before we asked
        os.kill(worker, number)
    # Where no process may be started: what needs one to train will name the limit.
    with contextlib.suppress(BlockingIOError):
        if os.fork() == 0:
            _watch(worker, parent)


def ask_for(number: int) -> None:
    """To be sent that signal at the parent's death, where Linux does that."""
    if sys.platform != "linux":
        return
    pr_set_pdeathsig = 1  # prctl(2)
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, number)


def _watch(worker: int, launcher: int) -> NoReturn:
    """In a process of its own: end a worker that does not hear the signal, however it is stuck, and what it started."""
    try:
        os.setsid()  # not stopped together with the worker
        rename_process([sys.executable, "launcher.train", f"(watches process {worker})"])
        os.closerange(0, 1024)
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        ask_for(signal.SIGKILL)
        if os.getppid() != worker:  # it died before we asked
            os._exit(0)
        while _parent_of(worker) == launcher:
            time.sleep(LOOK_EVERY_S)
        send = os.killpg if os.getpgid(worker) == worker else os.kill
        send(worker, signal.SIGCONT)
        time.sleep(OUTLIVES_S)
        send(worker, signal.SIGKILL)
    finally:
        os._exit(0)


def _parent_of(process: int) -> int:
    with open(f"/proc/{process}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[1])
