"""The jobs of a sweep beside each other: the best first, as text, as summary.csv and as JSON."""

from __future__ import annotations

import csv
import io
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from launcher.config.arguments import command_of_one
from launcher.config.request import BestMode
from launcher.files import write_text
from launcher.show.runs import period_text
from launcher.show.table import table
from launcher.sweep.naming import SEED, key_of, settings_in
from launcher.sweep.standing import main_metric_of
from launcher.sweep.text import state_text, value_text
from launcher.sweep.values import Job, JobState, Standing, Sweep, rank_key

CSV = "summary.csv"
OF_A_SWEEP = ("run.name", "resume")
"""Settings that all jobs share, and that mean something else for a run of its own."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One point of the space, with all jobs that repeat it."""

    settings: tuple[str, ...]
    values: tuple[float, ...]
    num_jobs: int

    @property
    def mean(self) -> float | None:
        return mean(self.values) if self.values else None

    @property
    def spread(self) -> float | None:
        """Standard deviation of a sample; None of fewer than two values."""
        return stdev(self.values) if len(self.values) > 1 else None


def ranked(sweep: Sweep, found: Sequence[Standing]) -> list[Standing]:
    """The best first; what failed or was pruned after what finished."""
    order = {JobState.finished: 0, JobState.running: 1, JobState.pruned: 2, JobState.queued: 4}
    return sorted(found, key=lambda one: (order.get(one.state, 3), rank_key(one, sweep.mode)))


def best_of(sweep: Sweep, found: Sequence[Standing]) -> Standing | None:
    """The finished job with the best value; None before there is one."""
    finished = [one for one in found if one.state is JobState.finished and one.value is not None]
    return min(finished, key=lambda one: rank_key(one, sweep.mode), default=None)


def points_of(sweep: Sweep, found: Sequence[Standing]) -> list[Point]:
    """The points that are repeated, the best first by their mean; only values of finished jobs count."""
    by_settings: dict[tuple[str, ...], list[Standing]] = {}
    for one in found:
        settings = tuple(text for text in one.job.overrides if key_of(text) != SEED)
        by_settings.setdefault(settings, []).append(one)
    points = [
        Point(
            settings=settings,
            values=tuple(one.value for one in jobs if one.state is JobState.finished and one.value is not None),
            num_jobs=len(jobs),
        )
        for settings, jobs in by_settings.items()
    ]
    sign = -1 if sweep.mode is BestMode.max else 1
    return sorted(points, key=lambda point: (point.mean is None, sign * (point.mean or 0.0)))


def keys_of(found: Sequence[Standing]) -> list[str]:
    """What differs, in the order in which it was typed."""
    return list(dict.fromkeys(key_of(text) for one in found for text in one.job.overrides))


def command_of(sweep: Sweep, job: Job) -> str:
    """What trains the same as that job in a run of its own."""
    own = settings_in(job.overrides)
    fixed = [text for text in sweep.fixed if key_of(text) not in (*own, *OF_A_SWEEP) and not _is_of_sweeps(text)]
    typed = settings_in([*fixed, *job.overrides])
    seed = [f"{SEED}={sweep.seed}"] if SEED not in typed and sweep.seed is not None else []
    return shlex.join(command_of_one(shlex.split(sweep.command), [*fixed, *job.overrides, *seed]))


def sweep_table(sweep: Sweep, found: Sequence[Standing]) -> str:
    """One line per job, the best first, and one per point where points are repeated."""
    metric = main_metric_of(found, sweep.metric)
    keys = keys_of(found)
    short = _shortest(keys)
    head = ["job", *(short[key] for key in keys), "state", "iteration", metric or "metric", "time"]
    rows = [_row(one, _settings_of(sweep, one.job), keys) for one in ranked(sweep, found)]
    if any(one.in_slurm for one in found):
        head = [*head, "in Slurm"]
        rows = [[*row, one.in_slurm] for row, one in zip(rows, ranked(sweep, found), strict=True)]
    parts = [table([head, *rows])]
    if sweep.seeds > 1:
        parts.append(table([["point", f"mean of {metric or 'metric'}", "spread", "runs"], *_point_rows(sweep, found)]))
    return "\n\n".join(parts)


def ending_lines(sweep: Sweep, found: Sequence[Standing], called: str) -> Iterator[str]:
    """What came out, and what to type next; it is `called` so by commands."""
    states = [one.state for one in found]
    counts = ", ".join(f"{states.count(state)} {state.value}" for state in JobState if state in states)
    yield f"sweep: {counts} in {called}"
    if (best := best_of(sweep, found)) is not None:
        yield f"  best          {best.job.folder}  {best.metric} {value_text(best)}"
        yield f"  its command   {command_of(sweep, best.job)}"
    if running := [one.job.folder for one in found if one.state is JobState.running and not one.in_slurm]:
        stop = shlex.join(["launcher", "cancel", f"{called}/{running[0]}"])
        yield f"  still runs    {', '.join(running)}; the same command waits for it, and this stops it: {stop}"
    if sweep.metric and JobState.finished in states and all(one.value is None for one in found):
        names = sorted({name for one in found for name in one.metrics}) or ["none"]
        yield f"  metric        no job reported sweep.metric={sweep.metric}; there are: {', '.join(names[:8])}"
    yield f"  table         {_relative(sweep.folder / CSV)}"
    yield f"  look          launcher runs {shlex.quote(called)}, or: launcher tensorboard {_relative(sweep.folder)}"


def _relative(folder: Path) -> str:
    return shlex.quote(os.path.relpath(folder))


def summary_csv(sweep: Sweep, found: Sequence[Standing]) -> str:
    """Every job with every setting that differs and every metric, the best first."""
    keys = [key for key in keys_of(found) if key != SEED]
    metrics = sorted({name for one in found for name in one.metrics})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["job", "state", "code", *keys, SEED, "iterations", "seconds", "device", *metrics])
    for one in ranked(sweep, found):
        settings = _settings_of(sweep, one.job)
        values = [one.metrics.get(name, "") for name in metrics]
        writer.writerow([
            one.job.folder, one.state.value, one.code, *(settings.get(key, "") for key in keys),
            settings.get(SEED, ""),
            one.iterations, round(one.seconds, 1), one.device, *values,
        ])  # fmt: skip
    return text.getvalue()


def write_summary(sweep: Sweep, found: Sequence[Standing]) -> None:
    """Raises OSError where it cannot be written."""
    write_text(sweep.folder / CSV, summary_csv(sweep, found))


def plain_sweep(sweep: Sweep, found: Sequence[Standing]) -> dict[str, Any]:
    """As JSON can hold it."""
    best = best_of(sweep, found)
    return {
        "folder": str(sweep.folder),
        "command": sweep.command,
        "swept": list(sweep.swept),
        "metric": main_metric_of(found, sweep.metric),
        "mode": sweep.mode.value,
        "seed": sweep.seed,
        "best": best.job.folder if best is not None else None,
        "jobs": [_plain_job(one) for one in ranked(sweep, found)],
    }


def _plain_job(one: Standing) -> Mapping[str, Any]:
    return {
        **{name: value for name, value in vars(one).items() if name != "job"},
        "number": one.job.number,
        "overrides": list(one.job.overrides),
        "folder": one.job.folder,
        "state": one.state.value,
        "metrics": dict(one.metrics),
    }


def _row(one: Standing, settings: Mapping[str, str], keys: Sequence[str]) -> list[str]:
    progress = f"{one.iterations}/{'?' if one.total is None else one.total}"
    value = value_text(one) or ("none" if one.state is JobState.finished else "")
    return [
        str(one.job.number + 1),
        *(settings.get(key, "") for key in keys),
        state_text(one.state, one.code),
        progress,
        value,
        period_text(one.seconds) if one.seconds else "",
    ]


def _point_rows(sweep: Sweep, found: Sequence[Standing]) -> Iterator[list[str]]:
    for point in points_of(sweep, found):
        mean_text = "" if point.mean is None else f"{point.mean:.4g}"
        spread = "" if point.spread is None else f"± {point.spread:.2g}"
        yield [" ".join(point.settings) or "(all)", mean_text, spread, f"{len(point.values)}/{point.num_jobs}"]


def _shortest(keys: Sequence[str]) -> dict[str, str]:
    """Each key's last part, where no other has the same."""
    last = [key.rpartition(".")[2] for key in keys]
    return {key: short if last.count(short) == 1 else key for key, short in zip(keys, last, strict=True)}


def _settings_of(sweep: Sweep, job: Job) -> dict[str, str]:
    """Of that job alone, with its seed where others have another."""
    own = settings_in(job.overrides)
    return own if SEED in own or sweep.seed is None else {**own, SEED: str(sweep.seed)}


def _is_of_sweeps(override: str) -> bool:
    return key_of(override).partition(".")[0] in ("sweep", "pool", "search")
