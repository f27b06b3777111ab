"""What the launchers of two nodes talk on, each in a thread of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from launcher.device.job import NodeFacts
from launcher.launch.board import Board


def a_board(
    folder: Path,
    rank: int,
    *,
    count: int = 2,
    start: str = "17-0-0",
    patience_s: float = 60.0,
    now: Callable[[], float] = time.monotonic,
) -> Board:
    """Of one node, for a run in that folder; it looks more often than on a network disk."""
    node = NodeFacts(count=count, rank=rank, name=f"n{rank + 1}", head="n1", start=start)
    return Board(folder / ".nodes", node, patience_s=patience_s, now=now, sleep=lambda s: time.sleep(s / 20))


def together(*steps: Callable[[], Any]) -> list[Any]:
    """What each of them returns, all begun at once."""
    with ThreadPoolExecutor(len(steps)) as pool:
        return [step.result(timeout=90) for step in [pool.submit(step) for step in steps]]
