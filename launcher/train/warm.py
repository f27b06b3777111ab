"""Importing this module makes a process able to fork workers: it then has all that they import before their plan.

`hydra/launcher=pool` imports it once, for all trainings of a sweep.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import traceback
from multiprocessing import resource_tracker
from pathlib import Path

from launcher.forking import WARM, close_all_but, rename_process, reset_handlers
from launcher.run.handover import HELD_BACK
from launcher.safe_start import import_path
from launcher.train import __main__ as started
from launcher.train import ranks, worker  # noqa: F401
from launcher.train.output import charts  # noqa: F401
from launcher.train.output.logs import renew_console
from launcher.train.stop import STOP
from launcher.train.tasks import train  # noqa: F401

WARM.note(__name__)


def work_forked(channel: int, folder: Path) -> int:
    """A worker, in a process that was forked for it: to be left with this exit status, whatever called it."""
    try:
        _as_if_started(channel, folder)
        return started.main(_arguments(channel, folder))
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()


def _arguments(channel: int, folder: Path) -> list[str]:
    return [str(channel), str(os.getppid()), str(folder)]


def _as_if_started(channel: int, folder: Path) -> None:
    """Let go of what the job's process has besides torch: its handlers, logs, open files and place in Hydra."""
    reset_handlers()
    STOP.note_signals()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)
    rename_process([sys.executable, "launcher.train", *_arguments(channel, folder)])
    _silence_logs()
    close_all_but(channel)
    _forget_hydra()
    resource_tracker._resource_tracker.__init__()  # type: ignore[misc]
    sys.argv[:] = [str(started.__file__), *_arguments(channel, folder)]
    sys.modules["__main__"] = started
    sys.path[:] = import_path(sys.path)
    renew_console()


def _silence_logs() -> None:
    """As before anybody has set them up; their files are closed."""
    for handler in list(logging.root.handlers):
        logging.root.removeHandler(handler)
        handler.close()
    logging.root.setLevel(logging.WARNING)
    logging.disable(logging.NOTSET)
    for logger in logging.root.manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            logger.disabled = False


def _forget_hydra() -> None:
    """So that a user's own code can compose something."""
    module = sys.modules.get("hydra.core.global_hydra")
    if module is not None:
        module.GlobalHydra.instance().clear()
