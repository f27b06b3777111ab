"""`python -m launcher.train PLAN_JSON`: the worker process of one attempt."""

from __future__ import annotations

import sys
from pathlib import Path

from launcher.train.stop import STOP

if __name__ == "__main__":
    # Before torch is imported, which takes seconds: a stop signal in that time must not be lost.
    STOP.note_signals()
    from launcher.train.worker import work

    sys.exit(work(Path(sys.argv[1])))
