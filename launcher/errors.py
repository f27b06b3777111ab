"""What can go wrong that we understand, each with its exit code.

Everything here prints without a traceback. What is not here is our bug and keeps its traceback.
"""

from __future__ import annotations

import re
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every command; a scheduler should requeue on `resumable` and on nothing else."""

    finished = 0
    training_failed = 1
    request_wrong = 2
    data_wrong = 3
    device_refused = 4
    busy = 5
    resumable = 75
    out_of_memory = 76
    interrupted = 130


class LauncherError(Exception):
    """A failure we understand. The message says what was asked, what is there, what to type next."""

    exit_code = ExitCode.training_failed
    code = "run.failed"
    """Of the cause, where a training ends with it, as `launcher explain` takes it."""


class RequestError(LauncherError):
    """The command line or the configuration is invalid."""

    exit_code = ExitCode.request_wrong
    code = "run.request"


class DataError(LauncherError):
    """The data set is missing, unreadable or contradicts the configuration."""

    exit_code = ExitCode.data_wrong
    code = "run.data"


class DeviceUnavailableError(LauncherError):
    """The device policy refuses to run on what is there."""

    exit_code = ExitCode.device_refused


class TrainingFailedError(LauncherError):
    """A training failed; the exit code tells how."""

    def __init__(self, message: str, exit_code: ExitCode = ExitCode.training_failed) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def printable(text: str) -> str:
    """The text with what a terminal would obey, or could not show, spelled out."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", lambda found: repr(found[0])[1:-1], text)
