"""Which content a file has: a digest of all of it, taken again whenever the file may have changed since.

A file whose inode, size and times are as they were has the content that it had, but for one case: a write so soon
after the digest was taken that the file system gave it the same time. Until a file has been left alone for a while,
its times are not trusted, as git does.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from launcher.config.values import read_json_if_valid
from launcher.files import write_text

_CHUNK = 1 << 22
_SETTLED_S = 3.0
"""The coarsest file systems count time in steps of two seconds."""


class ChangedError(Exception):
    """A file changed while it was read."""


@dataclass(frozen=True, kw_only=True)
class Stamp:
    """What the file system says of a file, all of which stays as it is while nobody writes to it."""

    inode: int
    size: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Stamp:
        return cls(
            inode=status.st_ino,
            size=status.st_size,
            modified_ns=status.st_mtime_ns,
            changed_ns=status.st_ctime_ns,
        )

    def was_settled(self, at_s: float) -> bool:
        """Whether whatever is written after that moment gets another time than this one."""
        return max(self.modified_ns, self.changed_ns) / 1e9 < at_s - _SETTLED_S


@dataclass(frozen=True, kw_only=True)
class Content:
    """One file's content at one moment."""

    digest: str
    stamp: Stamp
    taken_s: float
    """When reading it began, in seconds since the epoch."""


def content_of(file: Path, memory: Path) -> Content:
    """The content of a file: as remembered in that folder while the file's stamp is the same, else read.

    Raises:
        OSError: it cannot be read.
        ChangedError: it changed meanwhile.
    """
    note = memory / f"{hashlib.sha256(os.fsencode(os.path.realpath(file))).hexdigest()[:32]}.content"
    known = read_json_if_valid(note, Content)
    if known and known.stamp == Stamp.of(os.stat(file)) and known.stamp.was_settled(known.taken_s):
        return known
    content = read_content(file)
    if content.stamp.was_settled(content.taken_s):
        _remember(note, content)
    return content


def read_content(file: Path) -> Content:
    """Read all of a file for its digest.

    Raises:
        OSError: it cannot be read.
        ChangedError: it changed meanwhile.
    """
    taken_s, digest = time.time(), hashlib.sha256()
    with open(file, "rb", buffering=0) as opened:
        stamp = Stamp.of(os.fstat(opened.fileno()))
        while chunk := opened.read(_CHUNK):
            digest.update(chunk)
        if Stamp.of(os.fstat(opened.fileno())) != stamp:
            raise ChangedError(f"{file} changed while it was read")
    return Content(digest=digest.hexdigest(), stamp=stamp, taken_s=taken_s)


def _remember(note: Path, content: Content) -> None:
    try:
        write_text(note, json.dumps(asdict(content)), mode=0o600)
    except OSError:
        return  # it is read again next time
