"""What data loader processes do besides loading: nothing, when somebody signals the whole job."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from torch.utils.data import get_worker_info

from launcher.train.stop import STOP_SIGNALS


class UndisturbedMapper:
    """A dataset mapper in whose loader process stop signals are ignored.

    A scheduler signals every process of a job, and torch ends a training whose loader was killed. Its loader processes
    install signal handlers of their own when they start, so this is done at the first sample.
    """

    def __init__(self, mapper: Callable[[dict[str, Any]], dict[str, Any] | None]) -> None:
        self._mapper = mapper
        self._is_settled = False

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any] | None:
        if not self._is_settled and get_worker_info() is not None:
            for number in STOP_SIGNALS:
                signal.signal(number, signal.SIG_IGN)
            self._is_settled = True
        return self._mapper(sample)
