"""Where a rank's log lines go: all of them into its file, what matters onto the console."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

# Warnings for developers, and exceptions that the launcher reports itself.
FILE_ONLY = ("py.warnings", "torch", "detectron2.engine.train_loop")


def log_to(file: Path, *, console: bool) -> None:
    """Send every logger's lines to `file`, and warnings to the console as well where asked.

    detectron2 and its libraries log their environment, configuration and model in hundreds of lines; those belong into
    the file. Python warnings do too: they speak to developers.
    """
    formatter = logging.Formatter("%(asctime)s %(name)s %(levelname)s: %(message)s")
    to_file = logging.FileHandler(file, encoding="utf-8")
    to_file.setFormatter(formatter)
    handlers: list[logging.Handler] = [to_file]
    if console:
        to_console = logging.StreamHandler(sys.stdout)
        to_console.setLevel(logging.WARNING)
        to_console.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        to_console.addFilter(lambda record: not record.name.startswith(FILE_ONLY))
        handlers.append(to_console)
    logging.basicConfig(level=logging.INFO, handlers=handlers, force=True)
    logging.captureWarnings(True)


def take_over_torch_logs() -> None:
    """Once torch is imported: its loggers print to stderr by themselves; send them where the others go."""
    torch_logger = logging.getLogger("torch")
    torch_logger.handlers.clear()
    torch_logger.propagate = True
