"""What is left of a launcher that was killed."""

from __future__ import annotations

import subprocess
import time


def seconds_until_they_end(launcher: subprocess.Popen[str]) -> float:
    """Kill it, and wait until nobody has its end of the pipe any more, to which nothing else is written."""
    assert launcher.stdout is not None
    launcher.kill()
    launcher.wait()
    since = time.monotonic()
    with launcher.stdout as pipe:
        assert pipe.read() == ""
    return time.monotonic() - since
