from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from launcher.run import codes
from launcher.run.journal import Journal
from launcher.run.outcome import Ending, Outcome
from launcher.run.plan import Continue, Finished, Model, New, Predict, RunPlan, Start
from launcher.show.inference import outcome_lines, prediction_json, start_line
from launcher.show.run import failure_text, show_plan
from tests.values import a_plan, finished_after

TASK = Predict(
    model=Model(averaged=False, batch=1, classes="", annotations=""),
    files=("/photos/1.jpg", "/photos/2.jpg"),
    threshold=0.5,
    draw=True,
    images_json="ids.json",
)


def planned(folder: Path, start: Start | None = None, weights: str = "model.pth") -> RunPlan:
    keys = {"MODEL": {"WEIGHTS": weights}, "DATASETS": {"TEST": []}}
    return a_plan(keys, folder=str(folder), task=TASK, start=start or New(archives=False))


def ended(**metrics: Any) -> Outcome:
    return finished_after(2, metrics=metrics)


@pytest.mark.parametrize(
    ("start", "weights", "line"),
    [
        (New(archives=False), "model.pth", "start: prediction on 2 images with model.pth"),
        (New(archives=False), "", "start: prediction on 2 images with RANDOM weights (MODEL.WEIGHTS is empty)"),
        (Continue(done=1), "model.pth", "start: 1 image done, continues with the rest, with model.pth"),
        (
            Finished(stopped_early=None),
            "model.pth",
            "start: nothing to do, 2 images are done. resume=never starts over.",
        ),
    ],
)
def test_a_start_says_what_will_be_done_with_which_weights(tmp_path: Path, start: Start, weights: str, line: str):
    plan = planned(tmp_path, start, weights)
    printed = io.StringIO()

    show_plan(plan, Console(file=printed, soft_wrap=True))

    assert start_line(plan, TASK) == line
    assert line in printed.getvalue()


def test_an_end_says_how_many_objects_there_are_and_where(tmp_path: Path):
    lines = list(outcome_lines(ended(**{"predict/objects": 7, "predict/best_score": 0.9}), planned(tmp_path), TASK))

    assert lines == [
        "finished: prediction on 2 images, 0 min 1 s",
        "  objects   7 with a score from 0.5",
        f"  results   {tmp_path}",
    ]


def test_where_nothing_reaches_the_threshold_the_best_score_is_said(tmp_path: Path):
    lines = list(outcome_lines(ended(**{"predict/objects": 0, "predict/best_score": 0.31}), planned(tmp_path), TASK))

    assert "            the best score is 0.31: --threshold 0.26 counts and draws it" in lines


def test_images_that_the_ids_do_not_name_are_counted(tmp_path: Path):
    lines = list(outcome_lines(ended(**{"predict/objects": 1, "predict/without_id": 1}), planned(tmp_path), TASK))

    assert "  ids       1 image not in ids.json: their names are their ids" in lines


def test_a_stop_says_that_the_same_command_continues(tmp_path: Path):
    stopped = replace(ended(), ending=Ending.stopped, explanation="asked to stop by SIGTERM")

    lines = list(outcome_lines(stopped, planned(tmp_path), TASK))

    assert lines[0] == "stopped: prediction on 2 images, 0 min 1 s (asked to stop by SIGTERM)"
    assert lines[-1] == "  next      run the same command again: it continues with what is left"


def test_images_that_cannot_be_read_are_the_error_and_not_the_end(tmp_path: Path):
    why = "1 of 2 images cannot be read: 2.jpg (it is no image)"
    outcome = replace(finished_after(1), exit_code=1, code=codes.UNREADABLE_IMAGES, explanation=why)

    text = failure_text(outcome, planned(tmp_path))

    assert text.startswith(f"{why} [run.unreadable_images]\n")
    assert "next   repair or remove them, and run the same command again: only they are left" in text
    assert next(iter(outcome_lines(outcome, planned(tmp_path), TASK))) == "finished: 1 of 2 images, 0 min 1 s"


def test_programs_get_the_newest_results_of_every_image_that_is_asked_for(tmp_path: Path):
    plan = planned(tmp_path)
    for attempt, score in ((1, 0.1), (2, 0.2)):
        with Journal(plan.paths.results, attempt=attempt, rank=0) as journal:
            found = {"instances": [{"score": score}]}
            journal.add("1", {"file": "/photos/1.jpg", "seconds": 0.5, "found": found})
            journal.add("2", {"file": "/photos/removed.jpg", "seconds": 0.5, "found": found})

    printed = prediction_json(tmp_path, finished_after(1), ["/photos/1.jpg"])

    assert printed["images"] == [{"file": "/photos/1.jpg", "seconds": 0.5, "instances": [{"score": 0.2}]}]
    assert (printed["exit_code"], printed["code"]) == (0, "")
