"""Output streams that do not end a command: a closed pipe or terminal does not change the exit code."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import sys
from collections.abc import Iterable, Iterator
from typing import IO, Any

from launcher.errors import printable

NOBODY_READS = (errno.EPIPE, errno.EIO, errno.EBADF)
"""What a write gives once the reader has gone: a closed pipe, a terminal that was hung up, a closed descriptor."""


class OutputError(Exception):
    """What was printed could not be written, although somebody wants it: a full disk, for example."""


class PatientStream:
    """A stream that goes quiet once nobody reads it any more; with `on_any_error`, whatever keeps it from writing."""

    def __init__(self, stream: IO[str], *, on_any_error: bool = False) -> None:
        self._stream = stream
        self._on_any_error = on_any_error
        self._gone = False
        # A name that the screen's encoding does not have is shown spelled out, and ends nothing.
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[attr-defined]

    def write(self, text: str) -> int:
        """Raises OutputError where a write fails for another reason than a missing reader."""
        self._try(self._stream.write, text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Raises OutputError as `write` does."""
        self._try(self._stream.flush)

    def _try(self, act: Any, *arguments: Any) -> None:
        if self._gone:
            return
        try:
            act(*arguments)
        except OSError as error:
            self._gone = True
            self._empty()
            if not self._on_any_error and error.errno is not None and error.errno not in NOBODY_READS:
                raise OutputError(error.strerror or str(error)) from error

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


def patient(stream: IO[str] | None, *, on_any_error: bool = False) -> Any:
    """That stream as a `PatientStream`, and one to nowhere for none."""
    # Python has None for a stream that was closed before it started, as by `>&-`.
    return PatientStream(stream if stream is not None else open(os.devnull, "w"), on_any_error=on_any_error)


def leave_progress_line(descriptor: int = 1) -> None:
    """Begin a line of its own, with a cursor, where a process was killed in the middle of drawing a progress bar."""
    with contextlib.suppress(OSError):
        if os.isatty(descriptor):
            os.write(descriptor, b"\n\x1b[?25h")


def say_at_once(text: str, descriptor: int = 2) -> None:
    """Print a line from a signal's handler: past all buffers, and not at all where it would have to wait for a reader.

    On a terminal it begins below the line on which `^C` is echoed, which may be that of a progress bar.
    """
    with contextlib.suppress(OSError, ValueError):
        begin = "\n" if os.isatty(descriptor) else ""
        if select.select([], [descriptor], [], 0)[1]:
            os.write(descriptor, f"{begin}{printable(text)}\n".encode(errors="backslashreplace"))
