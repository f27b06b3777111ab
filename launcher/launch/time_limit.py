"""When a run has to stop by the clock, so that it has saved before somebody ends it."""

from __future__ import annotations

MARGIN_S = 120.0
"""For the iteration under way and the saving after it."""


def stop_at(*, began: float, limit_s: float, job_ends: float | None) -> float:
    """The time, in seconds since the epoch, at which to stop and save; 0 for never.

    Of a short limit a tenth is enough.
    """
    ends = [began + limit_s - min(MARGIN_S, limit_s / 10)] if limit_s else []
    if job_ends is not None:
        ends.append(job_ends - min(MARGIN_S, max(0.0, job_ends - began) / 10))
    return min(ends, default=0.0)
