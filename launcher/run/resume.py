"""Where a run resumes: at the newest valid checkpoint, found by reading files and not by a pointer file."""

from __future__ import annotations

import os
import re
import struct
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import LauncherError
from launcher.run.manifest import Manifest, manifest_path, read_manifest
from launcher.run.paths import RunPaths

CHECKPOINT_NAME = re.compile(r"model_(\d{7,})\.pth")
_CHUNK = 4 << 20  # bytes
# The end of an archive as torch writes it, APPNOTE.TXT of the ZIP format 4.3.12 to 4.3.16: per record a header, then
# the large end record, where to find that one, and the small end record.
_HEADER = struct.Struct("<28x3H12x")
"""Lengths of what follows: name, extra field, comment."""
_USUAL_FLAGS = 0x0808  # names in UTF-8, sizes also behind the data
_LARGE_END = struct.Struct("<4sQHHIIQQQQ")
_LARGE_END_LOCATOR = struct.Struct("<4sIQI")
_END = struct.Struct("<4sHHHHIIH")
_UNREADABLE = (
    OSError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OverflowError,
    MemoryError,
    struct.error,
    zlib.error,
)
"""What the standard library raises for damaged archives beside BadZipFile."""


class ResumePointGoneError(LauncherError):
    """Another attempt removed the checkpoint meanwhile; a new plan finds the newest one."""

    code = "run.checkpoint_gone"


@dataclass(frozen=True, kw_only=True)
class ResumePoint:
    """A valid checkpoint to resume from."""

    path: str
    next_iteration: int | None
    """Iterations done so far, that is, the index of the next one; None where only the file itself knows."""
    manifest: Manifest | None = None
    """What is written beside it; None for a checkpoint of detectron2's own."""


@dataclass(frozen=True, kw_only=True)
class DamagedCheckpoint:
    path: str
    problem: str


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """What a run folder holds to resume from."""

    newest_valid: ResumePoint | None
    damaged: tuple[DamagedCheckpoint, ...]
    """Newer than `newest_valid`, or all there are."""


def look_for_checkpoints(paths: RunPaths) -> Checkpoints:
    """Find the newest valid checkpoint, reading from the newest backwards until one is valid; writes nothing."""
    numbered = numbered_checkpoints(paths)
    damaged: list[DamagedCheckpoint] = []
    for iteration in sorted(numbered, reverse=True):
        path = numbered[iteration]
        problem = damage_of(path)
        if problem is None:
            valid = ResumePoint(path=str(path), next_iteration=iteration + 1, manifest=read_manifest(path))
            return Checkpoints(newest_valid=valid, damaged=tuple(damaged))
        damaged.append(DamagedCheckpoint(path=str(path), problem=problem))
    return Checkpoints(newest_valid=None, damaged=tuple(damaged))


def numbered_checkpoints(paths: RunPaths) -> dict[int, Path]:
    """The numbered checkpoints by iteration, valid or not."""
    return {
        int(match[1]): path
        for path in paths.checkpoints.glob("model_*.pth")
        if (match := CHECKPOINT_NAME.fullmatch(path.name))
    }


def rename_damaged(damaged: Sequence[DamagedCheckpoint]) -> list[Path]:
    """Rename damaged checkpoints, so that nobody takes them for valid ones, and return their new names.

    Raises:
        OSError: the folder cannot be written.
    """
    renamed = []
    for checkpoint in damaged:
        path = Path(checkpoint.path)
        target = _free_name(path)
        os.replace(path, target)
        manifest_path(path).unlink(missing_ok=True)
        renamed.append(target)
    return renamed


def _free_name(path: Path) -> Path:
    target = path.with_name(f"{path.name}.damaged")
    number = 1
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}.damaged.{number}")
    return target


def damage_of(path: Path) -> str | None:
    """What is wrong with a checkpoint file, or None for a valid one.

    The checksum in its manifest covers every byte. Without one, as for detectron2's own checkpoints, those inside the
    file do: torch writes a zip archive with a CRC-32 per record but does not compare them when it loads.
    """
    try:
        if path.stat().st_size == 0:
            return "is empty"
        manifest = read_manifest(path)
        return _difference_from(manifest, path) if manifest else _damage_of_records(path)
    except zipfile.BadZipFile:
        return "is truncated or not a checkpoint written by torch"
    except _UNREADABLE as error:
        return f"cannot be read ({error})"


def _difference_from(manifest: Manifest, path: Path) -> str | None:
    size = path.stat().st_size
    if size != manifest.size:
        return f"is damaged ({size} bytes instead of {manifest.size})"
    return None if _crc32_of(path) == manifest.crc32 else "is damaged (its checksum differs)"


def _crc32_of(path: Path) -> int:
    crc32 = 0
    with open(path, "rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            crc32 = zlib.crc32(chunk, crc32)
    return crc32


def _damage_of_records(path: Path) -> str | None:
    with zipfile.ZipFile(path) as archive:
        first_bad = archive.testzip()
        if first_bad is not None:
            return f"is damaged (checksum of {first_bad} differs)"
        return None if _directory_is_sound(path, archive) else "is damaged (its directory contradicts its content)"


def _directory_is_sound(path: Path, archive: zipfile.ZipFile) -> bool:
    """Whether those fields are right that torch goes by and the standard library does not compare."""
    records = archive.infolist()
    if len({r.orig_filename for r in records}) != len(records):
        return False
    if any(r.volume or r.compress_type or r.external_attr or r.compress_size != r.file_size for r in records):
        return False
    if any(r.flag_bits & ~_USUAL_FLAGS for r in records):
        return False
    with open(path, "rb") as file:
        file.seek(archive.start_dir)
        directory = file.read()
    count, size = len(records), 0
    for _ in records:
        size += _HEADER.size + sum(_HEADER.unpack_from(directory, size))
    end = directory[size:]
    if not end.startswith(b"PK\x06\x06"):
        _, disk, first_disk, here, all_in_all, *place, _ = _END.unpack_from(end)
        return (disk, first_disk, here, all_in_all, *place) == (0, 0, count, count, size, archive.start_dir)
    _, length, _, _, *large = _LARGE_END.unpack_from(end)
    locator = _LARGE_END_LOCATOR.unpack_from(end, _LARGE_END.size)
    return (
        length == _LARGE_END.size - 12
        and large == [0, 0, count, count, size, archive.start_dir]
        and locator == (b"PK\x06\x07", 0, archive.start_dir + size, 1)
    )
