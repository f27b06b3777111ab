"""Trainings that resume with another number of processes, and trainings of four processes that are killed."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from launcher.config.request import RunRequest
from scripts.reliability.attempts import begin, reason, run_to_end
from scripts.reliability.job import Job, make_job, paths_of
from scripts.reliability.kills import kill_trainings
from scripts.reliability.result import Row

TOLERANCE = 0.1  # ranks draw the proposals to learn from by themselves, and average their losses over fewer
# Batch normalisation sees the images of one process only: with it, another number of processes is another training.
NO_STATISTICS = {"MODEL__RESNETS__NORM": "LN"}


def run_part(folder: Path, times: float, seed: int) -> list[Row]:
    job = make_job(folder)
    four = replace(job, request=job.named("four", SOLVER__IMS_PER_BATCH=4))
    killed = kill_trainings(four, trainings=max(1, round(3 * times)), processes=4, background=False, seed=seed)
    return [another_number(job), replace(killed, part="elastic")]


def another_number(job: Job) -> Row:
    """One process, then two, then one, each asked to stop in the middle."""
    whole = job.named("whole", **NO_STATISTICS)
    run_to_end(whole)
    for processes, until in ((1, 6), (2, 13), (1, None)):
        changing = job.named("changing", processes=processes, **NO_STATISTICS)
        attempt = begin(changing)
        if until is not None:
            attempt.wait_until(until)
            attempt.send(signal.SIGTERM)
        ended = attempt.ended()
        if ended.outcome.exit_code not in (0, 75):
            raise RuntimeError(reason(ended.outcome))
    start = _weights(job.named("start", SOLVER__MAX_ITER=1, **NO_STATISTICS), run=True)
    apart = _distance(_weights(whole), _weights(changing)) / _distance(_weights(whole), start)
    misses = []
    order = "the same" if _samples(changing) == _samples(whole) else "another"
    if order != "the same":
        misses.append("another order of samples")
    if apart > TOLERANCE:
        misses.append(f"weights differ by {apart:.2%} of the way that they moved")
    return Row(
        part="elastic",
        tried="1, then 2, then 1 process, each asked to stop (layer normalisation)",
        measured=f"samples in {order} order; weights differ by {apart:.2%} of the way that training moved them",
        misses=tuple(misses),
    )


def _weights(request: RunRequest, *, run: bool = False) -> torch.Tensor:
    if run:
        run_to_end(request)
    model = _checkpoint(request)["model"]
    return torch.cat([model[name].flatten().double() for name in sorted(model)])


def _samples(request: RunRequest) -> dict[str, Any]:
    return dict(_checkpoint(request)["trainer"]["samples"])


def _checkpoint(request: RunRequest) -> dict[str, Any]:
    return dict(torch.load(paths_of(request).final_weights, weights_only=True))


def _distance(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm())
