"""Which jobs are not worth their end."""

from __future__ import annotations

import math

import pytest

from launcher.config.request import BestMode
from launcher.search.pruning import should_prune
from launcher.search.space import parse, space_of
from launcher.search.values import Aim, Observed, Proposing, Pruning, Stage
from launcher.sweep.curves import Measured

HOW = Proposing(
    space=space_of(parse(["lr=interval(0, 100)"], None)),
    aim=Aim(metric="bbox/AP", mode=BestMode.max),
    sampler="random",
    settings={},
    seed=0,
)


def job(*values: float, number: int = 99, stage: Stage = Stage.running) -> Observed:
    curve = [Measured(iterations=100 * (place + 1), value=value) for place, value in enumerate(values)]
    value = values[-1] if stage is Stage.complete else None
    return Observed(number=number, point=(f"lr={float(number)}",), stage=stage, value=value, curve=curve)


def ended(*ends: float) -> list[Observed]:
    """Jobs that rose evenly to these values in four evaluations."""
    return [
        job(*(end * step / 4 for step in (1, 2, 3, 4)), number=number, stage=Stage.complete)
        for number, end in enumerate(ends)
    ]


MEDIAN = Pruning(pruner="median", settings={"n_startup_trials": 3})


@pytest.mark.parametrize(
    ("values", "is_pruned"),
    [((11.0,), False), ((9.0,), True), ((9.0, 21.0), False), ((9.0, 19.0), True), ((math.nan,), True), ((), False)],
)
def test_the_median_of_those_that_ended_decides_at_the_same_iteration(values, is_pruned):
    others = ended(20.0, 40.0, 60.0)  # 10 and 20 are the medians of their first two evaluations

    assert should_prune(MEDIAN, HOW, job(*values), others) is is_pruned


def test_nobody_is_pruned_before_enough_jobs_have_ended():
    assert not should_prune(MEDIAN, HOW, job(0.0), ended(20.0, 40.0))


def test_a_metric_that_should_be_small_is_pruned_where_it_is_large():
    low = Proposing(space=HOW.space, aim=Aim(metric="loss", mode=BestMode.min), sampler="random", settings={}, seed=0)

    assert should_prune(MEDIAN, low, job(50.0), ended(20.0, 40.0, 60.0))
    assert not should_prune(MEDIAN, low, job(1.0), ended(20.0, 40.0, 60.0))


def test_without_a_pruner_every_job_comes_to_its_end():
    assert not should_prune(Pruning(pruner="none", settings={}), HOW, job(0.0), ended(20.0, 40.0, 60.0))


def test_a_threshold_needs_no_other_job():
    threshold = Pruning(pruner="threshold", settings={"lower": 5.0, "n_warmup_steps": 150})

    assert not should_prune(threshold, HOW, job(1.0), [])
    assert should_prune(threshold, HOW, job(1.0, 2.0), [])


ASHA = Pruning(pruner="asha", settings={"min_resource": 100, "reduction_factor": 2})


def at_rungs(*firsts: float) -> list[Observed]:
    return [job(value, value, number=number) for number, value in enumerate(firsts)]


@pytest.mark.parametrize(
    ("own", "others", "is_pruned"),
    [
        ((1.0,), (), False),
        ((1.0,), (2.0,), True),
        ((2.0,), (1.0,), False),
        ((2.0,), (1.0, 3.0, 0.5), False),
        ((1.0,), (2.0, 3.0, 0.5), True),
        ((math.nan,), (), True),
        ((5.0,), (math.nan, math.nan), False),
    ],
)
def test_halving_lets_the_better_half_of_a_rung_pass(own, others, is_pruned):
    assert should_prune(ASHA, HOW, job(*own), at_rungs(*others)) is is_pruned


def test_halving_judges_a_job_once_at_each_rung():
    others = at_rungs(5.0, 6.0)

    assert should_prune(ASHA, HOW, job(1.0), others)
    assert should_prune(ASHA, HOW, job(9.0, 1.0), others)
    assert not should_prune(ASHA, HOW, job(1.0, 1.0, 1.0), others), "it passed the rung below before they came there"
