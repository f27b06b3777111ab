"""Streams for people, which must never be what ends a command: whoever stops reading costs no exit code."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import IO, Any


class PatientStream:
    """A stream that goes quiet once nobody reads it any more: a closed pipe, a terminal that has gone."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._gone = False
        # A name that the screen's encoding does not have is shown spelled out, and ends nothing.
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[attr-defined]

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


@contextlib.contextmanager
def patient_output() -> Iterator[None]:
    """Meanwhile whatever is printed goes through a `PatientStream`; nowhere, where the shell has closed a stream."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (patient(stream) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def patient(stream: IO[str] | None) -> Any:
    """That stream as a `PatientStream`, and one to nowhere for none."""
    # Python has None for a stream that was closed before it started, as by `>&-`.
    return PatientStream(stream if stream is not None else open(os.devnull, "w"))
