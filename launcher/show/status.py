"""What one run does now, as a person reads it and as a program does (JSON)."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator
from dataclasses import asdict

from launcher.run.attempts import Attempt
from launcher.run.status import RunStatus
from launcher.run.summary import RunSummary, State
from launcher.show.runs import period_text, plain_summary, progress_text, score_texts, state_text
from launcher.show.table import table, wrapped

UNKNOWN = "squeue does not answer"


def status_text(status: RunStatus, name: str, now: float, *, width: int | None = None) -> str:
    """Several lines: the state, what it does now, its attempts, the last lines of its log."""
    head = (wrapped(line, width=width, indent=12) for line in _head(status, name, now))
    attempts = _attempt_rows(status, width)
    return "\n".join([*head, *attempts, *_log(status), *_next(status.summary, name)])


def status_json(status: RunStatus) -> str:
    """The same values for a program."""
    plain = {
        **plain_summary(status.summary),
        "job_state": status.job_state,
        "stage": _stage(status),
        "eta_seconds": status.left_s,
        "pace": asdict(status.pace) if status.pace else None,
        "memory_mib": status.memory_mib,
        "holder": asdict(status.holder) if status.holder else None,
        "attempts": [asdict(attempt) for attempt in status.attempts],
        "last_lines": list(status.last_lines),
    }
    return json.dumps(plain, indent=2)


def now_line(status: RunStatus) -> str:
    """One line for `--follow`: iteration, loss, metric, time left."""
    run, pace = status.summary, status.pace
    parts = [f"{state_text(run)}: {_stage(status)}".rstrip(": "), f"iteration {progress_text(run)}"]
    if pace is not None and pace.loss is not None:
        parts.append(f"loss {pace.loss:.4g}")
    if run.score is not None:
        parts.append(f"{run.score.metric} {score_texts(run.score)[0]}")
    if status.left_s is not None:
        parts.append(f"eta {period_text(status.left_s)}")
    if status.is_in_queue is None:
        parts.append(UNKNOWN)
    return "  ".join(parts)


def _head(status: RunStatus, name: str, now: float) -> Iterator[str]:
    run = status.summary
    yield f"{name}: {state_text(run)}{_reason(status)}"
    yield f"  iteration   {progress_text(run)}{_eta(status)}"
    if run.score is not None:
        latest, best = score_texts(run.score)
        yield f"  {run.score.metric:11} {latest}, best {best}"
    if status.pace is not None:
        yield f"  speed       {_speed(status)}"
    if run.state is State.running:
        yield f"  now         {_stage(status)}{_where(status)}"
        yield f"  heartbeat   {period_text(now - run.seen)} ago" if run.seen else "  heartbeat   none yet"
    if status.memory_mib is not None:
        yield f"  memory      {status.memory_mib / 1024:.1f} GiB of this machine's, by its processes"
    yield from _place(run, UNKNOWN if status.is_in_queue is None else status.job_state)


def _place(run: RunSummary, job_state: str) -> Iterator[str]:
    if run.device:
        yield f"  device      {run.device}"
    if run.job:
        yield f"  job         {run.job}{f', {job_state}' if job_state else ''}"
    yield f"  duration    {period_text(run.seconds)} in {_counted(run.num_attempts, 'attempt')}"
    yield f"  folder      {run.folder}"


def _attempt_rows(status: RunStatus, width: int | None) -> Iterator[str]:
    if not status.attempts:
        return
    rows = [["attempt", "began", "took", "iterations", "end"]]
    rows += [_attempt_row(attempt, status) for attempt in status.attempts]
    yield ""
    yield table(rows, width=width)


def _attempt_row(attempt: Attempt, status: RunStatus) -> list[str]:
    is_last = attempt is status.attempts[-1]
    began = attempt.started.at if attempt.started else 0.0
    return [
        str(attempt.number),
        time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(began)) if began else "?",
        period_text(attempt.seconds),
        "?" if attempt.iterations is None else str(attempt.iterations),
        "running" if is_last and status.summary.state is State.running and attempt.end is None else end_text(attempt),
    ]


def end_text(attempt: Attempt) -> str:
    """How an attempt ended, in one line."""
    end = attempt.end
    if end is None:
        how = "saved" if attempt.saved else "killed"
        return f"{how}, without an outcome: its launcher was killed, or the machine went down"
    code = f" [{end.code}]" if end.code else ""
    why = f": {end.explanation.splitlines()[0]}" if end.explanation else ""
    return f"{end.ending.replace('_', ' ')}{why}{code}"


def _log(status: RunStatus) -> Iterator[str]:
    if status.last_lines:
        yield ""
        yield from status.last_lines


def _next(run: RunSummary, name: str) -> Iterator[str]:
    if run.state in (State.stopped, State.pruned, State.failed, State.planned):
        yield ""
        yield f"continue with: launcher resume {shlex.quote(name)}"


def _reason(status: RunStatus) -> str:
    if status.summary.state not in (State.stopped, State.pruned, State.failed) or not status.attempts:
        return ""
    last = status.attempts[-1]
    why = last.end.explanation if last.end is not None else end_text(last)
    return f" ({why.splitlines()[0]})" if why else ""


def _stage(status: RunStatus) -> str:
    last = status.attempts[-1] if status.attempts else None
    if status.summary.state is not State.running:
        return ""
    return last.beat.stage if last is not None and last.beat is not None and last.end is None else "starting"


def _where(status: RunStatus) -> str:
    started = status.attempts[-1].started if status.attempts else None
    if status.holder is not None and status.holder.is_dead:
        return f", its launcher, {status.holder}, has died and its worker saves"
    if status.holder is not None:
        return f", by {status.holder}"
    return f", by process {started.process} on {started.host}" if started is not None else ""


def _eta(status: RunStatus) -> str:
    return f", {period_text(status.left_s)} left" if status.left_s is not None else ""


def _speed(status: RunStatus) -> str:
    pace = status.pace
    if pace is None:
        return ""
    loss = f", loss {pace.loss:.4g}" if pace.loss is not None else ""
    wait = f", {pace.wait_fraction:.0%} of it waiting for data" if pace.wait_fraction is not None else ""
    return f"{pace.iteration_s:.3g} s per iteration{wait}{loss}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
