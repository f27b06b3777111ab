"""How a file gets its content: written beside and renamed, so that a reader sees the old one or all of the new."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def beside(target: Path) -> Iterator[Path]:
    """A name next to `target` that nobody else uses; whatever still has it at the end is removed.

    A process that is killed leaves it behind: see `leftovers`.
    """
    # Not the process number: a process on another host may have the same.
    draft = target.with_name(f".{target.name}.{os.urandom(4).hex()}.tmp")
    try:
        yield draft
    finally:
        remove(draft)


@contextlib.contextmanager
def replacing(path: Path, *, mode: int = 0o666) -> Iterator[BinaryIO]:
    """A new file, with at most these rights, that is synced and gets the name once all of it is written.

    Raises:
        OSError: it cannot be written; an existing file of that name stays as it was.
    """
    with beside(path) as draft:
        new = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with open(new, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)


def write_text(path: Path, text: str, *, mode: int = 0o666) -> None:
    """Write beside, sync and rename; the parent folder is created if needed, the file with at most these rights.

    Raises:
        OSError: it cannot be written; an existing file of that name stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, mode=mode) as file:
        file.write(text.encode())


def read_if_there(path: Path) -> bytes:
    """All of a file; empty where there is none, or none that this user may read."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def leftovers(folder: Path) -> Iterator[Path]:
    """What killed writers have left half-written in a folder."""
    return folder.glob(".*.tmp")


def remove(path: Path) -> None:
    """Remove a file that nobody needs, if it is there and can be removed."""
    with contextlib.suppress(OSError):
        os.unlink(path)


def sync_file(path: Path) -> None:
    """Have a file's content on the disk, where it outlives a power loss."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder outlive a power loss."""
    sync_file(folder)
