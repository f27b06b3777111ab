"""What to say where the system lets this user start no further process, or this process open no further file."""

from __future__ import annotations

import errno
import os
import resource
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from launcher.errors import LauncherError

PROCESSES = "limits.processes"
OPEN_FILES = "limits.open_files"
_TOO_MANY = (errno.EMFILE, errno.ENFILE)
_TOO_MANY_WORDS = tuple(os.strerror(number) for number in _TOO_MANY)
STARTERS = ("/popen_fork.py", "/popen_spawn_posix.py", "/multiprocessing/util.py", "/subprocess.py")
"""Where Python starts processes: elsewhere EAGAIN only means that something is not ready yet."""


class ProcessLimitError(LauncherError):
    """A limit of the system is reached."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


@contextmanager
def naming_limits() -> Iterator[None]:
    """Start processes, or open files, in the block.

    Raises:
        ProcessLimitError: a limit does not let them start.
    """
    try:
        yield
    except OSError as error:
        if reached := limit_reached(error):
            raise reached from error
        raise


def limit_reached(error: BaseException) -> ProcessLimitError | None:
    """The limit that this exception is about; None where it is about anything else."""
    if words := _words_about_open_files(error):
        return ProcessLimitError(_few_open_files(words), OPEN_FILES)
    if _starts_nothing(error):
        return ProcessLimitError(_few_processes(error), PROCESSES)
    return None


def is_about_open_files(error: BaseException) -> bool:
    """Whether it came of a limit on open files, also where another exception was made of that one."""
    return bool(_words_about_open_files(error))


def _words_about_open_files(error: BaseException | None) -> str:
    """The system's, from wherever the exception came of; empty where it is about anything else.

    An exception of a loader process has only the words left: torch makes a new one of its traceback.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in _TOO_MANY:
            return str(error)
        if said := [line for line in str(error).splitlines() if any(words in line for words in _TOO_MANY_WORDS)]:
            return said[-1].strip()
        error = error.__cause__ or error.__context__
    return ""


def _starts_nothing(error: BaseException) -> bool:
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return True
    files = (frame.filename for frame in traceback.extract_tb(error.__traceback__))
    return isinstance(error, BlockingIOError) and any(file.endswith(STARTERS) for file in files)


def _few_processes(error: BaseException) -> str:
    return (
        f"No further process or thread can be started ({error}): this user may have "
        f"{_limit(resource.RLIMIT_NPROC)}, and a container or job may allow fewer. Raise it with `ulimit -u 4096` "
        "(`--pids-limit` of a container), end other programs, or set DATALOADER.NUM_WORKERS=0 and device.count=1."
    )


def _few_open_files(words: str) -> str:
    return (
        f"No further file can be opened ({words}): a process may have {_limit(resource.RLIMIT_NOFILE)} open. Raise it "
        "with `ulimit -n 4096` (`--ulimit nofile=4096` of a container), or set DATALOADER.NUM_WORKERS=0."
    )


def _limit(of: int) -> str:
    number, _ = resource.getrlimit(of)
    return "any number" if number == resource.RLIM_INFINITY else str(number)
