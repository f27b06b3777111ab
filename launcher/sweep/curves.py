"""What the evaluations of a run gave, one after the other, from its metrics.json."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from launcher.files import read_if_there
from launcher.run.paths import RunPaths
from launcher.run.summary import headline_in


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One evaluation of a job."""

    iterations: int
    """Done before it."""
    value: float
    """May be NaN or Inf."""


Curve = Sequence[Measured]


def curve_of(paths: RunPaths, metric: str) -> tuple[Measured, ...]:
    """The values of one metric, the main one where none is named, by the iterations that were done."""
    text = read_if_there(paths.metrics)
    name = metric or headline_in(text)
    mark = json.dumps(name).encode() + b":"
    found: dict[int, float] = {}
    for line in text.splitlines() if name else ():
        if mark in line:
            found |= _measured(line, name)
    return tuple(Measured(iterations=done, value=found[done]) for done in sorted(found))


def main_metric_in(paths: RunPaths) -> str:
    """The first headline metric that there is; empty before the first evaluation."""
    return headline_in(read_if_there(paths.metrics))


def _measured(line: bytes, name: str) -> dict[int, float]:
    try:
        entry = json.loads(line)
        return {int(entry["iteration"]) + 1: float(entry[name])}
    except (ValueError, LookupError, TypeError, RecursionError):  # a line that is still being written
        return {}
