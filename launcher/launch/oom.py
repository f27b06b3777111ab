"""How many processes the kernel's OOM killer has ended. Looks only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path


def count_memory_kills(root: Path = Path("/")) -> int:
    """A number that has grown when the kernel has killed a process on this machine or in this control group.

    A container may not see the machine's count, and the group's is where its own limit shows; their sum grows with
    either.
    """
    found = (re.search(r"^oom_kill (\d+)$", _text(path), re.MULTILINE) for path in _counters(root))
    return sum(int(match[1]) for match in found if match)


def _counters(root: Path) -> Iterator[Path]:
    yield root / "proc/vmstat"
    for line in _text(root / "proc/self/cgroup").splitlines():
        controllers, _, group = line.partition(":")[2].partition(":")
        if not controllers:  # version 2 lists none
            yield root / "sys/fs/cgroup" / group.lstrip("/") / "memory.events"
        elif "memory" in controllers.split(","):
            yield root / "sys/fs/cgroup/memory" / group.lstrip("/") / "memory.oom_control"


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
