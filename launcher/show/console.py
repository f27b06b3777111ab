"""The console for people."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console

from launcher.show.stream import patient


def make_console() -> Console:
    """A console on standard output as it is now, later redirections notwithstanding."""
    stream: Any = patient(sys.stdout, on_any_error=True)
    return Console(file=stream, soft_wrap=True)
