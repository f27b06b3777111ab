"""Points are proposed by what is known, and by nothing else."""

from __future__ import annotations

import math

import pytest

from launcher.config.request import BestMode
from launcher.search.settings import SAMPLERS
from launcher.search.space import Point, Space, parse, space_of
from launcher.search.study import propose
from launcher.search.values import Aim, Observed, Proposing, Stage

CONTINUOUS = space_of(parse(["lr=tag(log, interval(1e-5, 1.0))", "depth=range(1, 6)", "act=relu,gelu"], None))
SMALL = space_of(parse(["a=1,2,3", "b=true,false"], None))


def proposing(space: Space, sampler: str = "tpe", seed: int = 1, mode: BestMode = BestMode.max) -> Proposing:
    return Proposing(space=space, aim=Aim(metric="bbox/AP", mode=mode), sampler=sampler, settings={}, seed=seed)


def done(number: int, point: Point, value: float | None) -> Observed:
    stage = Stage.failed if value is None else Stage.complete
    return Observed(number=number, point=point, stage=stage, value=value, curve=())


def search(how: Proposing, trials: int, value_of) -> list[Observed]:
    known: list[Observed] = []
    while len(known) < trials and (point := propose(how, known, len(known))) is not None:
        known.append(done(len(known), point, value_of(point)))
    return known


def closeness(point: Point) -> float:
    return -abs(math.log10(float(point[0].partition("=")[2])) + 2)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_proposal_follows_from_what_is_known_the_seed_and_its_number_alone(sampler: str):
    how = proposing(CONTINUOUS, sampler)
    known = search(how, 12, closeness)

    assert propose(how, known[:11], 11) == known[11].point
    assert propose(how, known[:3], 3) == known[3].point
    assert search(proposing(CONTINUOUS, sampler, seed=2), 1, closeness)[0].point != known[0].point


def test_proposals_beside_each_other_differ():
    how = proposing(CONTINUOUS)
    known = search(how, 11, closeness)
    running = [Observed(number=11, point=propose(how, known, 11), stage=Stage.running, value=None, curve=())]

    assert propose(how, [*known, *running], 12) != running[0].point


@pytest.mark.parametrize("mode", BestMode)
def test_the_sampler_learns_in_the_direction_that_is_asked_for(mode: BestMode):
    sign = 1 if mode is BestMode.max else -1

    found = search(proposing(CONTINUOUS, mode=mode), 40, lambda point: sign * closeness(point))

    early = [closeness(one.point) for one in found[:10]]
    late = [closeness(one.point) for one in found[-10:]]
    assert sum(late) / 10 > sum(early) / 10 + 0.5


def test_every_point_of_a_small_space_is_proposed_once_and_then_none():
    known = search(proposing(SMALL), 100, lambda _: 1.0)

    assert sorted(one.point for one in known) == sorted(SMALL.points())
    assert propose(proposing(SMALL), known, len(known)) is None


def test_jobs_that_failed_do_not_end_a_search():
    known = search(proposing(CONTINUOUS), 15, lambda _: None)

    assert len({one.point for one in known}) == 15


def test_a_pruned_job_teaches_by_its_evaluations():
    how = proposing(SMALL)
    pruned = Observed(number=0, point=("a=1", "b=True"), stage=Stage.pruned, value=None, curve=())

    assert propose(how, [pruned], 1) != pruned.point
