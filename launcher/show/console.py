"""Printing for people, which must never be what ends a training."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import IO, Any

from rich.console import Console


class PatientStream:
    """A stream that goes quiet once nobody reads it any more: a closed pipe, a terminal that has gone."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._gone = False

    def write(self, text: str) -> int:
        self._try(self._stream.write, text)
        return len(text)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def _try(self, act: Any, *arguments: Any) -> None:
        if self._gone:
            return
        try:
            act(*arguments)
        except OSError:
            self._gone = True
            self._empty()

    def _empty(self) -> None:
        """Let go of what is still to be written: Python tries once more at its exit, and fails with status 120."""
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def make_console() -> Console:
    """A console on standard output as it is now, later redirections notwithstanding."""
    stream: Any = PatientStream(sys.stdout)
    return Console(file=stream, soft_wrap=True)
