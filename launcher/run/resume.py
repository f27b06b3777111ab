"""From where a run goes on: the newest checkpoint that is whole, found by looking and not by a pointer file."""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

from launcher.run.paths import RunPaths

CHECKPOINT_NAME = re.compile(r"model_(\d{7,})\.pth")


@dataclass(frozen=True, kw_only=True)
class ResumePoint:
    """A whole checkpoint to continue from."""

    path: str
    next_iteration: int | None
    """Iterations done so far, that is, the index of the next one; None where only the file itself knows."""


@dataclass(frozen=True, kw_only=True)
class DamagedCheckpoint:
    path: str
    problem: str


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """What a run folder holds to continue from."""

    newest_whole: ResumePoint | None
    damaged: tuple[DamagedCheckpoint, ...]
    """Newer than `newest_whole`, or all there are."""


def look_for_checkpoints(paths: RunPaths) -> Checkpoints:
    """Find the newest whole checkpoint, reading from the newest backwards until one is whole."""
    numbered = {
        int(match[1]): path
        for path in paths.checkpoints.glob("model_*.pth")
        if (match := CHECKPOINT_NAME.fullmatch(path.name))
    }
    damaged: list[DamagedCheckpoint] = []
    for iteration in sorted(numbered, reverse=True):
        path = numbered[iteration]
        problem = damage_of(path)
        if problem is None:
            whole = ResumePoint(path=str(path), next_iteration=iteration + 1)
            return Checkpoints(newest_whole=whole, damaged=tuple(damaged))
        damaged.append(DamagedCheckpoint(path=str(path), problem=problem))
    return Checkpoints(newest_whole=None, damaged=tuple(damaged))


def damage_of(path: Path) -> str | None:
    """What is wrong with a checkpoint file, or None for a whole one.

    torch writes a zip archive with a CRC-32 per record (APPNOTE.TXT of the ZIP format, 4.4.7) but does not compare
    them when it loads; we do.
    """
    try:
        if path.stat().st_size == 0:
            return "is empty"
        with zipfile.ZipFile(path) as archive:
            first_bad = archive.testzip()
    except zipfile.BadZipFile:
        return "is truncated or not a checkpoint written by torch"
    except (OSError, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        return f"cannot be read ({error})"
    return f"is damaged (checksum of {first_bad} differs)" if first_bad else None
