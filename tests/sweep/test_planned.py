from __future__ import annotations

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from launcher.config.keys import Keys
from launcher.config.request import SweepSettings
from launcher.errors import RequestError
from launcher.sweep.planned import (
    planned_job,
    quoted,
    refuse_seeds,
    repeated,
    seed_of,
    sweeper_in,
    swept_keys,
    with_jobs,
)
from tests.sweep.examples import a_sweep
from tests.values import a_request


def request(seed: int = -1, **settings: object):
    return a_request(Keys({"SEED": seed, "SOLVER": {"BASE_LR": 0.1}}), **settings)


@pytest.mark.parametrize(
    ("typed", "swept"),
    [
        (["SOLVER.BASE_LR=0.1,0.2", "SOLVER.MAX_ITER=9"], ("SOLVER.BASE_LR",)),
        (["experiment=a,b", "hydra.launcher.x=1,2"], ("experiment",)),
        (["SOLVER.BASE_LR=interval(1,2)", "SEED=range(3)"], ("SOLVER.BASE_LR", "SEED")),
        (["MODEL.WEIGHTS=~/a.pth", "DATASETS.TEST=[a,b]"], ()),
    ],
)
def test_the_keys_that_differ_are_those_with_several_values(typed, swept):
    assert swept_keys(typed) == swept


@pytest.mark.parametrize(
    ("typed", "name"),
    [([], "grid"), (["hydra/sweeper=search"], "search"), (["hydra/sweeper=grid", "hydra/sweeper=search"], "search")],
)
def test_the_sweeper_is_the_one_that_was_typed(typed, name):
    assert sweeper_in(typed) == name


def test_one_seed_is_that_of_all_jobs_and_stays_it():
    drawn = seed_of(request(), None, ())

    assert drawn is not None
    assert drawn >= 0
    assert seed_of(request(), a_sweep(seed=drawn), ()) == drawn


def test_a_seed_that_is_asked_for_is_taken_and_one_that_is_swept_is_none():
    assert seed_of(request(5), a_sweep(seed=7), ()) == 5
    assert seed_of(request(5), None, ("SEED",)) is None


def test_a_point_is_repeated_with_seeds_that_follow_each_other():
    jobs = list(repeated(["SOLVER.BASE_LR=0.1", "SEED=9"], a_sweep(seed=7, seeds=3)))

    assert jobs == [["SOLVER.BASE_LR=0.1", f"SEED={seed}"] for seed in (7, 8, 9)]


def test_where_seeds_are_swept_nothing_is_repeated():
    assert list(repeated(["SEED=1"], a_sweep(seed=None))) == [["SEED=1"]]


@pytest.mark.parametrize(
    ("asked", "swept", "message"),
    [
        (request(sweep=SweepSettings(seeds=2)), ("SEED",), "SEED is swept"),
        (request(2**32 - 2, sweep=SweepSettings(seeds=3)), (), "Lower SEED"),
    ],
)
def test_seeds_that_cannot_be_had_are_refused(asked, swept, message):
    with pytest.raises(RequestError, match=message):
        refuse_seeds(asked, swept)


def test_a_job_is_given_its_folder_and_the_seed_of_the_sweep():
    job = planned_job(["experiment=demo", "SOLVER.BASE_LR=0.1"], ["SEED=7"], request(7), a_sweep())

    assert job.name == "BASE_LR=0.1"
    assert job.own == ("SOLVER.BASE_LR=0.1",)
    assert job.added == ("SEED=7", "hydra.sweep.dir='/runs/demo/sweep-BASE_LR'", "hydra.sweep.subdir='BASE_LR=0.1'")


def test_a_repeated_job_says_its_seed():
    job = planned_job(["SOLVER.BASE_LR=0.1", "SEED=8"], [], request(8), a_sweep(seed=7, seeds=2))

    assert job.name == "BASE_LR=0.1,SEED=8"
    assert job.own == ("SOLVER.BASE_LR=0.1", "SEED=8")


def test_a_grown_space_adds_jobs_and_leaves_the_others_their_numbers():
    sweep = a_sweep()
    planned = [
        planned_job([f"SOLVER.BASE_LR={rate}"], ["SEED=7"], request(7), sweep)
        for rate in ("0.05", "0.1", "0.2", "0.05")
    ]

    jobs = with_jobs(sweep, planned)

    assert jobs[:3] == sweep.jobs
    assert [(job.number, job.folder) for job in jobs[3:]] == [(3, "BASE_LR=0.05")]


@pytest.mark.parametrize("text", ["/runs/a b", "it's", "a,b=c", "${x}", "back\\slash", "ends\\", "[1]", "ü"])
def test_a_folder_comes_through_the_grammar_of_hydra_as_it_is(text):
    (override,) = OverridesParser.create().parse_overrides([f"a={quoted(text)}"])

    assert override.value() == text


@pytest.mark.parametrize("name", ["logs", "tensorboard", "cluster", "sweep.json", "logs/first"])
def test_a_job_cannot_be_called_like_what_the_sweep_keeps_beside_its_jobs(name: str):
    with pytest.raises(RequestError, match=rf"run\.name={name}: .* keeps something of its own .* Choose another name"):
        planned_job([f"run.name={name}"], [], request(), a_sweep(swept=("run.name",)))


def test_a_job_may_be_called_nearly_so():
    assert planned_job(["run.name=logs2"], [], request(), a_sweep(swept=("run.name",))).name == "logs2"
