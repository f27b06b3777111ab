"""Run folders as a launch leaves them, without a training."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from launcher.config.keys import Keys
from launcher.config.request import RunRequest
from launcher.launch.record import record_outcome, record_start, write_request
from launcher.run.heartbeat import Heartbeat
from launcher.run.outcome import Ending, Outcome
from launcher.run.paths import RunPaths
from launcher.run.plan import RunPlan
from tests.device.recorded import NO_GPU
from tests.values import a_plan, a_request, finished_after

KEYS: Mapping[str, Any] = {
    "OUTPUT_DIR": "./output",
    "SEED": 1,
    "MODEL": {"WEIGHTS": "", "DEVICE": "cuda"},
    "SOLVER": {"BASE_LR": 0.1, "MAX_ITER": 100, "IMS_PER_BATCH": 4},
}
BEGAN = 1_000_000.0


def stopped_after(iterations: int) -> Outcome:
    return replace(finished_after(iterations), ending=Ending.stopped, exit_code=75, explanation="asked to stop")


def plan_a_run(folder: Path, request: RunRequest | None = None) -> RunPaths:
    """A run of which nothing but the request is written down."""
    folder.mkdir(parents=True)
    write_request(request or a_request(KEYS), {}, RunPaths(folder), ["launcher", "train"])
    return RunPaths(folder)


def begin(folder: Path, attempt: int = 1, request: RunRequest | None = None, **parts: Any) -> RunPlan:
    """An attempt that has begun, a minute times its number after `BEGAN`, and has not ended."""
    request = request or a_request(KEYS)
    plan = a_plan(request.keys.nested(), folder=str(folder), attempt=attempt, **parts)
    folder.mkdir(parents=True, exist_ok=True)
    record_start(request, plan, NO_GPU, ["launcher", "train"], {}, at=BEGAN + 60 * attempt)
    return plan


def record_run(folder: Path, *outcomes: Outcome, request: RunRequest | None = None, **parts: Any) -> RunPaths:
    """A run with these attempts."""
    for number, outcome in enumerate(outcomes, start=1):
        plan = begin(folder, number, request, **parts)
        assert record_outcome(plan, outcome) == ""
    return RunPaths(folder)


def with_max_iter(total: int) -> RunRequest:
    keys = Keys.of_leaves({**dict(Keys(KEYS).leaves()), "SOLVER.MAX_ITER": total}.items())
    return a_request(keys)


def beat_in(plan: RunPlan, stage: str, iterations: int, at: float) -> None:
    """A heartbeat of the worker, at that time."""
    Heartbeat(plan.attempt_paths.heartbeat).beat(stage, iterations)
    os.utime(plan.attempt_paths.heartbeat, (at, at))


def started_on(host: str, plan: RunPlan) -> None:
    """As if the attempt had been started on another host."""
    file = plan.attempt_paths.started
    file.write_text(json.dumps({**json.loads(file.read_text()), "host": host}))


def write_metrics(paths: RunPaths, *entries: Mapping[str, Any]) -> None:
    lines: Sequence[str] = [json.dumps(entry, sort_keys=True) for entry in entries]
    paths.metrics.write_text("".join(line + "\n" for line in lines))
