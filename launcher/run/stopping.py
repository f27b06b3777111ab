"""Asking whoever trains in a run folder on this host to stop: it finishes its iteration, saves and ends."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from launcher.run.holder import Holder, has_open, holder_of
from launcher.run.paths import RunPaths
from launcher.run.status import worker_of


@dataclass(frozen=True, kw_only=True)
class Stoppable:
    """A process that understands SIGTERM as the stop of the run."""

    process: int
    what: str
    """For people: what it is."""


def stoppable_in(folder: Path, holder: Holder) -> Stoppable | None:
    """A launcher hands the signal on to its worker; the worker of one that died gets it itself.

    None where the folder's `holder`, on this host, is neither of them.
    """
    paths = RunPaths(folder)
    # A number in a lock may be another process's by now, or that of another container with this host's name.
    named = ((holder.process, "the launcher"), (worker_of(paths), "the worker of a launcher that has died"))
    return next(
        (Stoppable(process=process, what=what) for process, what in named if process and has_open(process, paths.lock)),
        None,
    )


def ask_to_stop(folder: Path) -> None:
    """Have the run stop; nothing happens where nobody trains in the folder, or somebody whom we may not stop."""
    holder = holder_of(folder)
    found = stoppable_in(folder, holder) if holder is not None else None
    if found is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(found.process, signal.SIGTERM)
