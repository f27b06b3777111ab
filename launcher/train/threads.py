"""The number of threads that compute on the CPU: sums are split among them, so the last bits follow from it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import torch

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Threads:
    """Threads of each of so many processes."""

    count: int
    num_processes: int

    @classmethod
    def now(cls, num_processes: int) -> Threads:
        return cls(count=torch.get_num_threads(), num_processes=num_processes)

    def state(self) -> dict[str, int]:
        return {"count": self.count, "num_processes": self.num_processes}

    def kept(self, before: Mapping[str, int] | None) -> Threads:
        """Compute from now on with as many as before, so that a resumed training has the same bits.

        With another number of processes it cannot have them, and the machine's number of threads stays.
        """
        if before is None or before["num_processes"] != self.num_processes or before["count"] == self.count:
            return self
        torch.set_num_threads(before["count"])
        logger.warning(
            "This run began with %d thread%s per process and keeps that number, as another (%d, by OMP_NUM_THREADS or "
            "the CPUs of this job) would give other bits. resume=never starts over with today's.",
            before["count"],
            "" if before["count"] == 1 else "s",
            self.count,
        )
        return Threads(count=before["count"], num_processes=self.num_processes)
