"""A Hydra launcher that takes jobs in batches, used as if it took them one at a time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.plugins.launcher import Launcher

from launcher.pool.ends import ended_in_batch
from launcher.pool.ledger import Ended, Job, Place

SIZES = ("max_parallel", "array_parallelism", "n_jobs", "parallelism", "throttle")
"""What launchers call the number of jobs that they run at once."""


def batch_size(settings: Mapping[str, Any], asked: int) -> int:
    """How many jobs are proposed together: as many as the launcher runs at once, where it says that."""
    if asked:
        return asked
    said = (settings.get(name) for name in SIZES)
    return next((number for number in said if type(number) is int and number > 0), 1)


class Batches:
    """Collects jobs, and has them run when it is waited for. None of them can be stopped."""

    stopping = False
    on_cpu = True

    def __init__(self, launcher: Launcher, size: int) -> None:
        self._launcher = launcher
        self._size = size
        self._collected: list[Job] = []

    @property
    def free(self) -> int:
        return self._size - len(self._collected)

    @property
    def running(self) -> tuple[int, ...]:
        return tuple(job.number for job in self._collected)

    def start(self, job: Job) -> Place | None:
        """Collect it."""
        self._collected.append(job)
        return Place(name="", gpus=(), log=job.run.log or Path())

    def wait(self, timeout_s: float) -> list[Ended]:
        """Have what is collected run to its end."""
        jobs, self._collected = self._collected, []
        if not jobs:
            time.sleep(timeout_s)
            return []
        began = time.monotonic()
        overrides = [[*job.overrides, *job.run.overrides] for job in jobs]
        returns = self._launcher.launch(overrides, initial_job_idx=jobs[0].number)
        seconds = time.monotonic() - began
        return [ended_in_batch(job, returned, seconds) for job, returned in zip(jobs, returns, strict=True)]

    def stop(self, number: int) -> None:
        """Not possible: who launches batches returns when they have ended."""
