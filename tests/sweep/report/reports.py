"""Reports to look at."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from launcher.sweep.curves import Measured
from launcher.sweep.report.values import Report, ReportedJob
from launcher.sweep.values import JobState

HOSTILE = "</script><img src=x onerror=alert(1)>&lt;b 'quoted\" <a href=https://example.com>link</a>"


def a_job(number: int, **more: Any) -> ReportedJob:
    value = 10.0 * number
    usual = ReportedJob(
        number=number,
        name=f"BASE_LR={number}",
        settings={"SOLVER.BASE_LR": f"{10.0**-number:g}", "MODEL.LOSS": "ab"[number % 2]},
        state=JobState.finished,
        value=value,
        iterations=100,
        seconds=60.0,
        curve=tuple(Measured(iterations=at, value=value * at / 100) for at in (50, 100)),
        code="",
        why="",
    )
    return replace(usual, **more)


def a_report(*jobs: ReportedJob, **more: Any) -> Report:
    usual = Report(
        name="demo/sweep-x",
        folder="/runs/demo/sweep-x",
        command="launcher train -m SOLVER.BASE_LR=0.1,0.01",
        metric="bbox/AP",
        mode="max",
        keys=("SOLVER.BASE_LR", "MODEL.LOSS"),
        jobs=jobs,
        best=jobs[0].name if jobs else "",
        best_command="launcher train SOLVER.BASE_LR=0.1",
        importance={},
        made_at="2026-01-01 12:00",
    )
    return replace(usual, **more)
