"""How fast a run is and what it waits for, from the last lines of metrics.json."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

TAIL = 1 << 16  # bytes
LINES = 20


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Medians of the last entries."""

    iteration_s: float
    wait_fraction: float | None
    """Of an iteration, spent waiting for data; None where nobody measured it."""
    loss: float | None


def read_pace(metrics: Path) -> Pace | None:
    """None before the first entries."""
    lines = [line for line in tail_of(metrics, TAIL).splitlines()[-LINES:] if line.startswith("{")]
    entries = [entry for line in lines if (entry := _entry(line))]
    times = [entry["time"] for entry in entries if isinstance(entry.get("time"), float)]
    if not times:
        return None
    waits = [entry["data_time"] for entry in entries if isinstance(entry.get("data_time"), float)]
    losses = [entry["total_loss"] for entry in entries if isinstance(entry.get("total_loss"), float)]
    seconds = median(times)
    return Pace(
        iteration_s=seconds,
        wait_fraction=_fraction(waits, seconds),
        loss=losses[-1] if losses else None,
    )


def tail_of(file: Path, size: int) -> str:
    """The last bytes of a text, from the beginning of a line; empty where there is none."""
    try:
        with open(file, "rb") as opened:
            opened.seek(max(os.fstat(opened.fileno()).st_size - size, 0))
            begins_within = opened.tell() > 0
            text = opened.read().decode(errors="replace")
    except OSError:
        return ""
    return text.partition("\n")[2] if begins_within else text


def _fraction(waits: Sequence[float], seconds: float) -> float | None:
    return min(median(waits) / seconds, 1.0) if waits and seconds > 0 else None


def _entry(line: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}
