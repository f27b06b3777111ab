"""Finding sweeps, and sweeps as one row among runs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from launcher.run.attempts import read_plain
from launcher.run.found import DEEPEST, OF_A_RUN, expanded, look_in
from launcher.run.summary import RunSummary, Score, State
from launcher.sweep.stored import NAME, is_sweep

STATES = (State.running, State.queued, State.stopped, State.planned, State.failed, State.finished)
"""The first that a job has is the sweep's: what is still to be done comes first."""


def find_sweeps(folder: Path, depth: int = DEEPEST) -> Iterator[Path]:
    """The folders of all sweeps below a folder, or the folder itself."""
    names, below = look_in(folder, depth)
    if NAME in names:
        yield folder
    elif not names & OF_A_RUN:
        for path in below:
            yield from find_sweeps(path, depth - 1)


def find_sweep(asked: str, root: Path) -> Path | None:
    """The sweep that is meant by its folder or by the end of it; None where that is no sweep, or several are."""
    as_folder = Path(os.path.normpath(expanded(asked).absolute()))
    if is_sweep(as_folder):
        return as_folder
    name, root = asked.strip("/"), expanded(str(root))
    if not name or not root.is_dir():
        return None
    meant = [one for one in find_sweeps(root) if f"/{one.relative_to(root)}".endswith(f"/{name}")]
    return Path(os.path.normpath(meant[0].absolute())) if len(meant) == 1 else None


def with_sweeps_as_one(runs: Iterable[RunSummary], below: Path) -> list[RunSummary]:
    """The runs, with one row instead of all jobs of each sweep below that folder."""
    by_sweep: dict[Path, list[RunSummary]] = {}
    rows: list[RunSummary | Path] = []
    known: dict[Path, Path | None] = {}
    for run in runs:
        sweep = _sweep_of(run.folder, below, known)
        if sweep is None:
            rows.append(run)
            continue
        if sweep not in by_sweep:
            rows.append(sweep)
        by_sweep.setdefault(sweep, []).append(run)
    return [as_one(row, by_sweep[row]) if isinstance(row, Path) else row for row in rows]


def as_one(folder: Path, jobs: Sequence[RunSummary]) -> RunSummary:
    """A sweep as a run is listed: what is said of it is that of its jobs together, without those that were archived."""
    plain = read_plain(folder / NAME)
    names = _names_in(plain)
    jobs = [job for job in jobs if str(job.folder.relative_to(folder)) in names] or jobs
    total = max(len(names), len(jobs))
    states = [job.state for job in jobs] + [State.planned] * (total - len(jobs))
    began = [job.began for job in jobs if job.began is not None]
    return replace(
        jobs[0],
        folder=folder,
        state=next((state for state in STATES if state in states), State.finished),
        code=next((job.code for job in jobs if job.code), ""),
        iterations=sum(state not in (State.running, State.queued, State.stopped, State.planned) for state in states),
        total=total,
        score=_score_of(jobs, is_min=plain.get("mode") == "min"),
        began=min(began, default=None),
        seen=max(job.seen for job in jobs),
        seconds=sum(job.seconds for job in jobs),
        num_attempts=sum(job.num_attempts for job in jobs),
        job="",
        jobs=total,
    )


def _names_in(plain: Mapping[str, Any]) -> list[str]:
    """The folders of the jobs that sweep.json lists."""
    listed = plain.get("jobs")
    return [str(job.get("folder")) for job in listed if isinstance(job, dict)] if isinstance(listed, list) else []


def _sweep_of(run: Path, below: Path, known: dict[Path, Path | None]) -> Path | None:
    """The sweep that a run is a job of; only one below the folder that is listed."""
    parent = run.parent
    if parent not in known:
        above = (place for place in (parent, *parent.parents) if place != below and place.is_relative_to(below))
        known[parent] = next((place for place in above if is_sweep(place)), None)
    return known[parent]


def _score_of(jobs: Sequence[RunSummary], *, is_min: bool) -> Score | None:
    scores = [job.score for job in jobs if job.score is not None]
    if not scores:
        return None
    choose = min if is_min else max
    latest = [score.latest for score in scores if score.latest is not None]
    best = [score.best for score in scores if score.best is not None]
    return Score(
        metric=scores[0].metric,
        latest=choose(latest, default=None),
        best=choose(latest if is_min else best, default=None),
    )
