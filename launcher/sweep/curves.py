"""What the evaluations of a run gave, one after the other, from the text of its metrics.json."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from launcher.run.outcome import HEADLINE_METRICS


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One evaluation of a job."""

    iterations: int
    """Done before it."""
    value: float
    """May be NaN or Inf."""


Curve = Sequence[Measured]


def curve_in(text: bytes, metric: str) -> tuple[Measured, ...]:
    """The values of one metric, the main one where none is named, by the iterations that were done."""
    name = metric or main_metric_in(text)
    mark = json.dumps(name).encode() + b":"
    found: dict[int, float] = {}
    for line in text.splitlines() if name else ():
        if mark in line:
            found |= _measured(line, name)
    return tuple(Measured(iterations=done, value=found[done]) for done in sorted(found))


def main_metric_in(text: bytes) -> str:
    """The first headline metric that there is; empty before the first evaluation."""
    return next((name for name in HEADLINE_METRICS if json.dumps(name).encode() + b":" in text), "")


def _measured(line: bytes, name: str) -> dict[int, float]:
    try:
        entry = json.loads(line)
        return {int(entry["iteration"]) + 1: float(entry[name])}
    except (ValueError, LookupError, TypeError, RecursionError):  # a line that is still being written
        return {}
