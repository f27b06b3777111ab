"""Who may write into a run folder: the latest attempt, and nobody who has been overtaken.

The folder's lock cannot tell hosts apart. A node that was given up and comes back would continue training beside the
attempt that replaced it; its token in the fence file is no longer there, and that stops it at its next save.
"""

from __future__ import annotations

import contextlib
import os
import socket
import uuid
from dataclasses import dataclass
from pathlib import Path

from launcher.config.values import read_json_if_valid, write_json
from launcher.errors import LauncherError
from launcher.run.paths import RunPaths


class FencedError(LauncherError):
    """A later attempt trains in this folder, so this one must end without writing."""

    code = "run.fenced"


@dataclass(frozen=True, kw_only=True)
class Fence:
    """What an attempt puts into the fence file, and has to find there again."""

    attempt: int
    token: str
    host: str
    process: int


def take_fence(paths: RunPaths, attempt: int) -> Fence:
    """Make this attempt the one that may write; every earlier one ends at its next `check_fence`.

    Raises:
        FencedError: a later attempt has begun already.
        OSError: the fence cannot be written.
    """
    with contextlib.suppress(OSError):  # one that cannot be read is replaced, or the writing below says why not
        there = _standing(paths.fence)
        if there is not None and there.attempt > attempt:
            raise _fenced(paths, attempt, there)
    fence = Fence(attempt=attempt, token=uuid.uuid4().hex, host=socket.gethostname(), process=os.getpid())
    write_json(paths.fence, fence)
    return fence


def check_fence(paths: RunPaths, fence: Fence) -> None:
    """Ask, before anything of the run is replaced, whether this attempt still may.

    Raises:
        FencedError: it may not.
        OSError: the fence cannot be read, which says nothing about who may write.
    """
    there = _standing(paths.fence)
    if there != fence:
        raise _fenced(paths, fence.attempt, there)


def _standing(file: Path) -> Fence | None:
    there = read_json_if_valid(file, Fence)
    if there is None and file.exists():
        raise OSError(f"{file} is damaged or cannot be read")
    return there


def _fenced(paths: RunPaths, attempt: int, there: Fence | None) -> FencedError:
    if there is None:
        what = f"{paths.folder} was moved or replaced"
    else:
        what = f"attempt {there.attempt} (process {there.process} on {there.host}) trains in {paths.folder} now"
    return FencedError(
        f"{what}; attempt {attempt} stops without writing anything more. Nothing is lost: run the same command again "
        "to see the state of the run."
    )
