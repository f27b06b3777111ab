"""Who holds a run folder now, as its lock says. Looks only; `launcher.launch.folder_lock` takes it."""

from __future__ import annotations

import fcntl
import os
import re
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

from launcher.run.paths import RunPaths

SAFELY = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
LONGEST_NOTE = 200  # bytes


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who holds a folder, as far as its lock file says."""

    process: int | None
    """Of the launcher; None where the file does not say."""
    host: str

    @property
    def is_dead(self) -> bool:
        """Its launcher has ended, so that only its worker can still hold the folder."""
        return self.process is not None and self.host == socket.gethostname() and not is_alive(self.process)

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}" if self.process is not None else "another process"


def holder_of(folder: Path) -> Holder | None:
    """Who holds the folder now; None when nobody does. Changes nothing."""
    try:
        file = os.open(RunPaths(folder).lock, os.O_RDONLY | SAFELY)
    except OSError:
        return None
    try:
        return None if not _is_plain(file) or try_lock(file, fcntl.LOCK_SH) else read_holder(file)
    finally:
        os.close(file)


def try_lock(file: int, how: int) -> bool:
    """Whether an open lock file could be locked `how`, without waiting."""
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def read_holder(file: int) -> Holder:
    """What an open lock file says."""
    # Others may have written it, so only a number and the name of a host are taken from it.
    note = os.pread(file, LONGEST_NOTE, 0).decode(errors="replace").strip()
    found = re.fullmatch(r"process ([0-9]{1,10}) on ([A-Za-z0-9._-]+)", note)
    return Holder(process=int(found[1]), host=found[2]) if found else Holder(process=None, host="")


def is_alive(process: int) -> bool:
    """Whether a process of this host runs; one that has ended and that nobody has asked how does not."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    try:
        state = Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return True
    return state not in ("Z", "X")


def has_open(process: int, file: Path) -> bool:
    """Whether a process of this host has that file open; one into which nobody may look is taken to have."""
    try:
        descriptors = list(Path(f"/proc/{process}/fd").iterdir())
    except OSError:
        return is_alive(process)
    return any(_is_same(descriptor, file) for descriptor in descriptors)


def _is_same(descriptor: Path, file: Path) -> bool:
    try:
        return os.path.samefile(descriptor, file)
    except OSError:
        return False


def _is_plain(file: int) -> bool:
    return stat.S_ISREG(os.fstat(file).st_mode)
