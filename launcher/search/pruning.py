"""Whether a job is worth its end, by its evaluations and those of the others. Decides only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.pruners import BasePruner

from launcher.search.settings import PRUNERS
from launcher.search.study import distributions_of, study_of, trial_of
from launcher.search.values import Aim, Observed, Proposing, Pruning, Stage

ASHA = "asha"


def should_prune(pruning: Pruning, how: Proposing, job: Observed, others: Sequence[Observed]) -> bool:
    """Whether the job, by its latest evaluation, should end now."""
    if not pruning.prunes or not job.curve:
        return False
    if pruning.pruner == ASHA:
        return _is_halved(pruning.settings, how.aim, job, others)
    pruner: BasePruner = getattr(optuna.pruners, PRUNERS[pruning.pruner].optuna)(**pruning.settings)
    trial = trial_of(job, how.space, distributions_of(how.space))
    return bool(pruner.prune(study_of(how, others), trial))


def _is_halved(settings: Mapping[str, Any], aim: Aim, job: Observed, others: Sequence[Observed]) -> bool:
    """Asynchronous successive halving: of the jobs that have come to a rung, the best `1 / reduction_factor` pass it.

    Rung n is the first evaluation after `min_resource * reduction_factor ** n` iterations. Every job is judged once at
    each rung, by those that have been there before it, so a first one passes.
    """
    factor = max(int(settings.get("reduction_factor", 3)), 2)
    resource = max(int(settings["min_resource"]), 1)
    rung = _last_rung(job.curve[-1].iterations, resource, factor)
    if rung is None:
        return False
    at = resource * factor**rung
    own = _value_at(job, at)
    if own is None or job.curve[-1].iterations != own[0]:
        return False  # judged there already
    if math.isnan(own[1]):
        return True
    there = [found[1] for one in others if one.stage is not Stage.failed and (found := _value_at(one, at))]
    values = [value for value in there if not math.isnan(value)]
    better = sum(aim.is_better(value, own[1]) for value in values)
    return better >= max((len(values) + 1) // factor, 1)


def _last_rung(iterations: int, resource: int, factor: int) -> int | None:
    """The last rung that has been reached; None before the first."""
    rung = -1
    while resource * factor ** (rung + 1) <= iterations:
        rung += 1
    return rung if rung >= 0 else None


def _value_at(job: Observed, iterations: int) -> tuple[int, float] | None:
    """The first evaluation after so many iterations, and when it was; None where there is none."""
    return next(((one.iterations, one.value) for one in job.curve if one.iterations >= iterations), None)
