"""A stream that a training never waits for: what nobody takes, as behind Ctrl-S or `| less`, is dropped."""

from __future__ import annotations

import select
from typing import IO, Any

PIECE = 1024  # characters, at most 4 bytes each: what a pipe that is ready takes at once


class UnhurriedStream:
    """Writes to another stream as long as that is ready for it; the log file has what is dropped here."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        for start in range(0, len(text), PIECE):
            if not self._is_ready():
                break
            self._stream.write(text[start : start + PIECE])
            self._stream.flush()
        return len(text)

    def flush(self) -> None:
        """Each write has flushed already."""

    def _is_ready(self) -> bool:
        try:
            poll = select.poll()
            poll.register(self._stream.fileno(), select.POLLOUT)
            return bool(poll.poll(0))
        except (OSError, ValueError, AttributeError):  # a stream without a file behind it takes everything
            return True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
