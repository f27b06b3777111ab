"""Who holds a run folder: one launch on this host at a time, and its worker for as long as that lives."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import socket
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from launcher.config.values import read_json_if_valid
from launcher.errors import ExitCode, LauncherError, RequestError
from launcher.run.fence import Fence, FencedError
from launcher.run.paths import RunPaths

SAFELY = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
MOMENT_S = 0.5
"""Whoever looks holds the lock for a moment."""
ORPHAN_S = 660.0
"""For the worker of a launcher that died, which finishes its iteration and saves; after ten minutes it is ended."""
LOOK_EVERY_S = 0.5
LONGEST_NOTE = 200  # bytes


class FolderBusyError(LauncherError):
    """Another launch trains in the folder now."""

    exit_code = ExitCode.busy
    code = "run.busy"


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who holds a folder, as far as its lock file says."""

    process: int | None
    """Of the launcher; None where the file does not say."""
    host: str

    @property
    def is_dead(self) -> bool:
        """Its launcher has ended, so that only its worker can still hold the folder."""
        return self.process is not None and self.host == socket.gethostname() and not _is_alive(self.process)

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}" if self.process is not None else "another process"


def wait_for_folder(folder: Path, console: Console, sleep: Callable[[float], None]) -> None:
    """Return once nobody holds the folder: at once, or after the worker of a launcher that died has saved.

    Raises:
        FolderBusyError: a launch that lives trains there, or that worker does not end.
    """
    waited = 0.0
    while (holder := holder_of(folder)) is not None:
        if not holder.is_dead or waited >= ORPHAN_S:
            raise _busy(folder, holder)
        if waited == 0:
            console.print(
                f"waiting: the launcher of this run, {holder}, has died, and {_worker_of(folder)} still saves; "
                f"for at most {ORPHAN_S / 60:g} min",
                highlight=False,
                markup=False,
            )
        sleep(LOOK_EVERY_S)
        waited += LOOK_EVERY_S


def refuse_busy(folder: Path) -> None:
    """Say so where `wait_for_folder` would refuse at once; does not wait.

    Raises:
        FolderBusyError: a launch that lives trains there.
    """
    holder = holder_of(folder)
    if holder is not None and not holder.is_dead:
        raise _busy(folder, holder)


def holder_of(folder: Path) -> Holder | None:
    """Who holds the folder now; None when nobody does. Changes nothing."""
    try:
        file = os.open(RunPaths(folder).lock, os.O_RDONLY | SAFELY)
    except OSError:
        return None
    try:
        return None if not _is_plain(file) or _lock(file, fcntl.LOCK_SH) else _read_holder(file)
    finally:
        os.close(file)


@contextlib.contextmanager
def lock_folder(folder: Path) -> Iterator[int]:
    """Hold a run folder for this process, and for those that inherit the file descriptor given out.

    Raises:
        FolderBusyError: another process on this host holds it.
        RequestError: it cannot be written.
    """
    with contextlib.ExitStack() as opened:
        until = time.monotonic() + MOMENT_S
        while True:
            file = _open(folder, opened)
            if _lock(file, fcntl.LOCK_EX):
                if _is_ours_alone(file, folder):
                    break
            elif time.monotonic() > until:
                raise _busy(folder, _read_holder(file))
            time.sleep(0.02)
        os.ftruncate(file, 0)
        os.pwrite(file, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        yield file


def unwritable(folder: Path, error: OSError) -> RequestError:
    """What is wrong with a run folder into which something could not be written."""
    return RequestError(
        f"The run folder is {folder}, but it cannot be written ({error.strerror}). Choose another with run.root=FOLDER."
    )


def _open(folder: Path, opened: contextlib.ExitStack) -> int:
    """The lock file; a link or anything else but a plain file is replaced by one."""
    lock = RunPaths(folder).lock
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISREG(lock.lstat().st_mode):
                lock.unlink()
        file = os.open(lock, os.O_RDWR | os.O_CREAT | SAFELY, 0o666)
    except OSError as error:
        raise unwritable(folder, error) from error
    opened.callback(os.close, file)
    return file


def _lock(file: int, how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_ours_alone(file: int, folder: Path) -> bool:
    """Whether what is locked may be written; one with a second name somewhere else loses this name."""
    if not _is_at_its_place(file, folder):
        return False
    if is_shared := os.fstat(file).st_nlink > 1:
        RunPaths(folder).lock.unlink(missing_ok=True)
    return not is_shared


def _is_at_its_place(file: int, folder: Path) -> bool:
    """Whether what is locked is the folder's lock file, and not that of a folder that was renamed meanwhile."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(RunPaths(folder).lock, follow_symlinks=False))
    except OSError:
        return False


def refuse_moved(folder: Path, lock: int) -> None:
    """Raises FencedError where the locked folder is no longer at its place: renamed, deleted or replaced."""
    if not _is_at_its_place(lock, folder):
        raise FencedError(
            f"{folder} was renamed, deleted or replaced while it was trained. Nothing more was written there, and no "
            "new run was begun in its place. If it was renamed, rename it back: the same command then resumes the run."
        )


def _is_plain(file: int) -> bool:
    return stat.S_ISREG(os.fstat(file).st_mode)


def _read_holder(file: int) -> Holder:
    # Others may have written it, so only a number and the name of a host are taken from it.
    note = os.pread(file, LONGEST_NOTE, 0).decode(errors="replace").strip()
    found = re.fullmatch(r"process ([0-9]{1,10}) on ([A-Za-z0-9._-]+)", note)
    return Holder(process=int(found[1]), host=found[2]) if found else Holder(process=None, host="")


def _is_alive(process: int) -> bool:
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
    return state not in ("Z", "X")  # it has ended, and nobody has asked how


def _worker_of(folder: Path) -> str:
    fence = read_json_if_valid(RunPaths(folder).fence, Fence)
    here = fence is not None and fence.host == socket.gethostname() and _is_alive(fence.process)
    return f"its worker (process {fence.process})" if fence is not None and here else "its worker"


def _busy(folder: Path, holder: Holder) -> FolderBusyError:
    if holder.is_dead:
        return FolderBusyError(
            f"{folder} is still held by {_worker_of(folder)}, whose launcher, {holder}, has died. "
            "End that process, or choose another folder with run.name=NAME."
        )
    return FolderBusyError(
        f"{folder} is being trained right now by {holder}. "
        "Wait for it, stop it, or choose another folder with run.name=NAME."
    )
