from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from detectron2.utils.events import EventStorage

from launcher.train.evaluation.evaluate import Evaluation
from launcher.train.hooks.evaluate import Evaluate
from launcher.train.state import Evaluated, TrainingState


def evaluation(ap: float = 40.0, *, stopped: bool = False, unreadable: dict[str, str] | None = None) -> Evaluation:
    metrics = {} if stopped else {"bbox/AP": ap}
    return Evaluation(results={}, metrics=metrics, unreadable=unreadable or {}, stopped=stopped)


def hook_of(state: TrainingState, *evaluations: Evaluation | Exception, period: int = 2) -> tuple[Evaluate, list[int]]:
    """The hook, and after which iterations it evaluated."""
    coming = iter(evaluations)
    evaluated_after: list[int] = []

    def evaluate() -> Evaluation:
        evaluated_after.append(state.last_iteration)
        result = next(coming)
        if isinstance(result, Exception):
            raise result
        return result

    hook = Evaluate(period, state, evaluate)
    hook.trainer = SimpleNamespace(storage=EventStorage(0))  # type: ignore[assignment]
    return hook, evaluated_after


@pytest.mark.parametrize(("period", "expected"), [(2, [1, 3, 4]), (0, [4]), (5, [4])])
def test_evaluations_come_by_period_and_after_the_last_iteration(period: int, expected: list[int]):
    state = TrainingState(max_iter=5)
    hook, evaluated_after = hook_of(state, *[evaluation()] * 3, period=period)

    hook.before_train()
    while not state.at_last_iteration:
        state.count_iteration(images=1)
        hook.after_step()

    assert evaluated_after == expected
    assert state.evaluated == Evaluated(after=4, metrics={"bbox/AP": 40.0})


@pytest.mark.parametrize(
    ("state", "is_due"),
    [
        (TrainingState(max_iter=9, iterations_done=4, evaluated=Evaluated(after=1, missing=True)), True),
        (TrainingState(max_iter=4, iterations_done=4, evaluated=Evaluated(after=1)), True),
        (TrainingState(max_iter=4, iterations_done=4, evaluated=Evaluated(after=3)), False),
        (TrainingState(max_iter=9, iterations_done=4, evaluated=Evaluated(after=1)), False),
    ],
)
def test_an_attempt_begins_with_the_evaluation_that_the_one_before_missed(state: TrainingState, is_due: bool):
    hook, evaluated_after = hook_of(state, evaluation())

    hook.before_train()

    assert evaluated_after == ([3] if is_due else [])
    assert not state.evaluated.missing


def test_metrics_belong_to_the_iteration_after_which_they_were_due():
    state = TrainingState(max_iter=9, iterations_done=4, evaluated=Evaluated(missing=True))
    hook, _ = hook_of(state, evaluation(30.0))

    hook.before_train()

    trainer: Any = hook.trainer
    assert trainer.storage.latest() == {"bbox/AP": (30.0, 3)}


def test_a_stopped_evaluation_ends_the_attempt_and_is_missing():
    former = Evaluated(after=1, metrics={"bbox/AP": 20.0})
    state = TrainingState(max_iter=9, iterations_done=4, evaluated=former)
    hook, _ = hook_of(state, evaluation(stopped=True))

    hook.after_step()

    assert state.stopping
    assert state.evaluated == Evaluated(after=1, metrics={"bbox/AP": 20.0}, missing=True)


def test_a_failed_evaluation_ends_the_training_and_is_missing():
    state = TrainingState(max_iter=9, iterations_done=4)
    hook, _ = hook_of(state, KeyError("category"))

    with pytest.raises(KeyError):
        hook.after_step()

    assert state.evaluated.missing


def test_unreadable_images_of_all_evaluations_are_known_in_the_end():
    state = TrainingState(max_iter=4)
    hook, _ = hook_of(state, evaluation(unreadable={"a.jpg": "truncated"}), evaluation(unreadable={"b.jpg": "gone"}))

    for _ in range(4):
        state.count_iteration(images=1)
        hook.after_step()

    assert state.unreadable == {"a.jpg": "truncated", "b.jpg": "gone"}
