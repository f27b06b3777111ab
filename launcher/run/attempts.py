"""What the attempts of a run have left in its folder, read for people. Imports nothing that takes long."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.run.heartbeat import Beat, read_beat
from launcher.run.paths import AttemptPaths, RunPaths

_LONGEST_S = 1e10
"""Three hundred years: later times are those of a damaged file, and no calendar has them."""


@dataclass(frozen=True, kw_only=True)
class Started:
    """Where, when and on what an attempt began."""

    at: float
    """In seconds since the epoch."""
    host: str
    process: int
    """Of the launcher."""
    iterations: int
    """Of the whole training."""
    device: str
    """`cpu`, or `cuda x 2` for two processes."""
    scheduler: str
    job_id: str
    """Of the scheduler's job, empty outside of one."""


@dataclass(frozen=True, kw_only=True)
class End:
    """The part of an outcome that is shown; of files of any version."""

    ending: str
    """A value of `launcher.run.outcome.Ending`."""
    exit_code: int
    code: str
    explanation: str
    seconds: float
    iterations: int | None
    metrics: Mapping[str, Any]
    traceback: str


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One start of a run, as far as its files say."""

    number: int
    started: Started | None
    """None in a folder that says nothing about it."""
    end: End | None
    """None while it runs, and where a kill or the disk left no outcome."""
    beat: Beat | None
    """The last one; None also where the outcome says all."""
    seen: float
    """When it last wrote an outcome or a heartbeat, in seconds since the epoch; 0 for never."""
    saved: bool
    """Its worker ended in order, although nobody wrote an outcome."""
    is_pruned: bool
    """A search expected nothing of it any more."""

    @property
    def seconds(self) -> float:
        """For which it ran, up to its last heartbeat where nothing says more."""
        if self.end is not None:
            return self.end.seconds
        return max(self.seen - self.started.at, 0.0) if self.started is not None and self.seen else 0.0

    @property
    def iterations(self) -> int | None:
        """Done by all attempts up to this one; None where nobody knows."""
        if self.end is not None and self.end.iterations is not None:
            return self.end.iterations
        return self.beat.iterations if self.beat is not None else None


def read_attempts(paths: RunPaths) -> tuple[Attempt, ...]:
    """All attempts, the latest one last."""
    return tuple(_read_attempt(number, paths.attempt(number)) for number in paths.attempt_numbers())


def _read_attempt(number: int, paths: AttemptPaths) -> Attempt:
    end = _read_end(paths.outcome)
    return Attempt(
        number=number,
        started=_read_started(paths),
        end=end,
        beat=read_beat(paths.heartbeat) if end is None or end.iterations is None else None,
        seen=_changed_at(paths.heartbeat if end is None else paths.outcome),
        saved=end is None and paths.result.exists(),
        is_pruned=paths.pruned.exists(),
    )


def read_plain(file: Path) -> dict[str, Any]:
    """A JSON object; empty where there is no valid one."""
    try:
        plain = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return plain if isinstance(plain, dict) else {}


def node_in(plain: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What a JSON object has under a name; empty where that is no object."""
    node = plain.get(name)
    return node if isinstance(node, dict) else {}


def _read_started(paths: AttemptPaths) -> Started | None:
    plain = read_plain(paths.started)
    try:
        return Started(
            at=_seconds(plain["at"]),
            host=str(plain["host"]),
            process=int(plain["process"]),
            iterations=int(plain["iterations"]),
            device=str(plain["device"]),
            scheduler=str(plain["scheduler"]),
            job_id=str(plain["job_id"]),
        )
    except (LookupError, TypeError, ValueError, OverflowError):  # not there, damaged or of another version
        return _started_by_plan(paths)


def _started_by_plan(paths: AttemptPaths) -> Started | None:
    """What plan and facts say where nothing else was written, as of earlier versions."""
    plan = read_plain(paths.plan)
    try:
        keys = plan.get("keys") or plan["detectron2"]
        devices, job = plan["devices"], read_plain(paths.facts).get("job", {})
        return Started(
            at=_changed_at(paths.plan),
            host="",
            process=0,
            iterations=int(keys["SOLVER"]["MAX_ITER"]),
            device=device_text(devices["kind"], int(devices["num_processes"]) * node_in(plan, "nodes").get("count", 1)),
            scheduler=job.get("scheduler", ""),
            job_id=job.get("job_id", ""),
        )
    except (LookupError, TypeError, ValueError, OverflowError, AttributeError):
        return None


def device_text(kind: str, num_processes: int) -> str:
    """`cpu`, `cuda x 2`."""
    return kind if num_processes == 1 else f"{kind} x {num_processes}"


def _read_end(file: Path) -> End | None:
    plain = read_plain(file)
    work, fault = plain.get("work", plain), plain.get("fault") or plain
    try:
        return End(
            ending=str(plain["ending"]),
            exit_code=int(plain["exit_code"]),
            code=str(plain.get("code", "")),
            explanation=str(plain["explanation"]),
            seconds=_seconds(plain["seconds"]),
            iterations=None if work["iterations"] is None else int(work["iterations"]),
            metrics=dict(work["metrics"]),
            traceback=str(fault.get("traceback", "")),
        )
    except (LookupError, TypeError, ValueError, OverflowError, AttributeError):
        return None


def _seconds(value: Any) -> float:
    """Raises TypeError, ValueError or OverflowError where it is no time that anything takes, or at which it happens."""
    seconds = float(value)
    if not 0 <= seconds < _LONGEST_S:
        raise ValueError(f"{seconds} s")
    return seconds


def _changed_at(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0
