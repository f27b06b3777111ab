"""How far an evaluation is, once in a while: COCO's takes minutes on a GPU and an hour on a CPU."""

from __future__ import annotations

import datetime
import logging
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

EVERY_S = 30.0


class Pace:
    """Logs how many batches are done and when the rest will be; nothing of an evaluation that takes less than 30 s."""

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._total = total
        self._clock = clock
        self._began = self._said = clock()

    def note(self, done: int) -> None:
        now = self._clock()
        if now - self._said < EVERY_S or not done:
            return
        self._said = now
        left = datetime.timedelta(seconds=round((now - self._began) / done * (self._total - done)))
        logger.info("evaluation: %d of %d batches  eta %s", done, self._total, left)
