"""A run in one row, from the files of its folder. Only reads, and takes a thousandth of a second for it."""

from __future__ import annotations

import math
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TypeGuard

from launcher.files import read_if_there
from launcher.run import codes
from launcher.run.attempts import Attempt, read_attempts
from launcher.run.holder import Holder, holder_of
from launcher.run.outcome import HEADLINE_METRICS, Ending, headlines
from launcher.run.paths import RunPaths
from launcher.run.submission import Submission, read_submission

# Of `keys` in request.yaml as we write it: reading it as YAML takes fifty times as long as all the rest.
_MAX_ITER = re.compile(rb"^keys:\n(?: .*\n)*?  SOLVER:\n(?:    .*\n)*?    MAX_ITER: (\d+)$", re.MULTILINE)
ELSEWHERE_S = 1800.0
"""A heartbeat of another host, whose lock cannot be seen here, counts for as long as that."""


class State(Enum):
    """What a run is at; exactly one of them."""

    planned = "planned"
    """Its request is written down, and nothing has been started."""
    queued = "queued"
    """A scheduler has it."""
    running = "running"
    """A launcher, or the worker of one that died, holds its folder."""
    stopped = "stopped"
    """It saved after it was asked to stop, and can be resumed."""
    pruned = "pruned"
    """A search stopped it, and `launcher resume` alone continues it."""
    finished = "finished"
    failed = "failed"
    """It ended with an error, or left no outcome: then its code is run.killed."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """One metric of a run."""

    metric: str
    latest: float | None
    """None where the latest evaluation gave no number."""
    best: float | None
    """The largest of all evaluations."""


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """One row of a list of runs."""

    folder: Path
    state: State
    code: str
    """Of what made it fail, empty otherwise."""
    iterations: int
    """Done so far."""
    total: int | None
    """Iterations of the whole training; None where nobody knows."""
    score: Score | None
    """The metric that was asked for, or the main one; None before the first evaluation."""
    device: str
    began: float | None
    """When its first attempt did, in seconds since the epoch."""
    seen: float
    """When it last did anything, in seconds since the epoch; 0 for never."""
    seconds: float
    """For which its attempts ran, all together."""
    num_attempts: int
    job: str
    """The scheduler's id, empty where there is none."""
    jobs: int = 0
    """Of a sweep, in a list where it is one row: how many it has; `iterations` are those that ended, `total` is all."""


def summarize(folder: Path, now: float, metric: str = "") -> RunSummary:
    """The run in that folder at that time, with a metric, by default its main one."""
    return summary_of(folder, read_attempts(RunPaths(folder)), holder_of(folder), now, metric)


def summary_of(
    folder: Path, attempts: Sequence[Attempt], holder: Holder | None, now: float, metric: str = ""
) -> RunSummary:
    """The same, by its attempts and who holds its folder."""
    paths = RunPaths(folder)
    submission = read_submission(paths)
    state, code = state_of(attempts, submission, holder, now)
    last = attempts[-1] if attempts else None
    started = [attempt.started for attempt in attempts if attempt.started is not None]
    latest = started[-1] if started else None
    queued_job = submission.job_id if submission is not None and state in (State.planned, State.queued) else ""
    return RunSummary(
        folder=folder,
        state=state,
        code=code,
        iterations=next((done for one in reversed(attempts) if (done := one.iterations) is not None), 0),
        total=latest.iterations if latest is not None else _total_of_request(paths),
        score=_score_of(paths, last, metric),
        device=latest.device if latest is not None else "",
        began=started[0].at if started else None,
        seen=max((attempt.seen for attempt in attempts), default=0.0),
        seconds=duration_s(attempts, now if state is State.running else None),
        num_attempts=len(attempts),
        job=queued_job or (latest.job_id if latest is not None else ""),
    )


def state_of(
    attempts: Sequence[Attempt], submission: Submission | None, holder: Holder | None, now: float
) -> tuple[State, str]:
    """The state of a run, and the code of what made it fail."""
    last = attempts[-1] if attempts else None
    if holder is not None or (last is not None and _runs_elsewhere(last, now)):
        return State.running, codes.NONE
    if submission is not None and submission.attempts >= len(attempts):
        return State.queued, codes.NONE
    if last is None:
        return State.planned, codes.NONE
    if last.is_pruned and (last.end is None or last.end.ending != Ending.finished.value):
        return State.pruned, codes.NONE  # however it came to its end after that
    if last.end is None:
        # Killed together with its launcher, unless the worker lived long enough to save.
        return (State.stopped, codes.NONE) if last.saved else (State.failed, codes.KILLED)
    if last.end.ending in (Ending.finished.value, Ending.stopped.value, Ending.pruned.value):
        return State(last.end.ending), codes.NONE
    return State.failed, last.end.code or codes.FAILED


def duration_s(attempts: Sequence[Attempt], until: float | None) -> float:
    """For how long the attempts ran, all together; the latest one `until` now where it still runs."""
    seconds = sum(attempt.seconds for attempt in attempts)
    if until is None or not attempts or attempts[-1].end is not None or attempts[-1].started is None:
        return seconds
    last = attempts[-1]
    return seconds - last.seconds + max(until - attempts[-1].started.at, 0.0)


def _runs_elsewhere(last: Attempt, now: float) -> bool:
    is_elsewhere = last.started is not None and last.started.host not in ("", socket.gethostname())
    return is_elsewhere and last.end is None and not last.saved and now - last.seen < ELSEWHERE_S


def _total_of_request(paths: RunPaths) -> int | None:
    """Of a run that has not been started."""
    found = _MAX_ITER.search(read_if_there(paths.request))
    return int(found[1]) if found else None


def _score_of(paths: RunPaths, last: Attempt | None, metric: str) -> Score | None:
    """By the outcome, and by metrics.json, which has every evaluation."""
    reported = last.end.metrics if last is not None and last.end is not None else {}
    text = read_if_there(paths.metrics)
    name = metric or _main_of(reported) or headline_in(text)
    if not name:
        return None
    values = values_in(text, name)
    latest = reported[name] if name in reported else (values[-1] if values else None)
    if latest is None and not values:
        return None
    numbers = [*filter(math.isfinite, values), *([latest] if _is_number(latest) else [])]
    return Score(metric=name, latest=latest if _is_number(latest) else None, best=max(numbers, default=None))


def _main_of(metrics: Mapping[str, Any]) -> str:
    """The first headline metric, of several data sets under the name of one."""
    plain = next((name for name in HEADLINE_METRICS if name in metrics), "")
    return plain or next(iter(headlines(metrics)), "")


def values_in(metrics: bytes, name: str) -> list[float]:
    """All values of one metric in the text of metrics.json, in their order; it is not parsed, which would take long."""
    pattern = b'"' + re.escape(name.encode()) + rb'": (-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|NaN|-?Infinity)[,}]'
    return [float(found.replace(b"Infinity", b"inf")) for found in re.findall(pattern, metrics)]


def headline_in(metrics: bytes) -> str:
    """The first headline metric, of several data sets under the name of one."""
    for headline in HEADLINE_METRICS:
        end = metrics.find(headline.encode() + b'"')
        if end >= 0:
            begin = metrics.rfind(b'"', 0, end)
            name = metrics[begin + 1 : end].decode(errors="replace") + headline
            if name == headline or name.endswith(f"/{headline}"):
                return name
    return ""


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and math.isfinite(value)
