"""Jobs in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from launcher.show.runs import period_text
from launcher.sweep.values import WAITS, JobState, Standing

ENDED = (JobState.finished, JobState.failed, JobState.pruned)


def title_of(found: Sequence[Standing], total: int = 0) -> str:
    """`3 of 8 jobs ended, 2 run; about 4 min left`; of `total`, where there will be more."""
    ended = sum(one.state in ENDED for one in found)
    running = [one for one in found if one.state is JobState.running]
    queued = sum(one.state is JobState.queued for one in found)
    total = max(total, len(found))
    left = left_s(found, total)
    return (
        f"{ended} of {total} jobs ended, {len(running)} run"
        f"{f', {queued} in the queue' if queued else ''}"
        f"{f'; about {period_text(left)} left' if left is not None else ''}"
    )


def left_s(found: Sequence[Standing], total: int = 0) -> float | None:
    """Until the end of all jobs: those that run come to theirs, and the others take as long as a job takes."""
    running = [one for one in found if one.state is JobState.running and one.left_s is not None]
    if not running:
        return None
    lengths = [(one.total or 0) * (one.iteration_s or 0.0) for one in running]
    waiting = sum(one.state in (*WAITS, JobState.stopped) for one in found)
    rounds = (waiting + max(total - len(found), 0)) / len(running)
    return max(one.left_s or 0.0 for one in running) + rounds * sum(lengths) / len(lengths)


def lines_of(running: Sequence[Standing]) -> Iterator[str]:
    """One line per job that runs."""
    for one in (one for one in running if one.state is not JobState.queued):
        left = f", about {period_text(one.left_s)} left" if one.left_s is not None else ""
        value = f", {one.metric} {one.value:.4g}" if one.value is not None else ""
        if one.total is not None:
            yield f"  {one.job.folder}  {one.iterations}/{one.total}{value}{left}"


def end_text(one: Standing) -> str:
    """`finished, bbox/AP 41.3, after 3 min`."""
    if one.state in WAITS:
        return "did not begin"
    value = f", {one.metric} {one.value:.4g}" if one.value is not None else ""
    return f"{state_text(one.state, one.code)}{value}, after {period_text(one.seconds)}"


def state_text(state: JobState, code: str) -> str:
    """`failed [run.diverged]`."""
    return f"{state.value} [{code}]" if code else state.value


def value_text(one: Standing) -> str:
    return f"{one.value:.4g}" if one.value is not None else ""
