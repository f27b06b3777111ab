"""Runs as a person reads them, in a table, and as a program does (JSON)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

from launcher.run.summary import RunSummary, Score, State
from launcher.show.table import table

COLUMNS = ("run", "state", "iteration", "metric", "latest", "best", "device", "age", "duration", "job")


def runs_table(
    runs: Sequence[RunSummary], name_of: Callable[[RunSummary], str], now: float, *, width: int | None = None
) -> str:
    """One line per run below a line of headings; columns in which no run has anything are left out."""
    cells = [dict(zip(COLUMNS, _cells(run, name_of(run), now), strict=True)) for run in runs]
    shown = [column for column in COLUMNS if any(row[column] for row in cells)]
    return table([shown, *([row[column] for column in shown] for row in cells)], width=width)


def runs_json(runs: Iterable[RunSummary]) -> str:
    return json.dumps([plain_summary(run) for run in runs], indent=2)


def plain_summary(run: RunSummary) -> dict[str, Any]:
    """As JSON can hold it."""
    return {**asdict(run), "folder": str(run.folder), "state": run.state.value}


def _cells(run: RunSummary, name: str, now: float) -> tuple[str, ...]:
    return (
        name,
        state_text(run),
        progress_text(run),
        run.score.metric if run.score else "",
        *score_texts(run.score),
        run.device,
        period_text(now - run.began) if run.began else "",
        period_text(run.seconds) if run.num_attempts else "",
        run.job,
    )


def state_text(run: RunSummary) -> str:
    return f"{run.state.value} [{run.code}]" if run.state is State.failed else run.state.value


def progress_text(run: RunSummary) -> str:
    return f"{run.iterations}/{'?' if run.total is None else run.total}{' jobs' if run.jobs else ''}"


def score_texts(score: Score | None) -> tuple[str, str]:
    """The latest and the best value."""
    if score is None:
        return "", ""
    return tuple("none" if value is None else f"{value:.4g}" for value in (score.latest, score.best))  # type: ignore[return-value]


def period_text(seconds: float) -> str:
    """`42 s`, `12 min`, `3 h 20 min`, `4 d 2 h`: two units, or one below an hour."""
    seconds = max(round(seconds), 0)
    if seconds < 60:
        return f"{seconds} s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if hours < 1:
        return f"{minutes} min"
    return f"{hours} h {minutes % 60} min" if days < 1 else f"{days} d {hours % 24} h"
