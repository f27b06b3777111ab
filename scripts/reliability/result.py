"""What a part of the trials has found: a row of a table, and where it missed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.config.request import RunRequest
from scripts.reliability.job import paths_of


@dataclass(frozen=True, kw_only=True)
class Row:
    part: str
    tried: str
    measured: str
    misses: tuple[str, ...] = ()
    """What was not as expected, one sentence each."""


@dataclass(frozen=True, kw_only=True)
class End:
    """With what a training ended, to be compared with another's."""

    weights: str
    metrics: list[dict[str, Any]]


def end_of(request: RunRequest) -> End:
    from tests.exact import metrics_in, weights_in  # imports torch, which a table does without

    paths = paths_of(request)
    return End(weights=weights_in(paths.final_weights), metrics=metrics_in(paths))


def as_table(rows: Iterable[Row]) -> str:
    lines = ["| part | what | measured | misses |", "|---|---|---|---|"]
    lines += [f"| {row.part} | {row.tried} | {row.measured} | {len(row.misses)} |" for row in rows]
    return "\n".join(lines)


def images_in(data: Path, split: str = "train") -> list[Path]:
    return sorted((data / split).iterdir())
