"""How much of this machine's memory a training has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def memory_of(session: int, proc: Path = Path("/proc")) -> int | None:
    """MiB of all processes of a worker's session, what they share counted once for each; None where none is there."""
    found = [pages for folder in proc.glob("[0-9]*") for pages in _resident_mib(folder, session)]
    return sum(found) if found else None


def _resident_mib(process: Path, session: int) -> Iterator[int]:
    try:
        # Behind the name in brackets: state, parent, group, session.
        if int((process / "stat").read_text(errors="replace").rpartition(")")[2].split()[3]) != session:
            return
        lines = (process / "status").read_text(errors="replace").splitlines()
    except (OSError, ValueError, IndexError):
        return  # it has ended meanwhile
    yield from (int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS:"))
