"""The worker process of an attempt: started by `launcher.run.handover`."""

from __future__ import annotations

import contextlib
import signal
import sys
import warnings
from pathlib import Path

from launcher.forking import importing
from launcher.process_end import end_process
from launcher.run.handover import wait_for_plan
from launcher.train.stop import STOP, ask_for, end_with_parent


def main(arguments: list[str]) -> int:
    # Before torch is imported, which takes seconds: a stop signal in that time must not be lost.
    STOP.note_signals()
    # Nor is there anything to save until there is a plan: importing for a launcher that has died is idle.
    channel, launcher = int(arguments[0]), int(arguments[1])
    end_with_parent(launcher, signal.SIGKILL)
    plan = _wait_for_plan(channel)
    if plan is None:
        return 0
    ask_for(signal.SIGTERM)
    from launcher.train.worker import work

    return work(plan)


def _wait_for_plan(descriptor: int) -> Path | None:
    # Their warnings speak to developers, and there is no log file yet. What cannot be imported is imported again by
    # whoever needs it, where a failure is noted with its reason.
    with importing(), warnings.catch_warnings(), contextlib.suppress(Exception):
        warnings.simplefilter("ignore")
        # Asks no driver: importing works also where that hangs or crashes.
        from launcher.train import ranks, worker  # noqa: F401
        from launcher.train.tasks import train  # noqa: F401
    return wait_for_plan(descriptor)


if __name__ == "__main__":
    end_process(main(sys.argv[1:]))
