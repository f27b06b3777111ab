"""`python -m tests.hurried ARGUMENTS`: the launcher, for whose supervision minutes pass in seconds once a fault struck.

So a hang is noticed soon, and a start that takes long on a busy machine is not taken for one.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from launcher.cli.main import main
from launcher.launch import supervise

STEP_S = 10.0
"""Less than what is taken for a suspended machine, though it is asked for the time twice at each look."""


class HurriedClock:
    """Goes ahead by a step whenever it is asked after the fault, until it is so far ahead."""

    def __init__(self, struck: Path, *, at_most_s: float) -> None:
        self._struck = struck
        self._at_most_s = at_most_s
        self._ahead_s = 0.0

    def monotonic(self) -> float:
        if self._struck.exists() and self._ahead_s < self._at_most_s:
            self._ahead_s += STEP_S
        return time.monotonic() + self._ahead_s


if __name__ == "__main__":
    clock = HurriedClock(Path(os.environ["FAULT_COUNT"]), at_most_s=float(os.environ["HURRY_S"]))
    module: Any = supervise
    module.time = SimpleNamespace(monotonic=clock.monotonic)
    sys.exit(main(sys.argv[1:]))
