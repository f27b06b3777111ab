"""Log files where nothing can be written any more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FULL = Path("/dev/full")
PROGRAM = """
import logging
from pathlib import Path
from launcher.train.logs import log_to
log_to(Path("/dev/full"), console=True)
logging.getLogger("x").warning("hello")
logging.shutdown()
"""


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full here")
def test_lines_that_a_full_disk_does_not_take_are_lost_without_a_traceback():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)

    assert done.returncode == 0
    assert "hello" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
