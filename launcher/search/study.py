"""The next point of a search, by Optuna. A plain function of what is known, so that nothing has to be kept."""

from __future__ import annotations

import hashlib
import random
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from launcher.config.request import BestMode
from launcher.search.settings import SAMPLERS
from launcher.search.space import Choice, Dimension, Interval, Point, Space, number_of
from launcher.search.values import Observed, Proposing, Stage

TRIES = 8
"""Points that are asked for before one that is known is given up on, and one that is not is drawn."""
STATES = {
    Stage.running: TrialState.RUNNING,
    Stage.complete: TrialState.COMPLETE,
    Stage.pruned: TrialState.PRUNED,
    Stage.failed: TrialState.FAIL,
}
optuna.logging.set_verbosity(optuna.logging.ERROR)


def propose(how: Proposing, known: Sequence[Observed], number: int) -> Point | None:
    """The point of job `number`, which no other job has; None where every point of the space is known.

    It follows from what is known and from seed and number alone, not from what was proposed before: a search that is
    started again proposes what it would have proposed.
    """
    taken = {one.point for one in known}
    size = how.space.size
    if size is not None and len(taken) >= size:
        return None
    study = study_of(how, known)
    refused = sum(one.number == number for one in known)  # points that were proposed for it, and cannot be trained
    for attempt in range(refused, refused + TRIES):
        study.sampler = sampler_of(how, seed_of(how.seed, number, attempt))
        point = _ask(study, how.space)
        if point not in taken:
            return point
    return _draw(how, taken, number)


def study_of(how: Proposing, known: Sequence[Observed]) -> optuna.Study:
    """A study in memory with what is known; a job that failed is in it as failed."""
    direction = "maximize" if how.aim.mode is BestMode.max else "minimize"
    study = optuna.create_study(direction=direction, sampler=optuna.samplers.RandomSampler(seed=how.seed))
    distributions = distributions_of(how.space)
    study.add_trials([trial_of(one, how.space, distributions) for one in known])
    return study


def sampler_of(how: Proposing, seed: int) -> BaseSampler:
    """The sampler with its settings."""
    make: Callable[..., BaseSampler] = getattr(optuna.samplers, SAMPLERS[how.sampler].optuna)
    # Jobs run beside each other: without a lie about those that run, all of them would get nearly the same point.
    parallel = {"constant_liar": True} if how.sampler == "tpe" else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that an option is experimental
        return make(seed=seed, **parallel, **how.settings)


def seed_of(seed: int, number: int, attempt: int) -> int:
    """A seed for one proposal; those of neighbours have nothing in common."""
    return int.from_bytes(hashlib.sha256(f"{seed} {number} {attempt}".encode()).digest()[:4], "big")


def distributions_of(space: Space) -> dict[str, BaseDistribution]:
    """Optuna's form of the space, by key."""
    return {one.key: _distribution(one.values) for one in space.dimensions}


def trial_of(one: Observed, space: Space, distributions: Mapping[str, BaseDistribution]) -> FrozenTrial:
    """Optuna's form of a job."""
    texts = [text.partition("=")[2] for text in one.point]
    values = {axis.key: _parameter(axis, text) for axis, text in zip(space.dimensions, texts, strict=True)}
    return create_trial(
        state=STATES[one.stage],
        params=values,
        distributions=dict(distributions),
        value=one.value if one.stage is Stage.complete else None,
        intermediate_values={measured.iterations: measured.value for measured in one.curve},
    )


def _ask(study: optuna.Study, space: Space) -> Point:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trial = study.ask(distributions_of(space))
    study.tell(trial, state=TrialState.FAIL)  # the job of this point is told as running, once there is one
    return space.point([_text(one.values, trial.params[one.key]) for one in space.dimensions])


def _draw(how: Proposing, taken: Collection[Point], number: int) -> Point | None:
    """Any point that nobody has tried, where the sampler comes back to those that are known."""
    if how.space.size is None:
        return None
    left = [point for point in how.space.points() if point not in taken]
    return random.Random(seed_of(how.seed, number, TRIES)).choice(left) if left else None


def _distribution(values: Interval | Choice) -> BaseDistribution:
    if isinstance(values, Choice):
        if values.is_ordered:
            return IntDistribution(0, len(values.values) - 1)
        return CategoricalDistribution(values.values)
    if values.is_whole:
        return IntDistribution(int(values.low), int(values.high), log=values.is_log)
    return FloatDistribution(values.low, values.high, log=values.is_log)


def _parameter(axis: Dimension, text: str) -> Any:
    if not isinstance(axis.values, Choice):
        number = number_of(text) or 0.0
        return int(number) if axis.values.is_whole else number
    return axis.values.place_of(text) if axis.values.is_ordered else text


def _text(values: Interval | Choice, parameter: Any) -> str:
    if isinstance(values, Interval):
        return values.text_of(parameter)
    return values.values[parameter] if values.is_ordered else str(parameter)
