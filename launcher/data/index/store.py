"""Where indexes are kept: opened where one is there and sound, made once where not, by one process for all.

An index is named after the content of its annotation file and the code that judged it, so a file that changes, or a
launcher that judges otherwise, asks for another one.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import stat
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from launcher.config.described import cache_folders, is_ours
from launcher.config.request import IndexChoice
from launcher.data.index.columns import DamagedIndexError, Index, read_index
from launcher.data.index.identity import ChangedError, Content, content_of
from launcher.data.portion import Portion
from launcher.files import leftovers, remove
from launcher.safe_start import python_command

_JUDGES = (
    "box_readings",
    "coco_file",
    "geometry",
    "image_files",
    "json_file",
    "listed_image",
    "portion",
    "repeats",
    "rle",
    "tally",
    "index/build",
    "index/columns",
    "index/rows",
    "index/scan",
)
"""The files whose code decides what is in an index, beside this folder."""
_FEWEST_BYTES = 8_000_000
_UNUSED_DAYS = 60
_DAY_S = 86_400
_SMALLER = 5
"""How many times smaller than its annotation file an index is, at the least."""


@dataclass(frozen=True, kw_only=True)
class IndexFacts:
    """The index of an annotation file, which workers open in place of reading the file."""

    content: str
    """Digest of the annotation file that it is the index of."""
    path: str
    """Empty where there is none."""
    size: int
    """In bytes."""
    unusable: str
    """Why workers read the file itself; empty when they need not."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Opened:
    """What came of opening the index of an annotation file that is to have one."""

    index: Index | None
    facts: IndexFacts

    @classmethod
    def none(cls, why_not: str) -> Opened:
        return cls(index=None, facts=IndexFacts(content="", path="", size=0, unusable=why_not))


@dataclass(frozen=True, kw_only=True)
class IndexStore:
    """The indexes that a user has."""

    folders: Sequence[Path]
    """Where they may be kept, best first."""
    fewest_bytes: int
    """A smaller annotation file is read as fast as its index is opened."""
    announce: Callable[[str], None]

    def open(self, file: Path, portion: Portion | None = None) -> Opened | None:
        """The index of an annotation file, or of a part, made now if need be; None for what is to have none."""
        try:
            there = os.stat(file)
            if not stat.S_ISREG(there.st_mode) or there.st_size < self.fewest_bytes:
                return None
            return self._open(file, portion)
        except (OSError, ValueError, ChangedError) as error:
            return Opened.none(str(error))

    def _open(self, file: Path, portion: Portion | None) -> Opened:
        for folder in self.folders:
            if not _is_usable(folder):
                continue
            content = content_of(file, folder)
            path = folder / f"{content.digest[:40]}-{_version()}{_name_of(portion)}.index"
            return _read(path, content) or self._make(file, content, path, portion)
        return Opened.none(f"none of {', '.join(map(str, self.folders))} can be written by you and by nobody else")

    def _make(self, file: Path, content: Content, path: Path, portion: Portion | None) -> Opened:
        with _locked(path.with_suffix(".lock"), lambda: self.announce(f"waiting for another launch to index {file}")):
            if opened := _read(path, content):
                return opened
            self.announce(f"indexing {_said(file, portion)} ({_megabytes(content.stamp.size)}), once")
            _clear(path.parent)
            why_not = _why_no_room(path.parent, content.stamp.size // _SMALLER) or _build_in_child(file, path, portion)
        return _read(path, content) or Opened.none(why_not or f"{file} changed while it was indexed")


def index_store(asked: IndexChoice, environ: Mapping[str, str], announce: Callable[[str], None]) -> IndexStore | None:
    """The store of a user with that environment; None where annotations are to be read."""
    if asked is IndexChoice.off:
        return None
    return IndexStore(
        folders=[folder / "annotations" for folder in cache_folders(environ)],
        fewest_bytes=0 if asked is IndexChoice.on else _FEWEST_BYTES,
        announce=announce,
    )


def _read(path: Path, content: Content) -> Opened | None:
    try:
        index = read_index(path, content.digest)
        size = path.stat().st_size
    except (OSError, DamagedIndexError):
        return None
    if index.content_size != content.stamp.size:
        return None
    with contextlib.suppress(OSError):
        if time.time() - path.stat().st_mtime > _DAY_S:
            os.utime(path)  # it is still used
    facts = IndexFacts(content=content.digest, path=str(path), size=size, unusable=index.unusable)
    return Opened(index=index, facts=facts)


def _why_no_room(folder: Path, size: int) -> str:
    free = shutil.disk_usage(folder).free
    return f"{folder} has {_megabytes(free)} free, and {_megabytes(size)} may be needed" if free < size else ""


def _name_of(portion: Portion | None) -> str:
    """What the index of a part is called beside that of the whole file."""
    if portion is None:
        return ""
    return f"-{hashlib.sha256(json.dumps(asdict(portion)).encode()).hexdigest()[:12]}"


def _said(file: Path, portion: Portion | None) -> str:
    if portion is None:
        return str(file)
    return f"the part for {'validation' if portion.is_val else 'training'} of {file}"


def _build_in_child(file: Path, path: Path, portion: Portion | None) -> str:
    """Make the index; returns why there is none.

    In a process of its own, which gives its memory back, and whose end is not ours should the file shrink meanwhile.
    """
    done = subprocess.run(
        [*python_command("launcher.data.index"), str(file), str(path), *_as_argument(portion)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return ""
    return (done.stderr.strip().splitlines() or [f"the process that made it ended with status {done.returncode}"])[-1]


def _as_argument(portion: Portion | None) -> list[str]:
    return [] if portion is None else [json.dumps(asdict(portion))]


@contextlib.contextmanager
def _locked(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Let one process at a time make an index. Where the disk knows no locks several may, each for itself."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with contextlib.suppress(OSError):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@cache
def _version() -> str:
    """Of the code that decides what is in an index."""
    digest, folder = hashlib.sha256(), Path(__file__).parent.parent
    for name in _JUDGES:
        digest.update((folder / f"{name}.py").read_bytes())
    return digest.hexdigest()[:12]


def _is_usable(folder: Path) -> bool:
    """Make the folder if need be; whether we can write into it and nobody else can."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return is_ours(folder) and os.access(folder, os.W_OK)
    except OSError:
        return False


def _clear(folder: Path) -> None:
    """Remove what has not been used for long, and what killed writers have left."""
    oldest = time.time() - _UNUSED_DAYS * _DAY_S
    for pattern in ("*.index", "*.lock", "*.content"):
        for path in folder.glob(pattern):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < oldest:
                    remove(path)
    for draft in leftovers(folder):
        with contextlib.suppress(OSError):
            if draft.stat().st_mtime < time.time() - _DAY_S:
                remove(draft)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"
