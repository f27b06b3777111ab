"""What a task has done so far, one entry per line, so that an interrupted one keeps it: appended, verified when read.

Every rank of every attempt appends to a file of its own; of entries with the same key the newest counts.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

PATTERN = "*.journal"


class Journal:
    """Appends entries to the file of one rank in one attempt."""

    def __init__(self, folder: Path, *, attempt: int, rank: int) -> None:
        """Raises OSError where it cannot be written."""
        folder.mkdir(parents=True, exist_ok=True)
        # By name in the order of attempts, which is the order in which they are read.
        self._file = open(folder / f"{attempt:06d}.{rank}.journal", "ab")  # noqa: SIM115 (closed by close)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, key: str, value: Any) -> None:
        """Keep what came of `key`; in the hands of the system when this returns.

        Raises:
            OSError: it cannot be written.
        """
        entry = b"\t".join(json.dumps(part, separators=(",", ":")).encode() for part in (key, value))
        self._file.write(b"%08x\t%s\n" % (zlib.crc32(entry), entry))
        self._file.flush()


def keys_in(folder: Path) -> frozenset[str]:
    """Of what there is a valid entry."""
    return frozenset(json.loads(key) for key, _ in _valid_entries(folder))


def entries_in(folder: Path) -> Iterator[tuple[str, Any]]:
    """Every valid entry, older ones of a key before newer ones."""
    return ((json.loads(key), json.loads(value)) for key, value in _valid_entries(folder))


def _valid_entries(folder: Path) -> Iterator[tuple[bytes, bytes]]:
    """Key and value; a line that a kill has cut off, or a disk has damaged, is none."""
    for file in sorted(folder.rglob(PATTERN)):
        with open(file, "rb") as lines:
            for line in lines:
                checksum, _, entry = line.rstrip(b"\n").partition(b"\t")
                key, _, value = entry.partition(b"\t")
                if value and line.endswith(b"\n") and checksum == b"%08x" % zlib.crc32(entry):
                    yield key, value


def stamp_of(file: Path) -> str:
    """A key for a file as it is now: another one once it has changed.

    Raises:
        OSError: there is no such file.
    """
    status = os.stat(file)
    return f"{status.st_size} {status.st_mtime_ns} {file}"
