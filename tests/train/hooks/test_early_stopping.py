from __future__ import annotations

import logging
import math
from types import SimpleNamespace

import pytest

from launcher.config.request import BestMode, EarlyStoppingSettings
from launcher.run.outcome import EarlyStop
from launcher.train.hooks.early_stopping import EarlyStopping, Standing, after_evaluation

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


def training(max_iter: int = 100) -> SimpleNamespace:
    return SimpleNamespace(
        max_iter=max_iter, iterations_done=0, evaluated_after=-1, latest_metrics={}, stopped_early=None, stopping=False
    )


def run(hook: EarlyStopping, trainer: SimpleNamespace, values: dict[int, float]) -> None:
    """Train on until told to stop; `values` are those of the evaluations after some of the iterations."""
    hook.trainer = trainer
    hook.before_train()
    while not trainer.stopping and trainer.iterations_done < trainer.max_iter:
        iteration = trainer.iterations_done
        if iteration in values:
            trainer.evaluated_after, trainer.latest_metrics = iteration, {"bbox/AP": values[iteration]}
        trainer.iterations_done += 1
        hook.after_step()


def test_a_training_without_improvement_ends_after_as_many_evaluations_as_there_is_patience():
    trainer = training()

    run(EarlyStopping(AP), trainer, {4: 40.0, 9: 39.0, 14: 38.0, 19: 50.0})

    assert trainer.iterations_done == 15
    assert trainer.stopped_early == EarlyStop(asked=AP, best=40.0, evaluations=2)


def test_iterations_between_evaluations_do_not_count():
    trainer = training(max_iter=50)

    run(EarlyStopping(AP), trainer, {4: 40.0, 9: 39.0})

    assert (trainer.iterations_done, trainer.stopped_early) == (50, None)


def test_a_training_that_is_at_its_last_iteration_anyway_does_not_stop_early():
    trainer = training(max_iter=15)

    run(EarlyStopping(AP), trainer, {4: 40.0, 9: 39.0, 14: 38.0})

    assert trainer.stopped_early is None


def test_the_standing_survives_an_interruption_and_no_evaluation_counts_twice():
    before = EarlyStopping(AP)
    trainer = training(max_iter=11)
    run(before, trainer, {4: 40.0, 9: 39.0})
    continued = EarlyStopping(AP)
    continued.load_state_dict(before.state_dict())

    trainer.max_iter = 100  # a checkpoint also brings back the numbers of the latest evaluation
    run(continued, trainer, {14: 38.0})

    assert trainer.iterations_done == 15
    assert trainer.stopped_early == EarlyStop(asked=AP, best=40.0, evaluations=2)


@pytest.mark.parametrize(("patience", "iterations"), [(1, 15), (2, 15), (3, 20)])
def test_a_training_that_stopped_early_goes_on_with_more_patience_only(patience: int, iterations: int):
    before = EarlyStopping(AP)
    trainer = training()
    run(before, trainer, {4: 40.0, 9: 39.0, 14: 38.0})
    continued = EarlyStopping(EarlyStoppingSettings(metric="bbox/AP", patience=patience))
    continued.load_state_dict(before.state_dict())

    trainer.stopped_early, trainer.stopping = None, False
    run(continued, trainer, {19: 37.0})

    assert trainer.iterations_done == iterations
    assert trainer.stopped_early is not None


def test_counting_begins_anew_when_another_metric_is_looked_at():
    before = EarlyStopping(AP)
    run(before, training(), {4: 40.0, 9: 39.0, 14: 38.0})
    other = EarlyStopping(EarlyStoppingSettings(metric="segm/AP", patience=2))

    other.load_state_dict(before.state_dict())

    assert other.standing == Standing()


def test_a_metric_that_no_evaluation_gives_is_told_once_and_ends_nothing(caplog: pytest.LogCaptureFixture):
    trainer = training(max_iter=30)

    with caplog.at_level(logging.WARNING):
        run(EarlyStopping(EarlyStoppingSettings(metric="bbox/ap")), trainer, dict.fromkeys(range(30), 1.0))

    assert trainer.stopped_early is None
    assert [record.message for record in caplog.records] == [
        "early_stopping.metric=bbox/ap has no effect: the evaluation gives bbox/AP"
    ]
