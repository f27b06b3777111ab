from __future__ import annotations

import logging
import math

import pytest

from launcher.config.request import BestMode, EarlyStoppingSettings
from launcher.run.outcome import EarlyStop
from launcher.train.hooks.early_stopping import EarlyStopping, Standing, after_evaluation
from launcher.train.state import Evaluated, TrainingState

AP = EarlyStoppingSettings(metric="bbox/AP", patience=2)
LOSS = EarlyStoppingSettings(metric="loss", patience=2, mode=BestMode.min)
CAREFUL = EarlyStoppingSettings(metric="bbox/AP", patience=2, min_delta=1.0)


@pytest.mark.parametrize(
    ("settings", "values", "best", "without"),
    [
        (AP, [], None, 0),
        (AP, [40.0], 40.0, 0),
        (AP, [40.0, 40.0], 40.0, 1),
        (AP, [40.0, 39.0, 39.5], 40.0, 2),
        (AP, [40.0, 39.0, 40.1], 40.1, 0),
        (AP, [math.nan, math.nan], None, 2),
        (AP, [math.nan, 40.0, math.inf], 40.0, 1),
        (LOSS, [2.0, 1.0], 1.0, 0),
        (LOSS, [1.0, 2.0], 1.0, 1),
        (CAREFUL, [40.0, 40.9, 41.0], 40.0, 2),  # creeping up is no improvement
        (CAREFUL, [40.0, 41.1], 41.1, 0),
    ],
)
def test_evaluations_without_improvement_are_counted_from_the_best_one(
    settings: EarlyStoppingSettings, values: list[float], best: float | None, without: int
):
    standing = Standing()

    for iteration, value in enumerate(values):
        standing = after_evaluation(standing, value, iteration, settings)

    assert standing == Standing(best=best, evaluations=without, judged_after=len(values) - 1)


def run(hook: EarlyStopping, values: dict[int, float]) -> TrainingState:
    """Train until the hook stops it; `values` are those of the evaluations after some of the iterations."""
    state = hook.state
    hook.before_train()
    while not state.stopping and not state.at_last_iteration:
        state.count_iteration(images=1)
        if state.last_iteration in values:
            metrics = {"bbox/AP": values[state.last_iteration]}
            state.evaluated = Evaluated(after=state.last_iteration, metrics=metrics)
        hook.after_step()
    return state


def continued_from(before: EarlyStopping, settings: EarlyStoppingSettings = AP) -> EarlyStopping:
    """The hook of the next attempt, which the checkpoint of the one before brings to where that was."""
    state = TrainingState(max_iter=100, iterations_done=before.state.iterations_done, evaluated=before.state.evaluated)
    hook = EarlyStopping(settings, state)
    hook.load_state_dict(before.state_dict())
    return hook


def test_a_training_without_improvement_ends_after_as_many_evaluations_as_there_is_patience():
    state = run(EarlyStopping(AP, TrainingState(max_iter=100)), {4: 40.0, 9: 39.0, 14: 38.0, 19: 50.0})

    assert state.iterations_done == 15
    assert state.stopped_early == EarlyStop(asked=AP, best=40.0, evaluations=2)


def test_iterations_between_evaluations_do_not_count():
    state = run(EarlyStopping(AP, TrainingState(max_iter=50)), {4: 40.0, 9: 39.0})

    assert (state.iterations_done, state.stopped_early) == (50, None)


def test_a_training_that_is_at_its_last_iteration_anyway_does_not_stop_early():
    state = run(EarlyStopping(AP, TrainingState(max_iter=15)), {4: 40.0, 9: 39.0, 14: 38.0})

    assert state.stopped_early is None


def test_the_standing_survives_an_interruption_and_no_evaluation_counts_twice():
    before = EarlyStopping(AP, TrainingState(max_iter=11))
    run(before, {4: 40.0, 9: 39.0})

    state = run(continued_from(before), {14: 38.0})

    assert state.iterations_done == 15
    assert state.stopped_early == EarlyStop(asked=AP, best=40.0, evaluations=2)


@pytest.mark.parametrize(("patience", "iterations"), [(1, 15), (2, 15), (3, 20)])
def test_a_training_that_stopped_early_continues_with_more_patience_only(patience: int, iterations: int):
    before = EarlyStopping(AP, TrainingState(max_iter=100))
    run(before, {4: 40.0, 9: 39.0, 14: 38.0})

    settings = EarlyStoppingSettings(metric="bbox/AP", patience=patience)
    state = run(continued_from(before, settings), {19: 37.0})

    assert state.iterations_done == iterations
    assert state.stopped_early is not None


def test_counting_begins_anew_when_another_metric_is_looked_at():
    before = EarlyStopping(AP, TrainingState(max_iter=100))
    run(before, {4: 40.0, 9: 39.0, 14: 38.0})

    other = continued_from(before, EarlyStoppingSettings(metric="segm/AP", patience=2))

    assert other.standing == Standing()


def test_a_metric_that_no_evaluation_gives_is_reported_once_and_ends_nothing(caplog: pytest.LogCaptureFixture):
    hook = EarlyStopping(EarlyStoppingSettings(metric="bbox/ap"), TrainingState(max_iter=30))

    with caplog.at_level(logging.WARNING):
        state = run(hook, dict.fromkeys(range(30), 1.0))

    assert state.stopped_early is None
    assert [record.message for record in caplog.records] == [
        "early_stopping.metric=bbox/ap has no effect: the evaluation gives bbox/AP"
    ]
