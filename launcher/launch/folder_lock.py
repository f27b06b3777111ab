"""Who holds a run folder: one launch on this host at a time, and its worker for as long as that lives."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console

from launcher.config.values import read_json_if_valid
from launcher.errors import ExitCode, LauncherError, RequestError
from launcher.run.fence import Fence, FencedError
from launcher.run.holder import SAFELY, Holder, holder_of, is_alive, read_holder, try_lock
from launcher.run.paths import RunPaths

MOMENT_S = 0.5
"""Whoever looks holds the lock for a moment."""
ORPHAN_S = 660.0
"""For the worker of a launcher that died, which finishes its iteration and saves; after ten minutes it is ended."""
LOOK_EVERY_S = 0.5


class FolderBusyError(LauncherError):
    """Another launch trains in the folder now."""

    exit_code = ExitCode.busy
    code = "run.busy"


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
            if try_lock(file, fcntl.LOCK_EX):
                if _is_ours_alone(file, folder):
                    break
            elif time.monotonic() > until:
                raise _busy(folder, read_holder(file))
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


def _worker_of(folder: Path) -> str:
    fence = read_json_if_valid(RunPaths(folder).fence, Fence)
    here = fence is not None and fence.host == socket.gethostname() and is_alive(fence.process)
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
