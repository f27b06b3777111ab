from __future__ import annotations

from typing import Any

import pytest

from launcher.config.request import EarlyStoppingSettings
from launcher.run.outcome import EarlyStop
from launcher.train.state import Evaluated, TrainingState

WRITTEN_BY_0_1: dict[str, Any] = {
    "images_seen": 12,
    "written_until": 3,
    "evaluation_missing": True,
    "evaluated": {"after": 2, "metrics": {"bbox/AP": 12.5}},
}
"""As checkpoints have it from the first version on; the names must stay."""


def load(state: dict[str, Any], iterations_done: int) -> TrainingState:
    loaded = TrainingState(max_iter=10)
    loaded.load_state_dict(state, iterations_done=iterations_done, images_per_iteration=2)
    return loaded


def test_a_state_comes_back_from_a_checkpoint_under_the_names_that_it_always_had():
    loaded = load(WRITTEN_BY_0_1, 6)

    assert (loaded.start, loaded.iterations_done, loaded.images_seen, loaded.written_until) == (6, 6, 12, 3)
    assert loaded.evaluated == Evaluated(after=2, metrics={"bbox/AP": 12.5}, missing=True)
    assert loaded.state_dict() == WRITTEN_BY_0_1


def test_a_checkpoint_of_detectron2_says_less_and_the_rest_is_taken_as_done():
    loaded = load({}, 6)

    assert (loaded.images_seen, loaded.written_until, loaded.evaluated) == (12, 5, Evaluated())


STOP = EarlyStop(asked=EarlyStoppingSettings(metric="bbox/AP"), best=40.0, evaluations=3)


@pytest.mark.parametrize(
    ("done", "stopped_early", "missing", "at_end", "finished"),
    [
        (9, None, False, False, False),
        (10, None, False, True, True),
        (10, None, True, True, False),
        (5, STOP, False, True, True),
        (5, STOP, True, True, False),
    ],
)
def test_a_training_is_finished_when_nothing_is_left_to_do_not_even_an_evaluation(
    done: int, stopped_early: EarlyStop | None, missing: bool, at_end: bool, finished: bool
):
    state = TrainingState(
        max_iter=10, iterations_done=done, stopped_early=stopped_early, evaluated=Evaluated(missing=missing)
    )

    assert (state.at_end, state.finished) == (at_end, finished)


def test_metrics_count_for_the_iteration_of_their_evaluation_alone():
    evaluated = Evaluated(after=3, metrics={"bbox/AP": 1.0})

    assert evaluated.metrics_after(3) == {"bbox/AP": 1.0}
    assert evaluated.metrics_after(4) == {}
