"""Batches that do not come: lost on their way out of a loader process, or waited for while a stop is asked."""

from __future__ import annotations

import logging
import os
import time
import weakref
from collections.abc import Callable
from multiprocessing.queues import Queue
from typing import Any

from torch.utils.data import get_worker_info

from launcher.train.stop import STOP

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
GRACE_S = 10.0
"""For a batch that is under way when a stop is asked."""


class StoppedWaitingError(Exception):
    """A stop was asked while a batch was waited for, which did not come."""


def end_where_batches_get_lost() -> None:
    """Let loader processes that are forked from now on end when they cannot hand a batch over.

    That happens in a thread of theirs, where /dev/shm is full or too few files may be open. Python prints it, and the
    training would wait for that batch without a limit; the end of a loader process, it notices at once.
    """
    Queue._on_queue_feeder_error = staticmethod(_end_loader_process)  # type: ignore[attr-defined]


_pythons = Queue._on_queue_feeder_error  # type: ignore[attr-defined]


def _end_loader_process(error: Exception, batch: object) -> None:
    if get_worker_info() is None:
        _pythons(error, batch)
        return
    # For the file only: another thread of the process that this one was forked from may have held the console's lock.
    logger.info("a batch could not be handed over, and its loader process ends", exc_info=error)
    os._exit(1)


def hearing_stops(batches: Any, stop_asked: Callable[[], bool] = lambda: STOP.asked) -> Any:
    """An iterator of torch's DataLoader that raises `StoppedWaitingError` when it waits in vain after a stop."""
    if hasattr(batches, "_try_get_data"):  # there are loader processes to wait for
        batches._try_get_data = _Patience(batches, stop_asked)
    return batches


class _Patience:
    def __init__(self, batches: Any, stop_asked: Callable[[], bool]) -> None:
        # Weakly, or the loader's processes would be ended by the garbage collector, at a time that does not suit.
        self._batches = weakref.ref(batches)
        self._stop_asked = stop_asked
        self._since: float | None = None

    def __call__(self, timeout: float = LOOK_EVERY_S) -> tuple[bool, Any]:
        batches: Any = self._batches()
        came, batch = type(batches)._try_get_data(batches, min(timeout, LOOK_EVERY_S))
        if came or not self._stop_asked():
            self._since = None
        elif self._since is None:
            self._since = time.monotonic()
        elif time.monotonic() - self._since > GRACE_S:
            raise StoppedWaitingError
        return came, batch
