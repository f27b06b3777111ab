"""What a child process finds out by importing code, kept as JSON while what it was made from stays as it is."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.files import write_text
from launcher.process_limits import naming_limits
from launcher.safe_start import python_command

# Importing torch from a cold network disk has been seen to take a minute.
DEADLINE_S = 300.0
HIDES_GPUS = {"CUDA_VISIBLE_DEVICES": "", "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
"""In a child's environment: it need not wait for a driver, and takes no memory of a GPU."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a child program left when it ended."""

    status: int
    text: str
    """What it wrote into the file that it was given, empty where it wrote nothing."""
    printed: str


def ask_child(program: str, arguments: Sequence[str], *, environ: Mapping[str, str], deadline_s: float) -> Answer:
    """Have a module of ours, run without a GPU, write its answer into the file that is its first argument.

    Raises:
        subprocess.TimeoutExpired: it was killed at its deadline.
        ProcessLimitError: the system lets no further process start.
    """
    with _file_without_a_name() as file, naming_limits():
        child = subprocess.run(
            [*python_command(program, "-W", "ignore"), f"/dev/fd/{file}", *arguments],
            env={**environ, **HIDES_GPUS},
            pass_fds=(file,),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=deadline_s,
            text=True,
            errors="replace",
        )
        text = os.pread(file, os.fstat(file).st_size, 0).decode(errors="replace")
        return Answer(status=child.returncode, text=text, printed=child.stdout + child.stderr)


@contextlib.contextmanager
def _file_without_a_name() -> Iterator[int]:
    """In memory where there is such a thing: a folder for temporary files may be full."""
    if not hasattr(os, "memfd_create"):
        with tempfile.TemporaryFile() as file:
            yield file.fileno()
        return
    descriptor = os.memfd_create("answer")
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def cache_folders(environ: Mapping[str, str]) -> list[Path]:
    """Where descriptions may be kept, best first."""
    folders = []
    if environ.get("XDG_CACHE_HOME"):
        folders.append(Path(environ["XDG_CACHE_HOME"]) / "detectron2-launcher")
    elif environ.get("HOME"):
        folders.append(Path(environ["HOME"]) / ".cache" / "detectron2-launcher")
    # Shared by all users of the machine, so each has a folder of its own. There may be none that can be written.
    with contextlib.suppress(OSError):
        folders.append(Path(tempfile.gettempdir()) / f"detectron2-launcher-{os.getuid()}")
    return folders


def digest(question: Any) -> str:
    """A short name for what plain data asks."""
    return hashlib.sha256(json.dumps(question).encode()).hexdigest()[:16]


def stamps(paths: Iterable[str]) -> dict[str, list[int]]:
    """What changes when a file does, or when one is added to a folder or taken away.

    Raises:
        OSError: one is not there.
    """
    stats = ((path, os.stat(path)) for path in paths)
    return {path: [stat.st_mtime_ns, stat.st_size] for path, stat in stats}


def read_fresh(path: Path) -> dict[str, Any] | None:
    """A stored description, if nobody else can have written it and the files in its `made_from` are as they were."""
    try:
        there = path.lstat()
        if not (is_ours(path.parent) and stat.S_ISREG(there.st_mode) and there.st_uid == os.getuid()):
            return None
        described: dict[str, Any] = json.loads(path.read_bytes())
        checksum, made_from = described.pop("checksum"), described["made_from"]
        is_fresh = checksum == digest(described) and made_from == stamps(made_from)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        # Absent, cut off or not ours: all the same, it is made anew.
        return None
    return described if is_fresh else None


def store(described: Mapping[str, Any], file_name: str, environ: Mapping[str, str]) -> None:
    """Keep a description; a cache that cannot be kept anywhere costs time in the next call and nothing else."""
    text = json.dumps({**described, "checksum": digest(described)})
    for folder in cache_folders(environ):
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if is_ours(folder):
                write_text(folder / file_name, text)
                return
        except OSError:
            continue


def is_ours(folder: Path) -> bool:
    """Whether a folder is this user's own and nobody else can write to it.

    The one under /tmp has a name that anybody can guess and make first, also as a symbolic link.
    """
    there = folder.lstat()
    return stat.S_ISDIR(there.st_mode) and there.st_uid == os.getuid() and not there.st_mode & 0o022


def last_lines(text: str, number: int = 8) -> str:
    """The end of what a child printed, indented."""
    return "\n".join(f"  {line}" for line in text.strip().splitlines()[-number:])
