"""What two runs must have in common to count as the same: every weight and every number that is not a time."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch

from launcher.run.paths import AttemptPaths, RunPaths
from launcher.train.output.scalars import TIMES


def weights_in(checkpoint: Path) -> str:
    """A fingerprint of all parameters and buffers."""
    model = torch.load(checkpoint, map_location="cpu", weights_only=True)["model"]
    digest = hashlib.sha256()
    for name in sorted(model):
        digest.update(name.encode())
        digest.update(model[name].contiguous().numpy().tobytes())
    return digest.hexdigest()


def metrics_in(run: RunPaths) -> list[dict[str, Any]]:
    """The lines of metrics.json without what a clock measured. NaN becomes text, so that it equals itself."""
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    return [
        {name: "NaN" if value != value else value for name, value in line.items() if name not in TIMES}
        for line in lines
    ]


def outcome_in(attempt: AttemptPaths) -> dict[str, Any]:
    """How an attempt ended, with what was done and where it failed, all in one."""
    outcome = json.loads(attempt.outcome.read_text())
    return {**outcome, **outcome["work"], **(outcome["fault"] or {})}
