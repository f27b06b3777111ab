"""Where a rank's log lines go: all of them into its file, what matters onto the console."""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from pathlib import Path
from typing import Any, cast

from rich.text import Text

from launcher.show.console import make_console
from launcher.train.output.unhurried import UnhurriedStream

# Made at the start: evaluation redirects sys.stdout for pycocotools.
CONSOLE = make_console()
CONSOLE.file = cast("Any", UnhurriedStream(CONSOLE.file))


def renew_console() -> None:
    """In a process that was forked, and prints elsewhere: to a file instead of a terminal, perhaps."""
    vars(CONSOLE).update(vars(make_console()))
    CONSOLE.file = cast("Any", UnhurriedStream(CONSOLE.file))


# How much of the weights fits, how far an evaluation is; everything else below a warning is for the file.
SHOWN_AT_INFO = ("launcher.train.checkpoints.fit", "launcher.train.evaluation.pace")
# Warnings for developers, and exceptions that the launcher reports itself.
FILE_ONLY = ("py.warnings", "torch", "detectron2.engine.train_loop")


def log_to(file: Path, *, console: bool, quiet: bool = False) -> None:
    """Send every logger's lines to `file`, and what matters to the console as well where asked.

    detectron2 and its libraries log their environment, configuration and model in hundreds of lines; those belong into
    the file. Python warnings do too: they speak to developers. If `quiet`, nothing at all goes to the console:
    what ends a training is reported by the launcher.
    """
    CONSOLE.quiet = quiet
    to_file = _FileHandler(file, encoding="utf-8", errors="backslashreplace")  # names need not be UTF-8
    to_file.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s: %(message)s"))
    handlers: list[logging.Handler] = [to_file]
    if console:
        to_console = _ConsoleHandler()
        to_console.addFilter(_Matters())
        handlers.append(to_console)
    logging.basicConfig(level=logging.INFO, handlers=handlers, force=True)
    logging.captureWarnings(True)
    if any(action == "error" for action, *_ in warnings.filters):
        # As PYTHONWARNINGS=error asks for. Others' warnings are no reason to end a training.
        warnings.simplefilter("default")
    threading.excepthook = _log_end_of_thread


def take_over_torch_logs() -> None:
    """Once torch is imported: its loggers print to stderr by themselves; send them where the others go."""
    torch_logger = logging.getLogger("torch")
    torch_logger.handlers.clear()
    torch_logger.propagate = True


def _log_end_of_thread(end: threading.ExceptHookArgs) -> None:
    """For the file only: whoever waits for the thread says what it means."""
    if end.exc_value is not None:
        logging.getLogger(__name__).info("a thread ended", exc_info=end.exc_value)


class _FileHandler(logging.FileHandler):
    """Loses lines on a full disk without a traceback for each; whoever saves says what is wrong."""

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


class _ConsoleHandler(logging.Handler):
    """Prints above a live progress line instead of through it."""

    def emit(self, record: logging.LogRecord) -> None:
        CONSOLE.print(_shown(record), highlight=False)


def _shown(record: logging.LogRecord) -> Text:
    if record.levelno < logging.WARNING:
        return Text(record.getMessage())
    is_error = record.levelno >= logging.ERROR
    label = (record.levelname.lower(), "bold red" if is_error else "bold yellow")
    return Text.assemble(label, (":", "bold"), f" {record.getMessage()}")


class _Matters:
    """Lets through what a person at a screen must know, and nothing twice: the file has all of it."""

    def __init__(self) -> None:
        self._shown: set[tuple[Any, ...]] = set()

    def __call__(self, record: logging.LogRecord) -> bool:
        if not _is_for_people(record) or not record.getMessage().strip():
            return False
        # Ours say something else each time they are about something else; others' often differ in a number alone.
        own = record.name.startswith("launcher")
        what = (record.getMessage(),) if own else (record.name, record.pathname, record.lineno)
        is_new = what not in self._shown
        self._shown.add(what)
        return is_new


def _is_for_people(record: logging.LogRecord) -> bool:
    if record.levelno < logging.WARNING:
        return record.name in SHOWN_AT_INFO
    return not record.name.startswith(FILE_ONLY)
