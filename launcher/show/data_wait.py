"""How long a training waited for its batches, and which setting shortens that. Shows and suggests, never decides."""

from __future__ import annotations

from launcher.run.plan import RunPlan

TOO_LONG = 0.2
"""Fraction of the time from which a setting is suggested."""
WORKERS = "DATALOADER.NUM_WORKERS"


def data_wait_text(waited: float, plan: RunPlan) -> str:
    """`3 % of the time`, and what to do where that is much."""
    text = f"{100 * waited:.0f} % of the time"
    return f"{text}: {_advice(plan)}" if waited > TOO_LONG else text


def _advice(plan: RunPlan) -> str:
    workers = plan.keys[WORKERS]
    reduced = next((one for one in plan.report.adjustments if one.setting == WORKERS), None)
    if reduced is not None:
        return (
            f"{WORKERS} is {workers} instead of {reduced.asked} ({reduced.reason}); more of that, smaller images "
            "(INPUT.MIN_SIZE_TRAIN) or a faster disk help"
        )
    if workers == 0:
        return f"{WORKERS}=2 loads batches while the model computes (now 0)"
    return f"{WORKERS}={2 * workers} loads more batches at once (now {workers})"
