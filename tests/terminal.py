"""A command in a terminal of its own, in which a test types."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

CTRL_C = b"\x03"
DRAWN = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """Runs a command with a pseudo-terminal as its standard input, output and error."""

    def __init__(self, command: Sequence[str], folder: Path, environ: Mapping[str, str], *, columns: int = 80) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environ),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            # The terminal is to be the one that Ctrl-C in it reaches.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        self.shown = b""

    def wait_for(self, text: str, *, timeout_s: float = 120) -> float:
        """Until that is on the screen; the seconds that it took."""
        began = time.monotonic()
        while text not in self.text:
            is_more = self._read(timeout_s - (time.monotonic() - began))
            assert is_more, f"{text!r} did not come: {self.text[-2000:]}"
        return time.monotonic() - began

    def type(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def end(self, *, timeout_s: float = 120) -> int:
        """The exit code, once the command has ended."""
        while self._read(timeout_s):
            pass
        os.close(self._ours)
        return self._process.wait(timeout_s)

    @property
    def text(self) -> str:
        """What has been shown so far, without colors and movements of the cursor."""
        return DRAWN.sub(b"", self.shown).decode(errors="replace").replace("\r\n", "\n")

    def kill(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)

    def _read(self, timeout_s: float) -> bool:
        """More of what is shown; False once there is nobody left to show something, or for so long nothing came."""
        if not select.select([self._ours], [], [], max(0.0, timeout_s))[0]:
            return False
        try:
            data = os.read(self._ours, 1 << 16)
        except OSError:  # EIO: the last process has closed it
            return False
        self.shown += data
        return bool(data)
