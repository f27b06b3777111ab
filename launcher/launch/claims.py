"""Which GPUs other launches on this host have taken, and taking some: a locked file per GPU.

A lock belongs to an open file and lasts as long as anyone who inherited it lives, and no longer, however they end. The
files stay; only the lock counts. The folder is open to all users, so nothing in it is trusted: a link, a pipe or
somebody's own file under the name of a GPU is not written to, and keeps no run from starting.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

FOLDER_NAME = "detectron2-launcher-gpus"
SAFELY = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
GPUS, LOCKS = "LAUNCHER_CLAIMED_GPUS", "LAUNCHER_CLAIMED_LOCKS"
"""Variables by which a process that claims GPUs for another one, such as the job of a sweep, hands them over: the
UUIDs, and the open files that hold them."""
PATIENCE_S = 0.5
"""Whoever looks holds a lock for a moment, and a run that was killed releases its own a moment later."""


class GpusTakenError(Exception):
    """Other launches have claimed some of the GPUs. Not a failure: plan again without those."""

    def __init__(self, taken: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{uuid} {why}" for uuid, why in taken.items()))
        self.taken = taken
        """For each UUID a clause that continues the GPU's name, as `plan_devices(avoid=...)` takes it."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """GPUs that nobody else claims while a process has these files open."""

    descriptors: tuple[int, ...] = ()
    """To be inherited by the worker, so that the claim lasts as long as it does."""
    notices: tuple[str, ...] = ()
    """Why GPUs could not be claimed; the run uses them all the same."""


@dataclass(frozen=True, kw_only=True)
class HandedOver:
    """GPUs that were claimed for this process by the one that started it."""

    uuids: frozenset[str] = frozenset()
    descriptors: tuple[int, ...] = ()
    """Open here too; empty in a process that only its parent's claim protects."""


def handed_over(environ: Mapping[str, str]) -> HandedOver:
    """What the environment says was claimed for us."""
    uuids = frozenset(uuid for uuid in environ.get(GPUS, "").split(",") if uuid)
    numbers = (int(text) for text in environ.get(LOCKS, "").split(",") if text.isascii() and text.isdigit())
    return HandedOver(uuids=uuids, descriptors=tuple(number for number in numbers if _is_open(number)) if uuids else ())


def _is_open(descriptor: int) -> bool:
    """As a plain file: a program that was started since may have something else under that number."""
    try:
        return stat.S_ISREG(os.fstat(descriptor).st_mode)
    except OSError:
        return False


class Claims(ExitStack):
    """The GPUs of one launch: kept until the end of the block, because between two attempts others would take them."""

    def __init__(
        self,
        claim: Callable[[Collection[str]], AbstractContextManager[Claim]],
        handed_over: HandedOver,
        held: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        self._claim = claim
        self.uuids = handed_over.uuids
        self.descriptors = (*held, *handed_over.descriptors)
        """To be inherited by the worker: what holds the folder, and the GPUs."""

    def take(self, uuids: frozenset[str]) -> tuple[str, ...]:
        """Claim those that are not claimed yet; what is worth knowing about it.

        Raises:
            GpusTakenError: others have some of them.
        """
        claimed = self.enter_context(self._claim(uuids - self.uuids))
        self.uuids |= uuids
        self.descriptors += claimed.descriptors
        return claimed.notices


def claims_folder() -> Path:
    """Where the users of this host find each other's claims, if they share a temporary folder."""
    try:
        return Path(tempfile.gettempdir(), FOLDER_NAME)
    except OSError:  # none can be written: then nothing can be claimed there, which is said of the GPUs that are used
        return Path("/tmp", FOLDER_NAME)


def look(uuids: Iterable[str], folder: Path) -> dict[str, str]:
    """Those of the GPUs that are claimed now, each with a clause that says by whom. Changes nothing."""
    taken = {}
    for uuid in uuids:
        with contextlib.suppress(OSError), ExitStack() as opened:
            place = _open_folder(folder, opened)
            file = _open(_file_name(uuid), os.O_RDONLY, place, opened)
            if not _lock(file, fcntl.LOCK_SH):
                taken[uuid] = _describe_holder(file)
    return taken


@contextlib.contextmanager
def claim(uuids: Iterable[str], folder: Path) -> Iterator[Claim]:
    """Take these GPUs, all or none, against other launches on this host, until the end of the `with` block.

    Raises:
        GpusTakenError: others have some of them.
    """
    with ExitStack() as held:
        # In one order, so that of two launches that want the same GPUs one gets them all.
        yield _claim_all(sorted(set(uuids)), folder, held)


def _claim_all(uuids: list[str], folder: Path, held: ExitStack) -> Claim:
    taken: dict[str, str] = {}
    notices: list[str] = []
    files: list[int] = []
    until = time.monotonic() + PATIENCE_S
    for uuid in uuids:
        try:
            file = _open_to_claim(uuid, folder, held)
            if _lock_in_time(file, until):
                files.append(file)
            else:
                taken[uuid] = _describe_holder(file)
        except OSError as error:
            why = f"{error.strerror or error}: {error.filename or folder}"
            notices.append(f"{uuid} is not locked against other launches ({why})")
    if taken:
        raise GpusTakenError(taken)
    for file in files:
        _sign(file)
    return Claim(descriptors=tuple(files), notices=tuple(notices))


def _open_to_claim(uuid: str, folder: Path, held: ExitStack) -> int:
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
        folder.chmod(0o1777)  # for all users, of whom none can remove another's file
    place, name = _open_folder(folder, held), _file_name(uuid)
    # Not O_CREAT alone: kernels refuse that for another user's file in a folder that all may write to.
    with contextlib.suppress(FileExistsError):
        file = _open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, place, held)
        os.fchmod(file, 0o666)
        return file
    try:
        return _open(name, os.O_RDWR, place, held)
    except PermissionError:  # a lock needs no more than reading, only our number will be missing
        return _open(name, os.O_RDONLY, place, held)


def _open_folder(folder: Path, held: ExitStack) -> int:
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | SAFELY)
    held.callback(os.close, place)
    return place


def _open(name: str, flags: int, place: int, held: ExitStack) -> int:
    file = os.open(name, flags | SAFELY, 0o666, dir_fd=place)
    held.callback(os.close, file)
    what = os.fstat(file)
    if not stat.S_ISREG(what.st_mode) or what.st_nlink != 1:
        raise OSError(errno.EPERM, "not a plain file of its own", name)
    return file


def _lock_in_time(file: int, until: float) -> bool:
    while not _lock(file, fcntl.LOCK_EX):
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def _lock(file: int, how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sign(file: int) -> None:
    with contextlib.suppress(OSError):
        os.ftruncate(file, 0)
        os.pwrite(file, str(os.getpid()).encode(), 0)


def _describe_holder(file: int) -> str:
    # Anyone may write into these files, so only a number is taken from them.
    number = re.fullmatch(rb"\d{1,10}", os.pread(file, 11, 0))
    by_whom = f", process {number[0].decode()}" if number else ""
    return f"is taken by another launcher{by_whom} (device.share=true shares it)"


def _file_name(uuid: str) -> str:
    """Old drivers name MIG instances with slashes."""
    return re.sub(r"[^A-Za-z0-9-]", "_", uuid)
