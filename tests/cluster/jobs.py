"""A job with the defaults of everything, for tests that say only what matters to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from launcher.cluster.job import Job
from launcher.config.request import ClusterSettings


def a_job(run: Path, **parts: Any) -> Job:
    defaults: dict[str, Any] = {
        "name": "demo/default",
        "working_directory": run,
        "command": ("launcher",),
        "array": None,
        "python_path": (),
        "asked": ClusterSettings(),
        "cpus": 1,
        "time_s": 0.0,
        "lead_s": 120,
    }
    return Job(run=run, **{**defaults, **parts})
