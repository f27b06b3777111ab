"""Sweeps and standings for tests, which say only what matters to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from launcher.config.request import BestMode
from launcher.sweep.values import SWEEP_VERSION, Job, JobState, Standing, Sweep

RATES = ("0.1", "0.2", "0.4")


def a_job(number: int = 0, rate: str = "", *more: str) -> Job:
    rate = rate or RATES[number % len(RATES)]
    name = ",".join([f"BASE_LR={rate}", *more])
    return Job(number=number, overrides=(f"SOLVER.BASE_LR={rate}", *more), folder=name)


def a_sweep(folder: Path = Path("/runs/demo/sweep-BASE_LR"), **parts: Any) -> Sweep:
    """Of three learning rates."""
    defaults: dict[str, Any] = {
        "version": SWEEP_VERSION,
        "folder": folder,
        "command": "launcher train -m experiment=demo SOLVER.BASE_LR=0.1,0.2,0.4",
        "fixed": ("experiment=demo",),
        "swept": ("SOLVER.BASE_LR",),
        "sweeper": "grid",
        "metric": "",
        "mode": BestMode.max,
        "seed": 7,
        "seeds": 1,
        "jobs": tuple(a_job(number) for number in range(3)),
    }
    return Sweep(**{**defaults, **parts})


def standing(
    job: Job | int = 0, state: JobState = JobState.finished, value: float | None = None, **parts: Any
) -> Standing:
    """A job of a hundred iterations, compared by bbox/AP."""
    defaults: dict[str, Any] = {
        "job": a_job(job) if isinstance(job, int) else job,
        "state": state,
        "code": "run.failed" if state is JobState.failed else "",
        "iterations": 100 if state is JobState.finished else 0,
        "total": 100,
        "metric": "bbox/AP" if value is not None else "",
        "value": value,
        "metrics": {"bbox/AP": value} if value is not None else {},
        "seconds": 60.0,
        "iteration_s": None,
        "device": "cpu",
        "would_fail_again": False,
        "in_slurm": "",
    }
    return Standing(**{**defaults, **parts})
