"""Being asked to stop before a worker runs."""

from __future__ import annotations

import signal
import sys
from contextlib import AbstractContextManager

from launcher.errors import ExitCode
from launcher.signals import handling

STOPPING = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


def resumable_until_trained() -> AbstractContextManager[None]:
    """Until a worker runs there is nothing to save: the run can be resumed as it is, so a scheduler may requeue it."""
    return handling(dict.fromkeys(STOPPING, _exit_resumable))


def _exit_resumable(*_: object) -> None:
    sys.exit(int(ExitCode.resumable))
