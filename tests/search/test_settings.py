"""Samplers and pruners by name, with what can be set of each."""

from __future__ import annotations

import inspect
import re

import optuna
import pytest

from launcher.search.settings import PRUNERS, SAMPLERS, problems_with_choice


@pytest.mark.parametrize("known", [*SAMPLERS.values(), *PRUNERS.values()])
def test_every_setting_is_one_that_optuna_takes(known):
    if not known.optuna:
        return
    room = optuna.samplers if hasattr(optuna.samplers, known.optuna) else optuna.pruners
    parameters = inspect.signature(getattr(room, known.optuna).__init__).parameters

    assert set(known.settings) <= set(parameters)
    needed = {name for name, one in parameters.items() if one.default is inspect.Parameter.empty} - {"self"}
    assert needed == set(known.required)


@pytest.mark.parametrize(
    ("name", "given", "says"),
    [
        ("medain", {}, "search.pruner=medain: there are none, median, .* Set search.pruner=median."),
        ("median", {"warmup": 1}, "search.pruner_settings.warmup: median has no such setting; there are n_startup"),
        ("none", {"warmup": 1}, "none has no such setting; it takes none"),
        ("median", {"n_warmup_steps": 1.5}, "median takes a whole number of 0 or more there"),
        ("median", {"n_warmup_steps": -1}, "median takes a whole number of 0 or more there"),
        ("median", {"n_warmup_steps": True}, "median takes a whole number of 0 or more there"),
        ("percentile", {"percentile": "high"}, "percentile takes a number there"),
        ("percentile", {}, "needs search.pruner_settings.percentile"),
    ],
)
def test_what_no_pruner_takes_is_refused(name, given, says):
    problems = list(problems_with_choice("search.pruner", name, given, PRUNERS))

    assert len(problems) == 1
    assert re.search(says, problems[0])


def test_what_a_sampler_takes_is_taken():
    given = {"n_startup_trials": 5, "multivariate": True}

    assert list(problems_with_choice("search.sampler", "tpe", given, SAMPLERS)) == []
