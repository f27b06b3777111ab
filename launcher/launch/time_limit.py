"""When a run has to stop by the clock, so that it has saved before somebody ends it."""

from __future__ import annotations

import re

MARGIN_S = 120.0
"""For the iteration under way and the saving after it."""


def time_limit_s(text: object) -> float | None:
    """Seconds of a time limit as Slurm's `--time` writes it: minutes, M:S, H:M:S, D-H, D-H:M or D-H:M:S.

    None where it is no such time; 0 for none.
    """
    text = str(text).strip()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text) * 60
    found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    if found is None:
        return None
    days, *rest = found.groups()
    numbers = [int(number) for number in rest if number is not None]
    if days is None and len(numbers) == 2:  # M:S, but H:M after days
        numbers = [0, *numbers]
    hours, minutes, seconds = [*numbers, 0, 0][:3]
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60.0 + seconds


def stop_at(*, began: float, limit_s: float, job_ends: float | None) -> float:
    """The time, in seconds since the epoch, at which to stop and save; 0 for never.

    Of a short limit a tenth is enough.
    """
    ends = [began + limit_s - min(MARGIN_S, limit_s / 10)] if limit_s else []
    if job_ends is not None:
        ends.append(job_ends - min(MARGIN_S, max(0.0, job_ends - began) / 10))
    return min(ends, default=0.0)
