"""What a run answers to Ctrl-C."""

from __future__ import annotations

import signal

import pytest

from launcher.run.heartbeat import ENDING, EVALUATION, IMPORTING, PREDICTION, SAVING, TRAINING, Beat
from launcher.run.plan import Model, Predict
from launcher.run.resume import ResumePoint
from launcher.show.stopping import left_text, stopping_text
from tests.values import a_plan

PLAN = a_plan({"SOLVER": {"MAX_ITER": 10}})
AGAIN = "; Ctrl-C again ends now"


@pytest.mark.parametrize(
    ("stage", "done", "answer"),
    [
        (None, None, "stopping before the first iteration, with nothing to save"),
        (IMPORTING, None, "stopping before the first iteration, with nothing to save"),
        ("loading weights", None, "stopping before the first iteration, with nothing to save"),
        (TRAINING, 0, "stopping after iteration 1 of 10, then saving"),
        (TRAINING, 3, "stopping after iteration 4 of 10, then saving"),
        (SAVING, 3, "stopping after iteration 4 of 10, then saving"),
        (EVALUATION, 3, "stopping the evaluation, then saving"),
        (TRAINING, 10, "all 10 iterations are done, stopping after they are saved"),
        (ENDING, 10, "everything is done, ending"),
    ],
)
def test_the_first_ctrl_c_is_told_what_is_still_done(stage: str | None, done: int | None, answer: str):
    beat = None if stage is None else Beat(count=1, iterations=done, stage=stage)

    assert stopping_text(signal.SIGINT, beat, PLAN) == answer + AGAIN


def test_a_signal_of_a_scheduler_is_named_and_not_offered_a_second_ctrl_c():
    beat = Beat(count=9, iterations=3, stage=TRAINING)

    assert stopping_text(signal.SIGUSR1, beat, PLAN) == "stopping after iteration 4 of 10, then saving (SIGUSR1)"


def test_a_prediction_keeps_what_it_has_done():
    model = Model(averaged=False, batch=1, classes="", annotations="")
    task = Predict(model=model, files=("a", "b"), threshold=0.5, draw=True, images_json="")
    beat = Beat(count=1, iterations=1, stage=PREDICTION)

    answer = stopping_text(signal.SIGINT, beat, a_plan({}, task=task))

    assert answer == f"stopping after the images at hand; what is done is kept{AGAIN}"


def point(next_iteration: int | None) -> ResumePoint:
    return ResumePoint(path="/r/model_0000003.pth", next_iteration=next_iteration)


@pytest.mark.parametrize(
    ("saved", "done", "text"),
    [
        (None, 3, "no checkpoint: the same command starts over"),
        (point(4), 4, "iteration 4 of 10 is saved, where the same command resumes; nothing is lost"),
        (point(4), 5, "iteration 4 of 10 is saved, where the same command resumes; 1 iteration after it is lost"),
        (point(4), 9, "iteration 4 of 10 is saved, where the same command resumes; 5 iterations after it are lost"),
        (point(4), None, "iteration 4 of 10 is saved, where the same command resumes; nothing is lost"),
        (point(None), 9, "the same command resumes from /r/model_0000003.pth"),
    ],
)
def test_the_second_ctrl_c_is_told_what_is_left(saved: ResumePoint | None, done: int | None, text: str):
    assert left_text(saved, done, PLAN) == text
