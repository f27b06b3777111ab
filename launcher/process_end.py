"""How processes of ours end: as Python's do, but nothing in memory is taken apart, which takes seconds after torch."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
import traceback
from collections.abc import Callable
from typing import NoReturn


def end_process(status: int) -> NoReturn:
    """Wait for threads, do what is registered for the exit, write what was printed, and end with that status.

    It does not go back to its callers: a process that was forked in the middle of somebody's code ends here too.
    """
    for step in (_join_threads, atexit._run_exitfuncs, _flush):
        _try(step)
    os._exit(status)


def _join_threads() -> None:
    threading._shutdown()  # type: ignore[attr-defined]


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or nobody reads it
            stream.flush()


def _try(step: Callable[[], object]) -> None:
    try:
        step()
    except BaseException:
        traceback.print_exc()
