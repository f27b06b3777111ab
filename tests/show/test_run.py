"""What a person and a program read of a run."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from launcher.config.adjustment import Adjustment
from launcher.run import codes
from launcher.run.outcome import TIME_LIMIT, Ending, Outcome
from launcher.run.plan import Resume
from launcher.run.resume import ResumePoint
from launcher.show.run import _adjustment_rows, _start_line, failure_text, show_outcome
from tests.values import a_plan, failed_with, finished_after


def test_an_overridden_ordinal_is_reported_and_the_default_is_not():
    def adjustment(asked: str) -> Adjustment:
        return Adjustment(
            setting="MODEL.DEVICE", asked=asked, planned="cuda", reason="the GPUs are chosen by device.ids"
        )

    (row,) = _adjustment_rows([adjustment("cuda:1"), adjustment("cuda")])

    assert row.split()[:5] == ["MODEL.DEVICE", "asked", '"cuda:1"', "planned", '"cuda"']


RESUMED = a_plan(
    {"SOLVER": {"MAX_ITER": 10}},
    start=Resume(
        point=ResumePoint(path="/r/checkpoints/model_0000009.pth", next_iteration=10), damaged=(), may_reorder=False
    ),
)


def test_a_start_behind_the_last_iteration_says_what_it_is_for():
    assert _start_line(RESUMED) == (
        "start: all 10 iterations are done, what follows them is repeated from /r/checkpoints/model_0000009.pth"
    )


def test_a_finished_run_says_how_it_trains_longer_and_how_long_all_its_attempts_took(monkeypatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    plan = replace(RESUMED, folder=str(tmp_path / "outputs" / "demo" / "LR=1,B=2"))
    printed = io.StringIO()

    show_outcome(finished_after(10), plan, Console(file=printed, soft_wrap=True), seconds=90.0)

    assert printed.getvalue().startswith("finished: 10 iterations, 1 min 30 s\n")
    assert "launcher resume demo/LR=1,B=2 SOLVER.MAX_ITER=20 trains longer" in printed.getvalue().splitlines()[-1]


def stopped_by(why: str, *, after: int) -> Outcome:
    return replace(finished_after(after), ending=Ending.stopped, exit_code=75, explanation=why)


@pytest.mark.parametrize(
    ("why", "after", "advice"),
    [
        (TIME_LIMIT, 10, "raise run.time_limit"),
        (TIME_LIMIT, 11, "run the same command again"),
        ("asked to stop by SIGTERM", 10, "run the same command again"),
    ],
)
def test_a_stop_that_would_come_again_is_not_answered_with_the_same_command(why: str, after: int, advice: str):
    printed = io.StringIO()

    show_outcome(stopped_by(why, after=after), RESUMED, Console(file=printed, soft_wrap=True), seconds=90.0)

    assert advice in printed.getvalue().splitlines()[-1]


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        ({"bad_images": 1}, "1 training image could not be used and was replaced by another"),
        ({"bad_images": 2}, "2 training images could not be used and were replaced by others"),
        ({"bad_test_images": 1}, "1 unreadable validation image counts as an image without detections"),
        ({"bad_test_images": 2}, "2 unreadable validation images count as images without detections"),
    ],
)
def test_one_bad_image_is_not_spoken_of_as_several(bad: dict[str, int], text: str):
    printed = io.StringIO()

    show_outcome(finished_after(10, **bad), RESUMED, Console(file=printed, soft_wrap=True), seconds=90.0)

    assert f"bad images    {text} (log.txt names them)" in printed.getvalue()


@pytest.mark.parametrize(
    ("would_fail_again", "advice"),
    [(True, "the same command would fail the same way"), (False, "run the same command again")],
)
def test_what_would_fail_again_is_not_answered_with_the_same_command(
    would_fail_again: bool, advice: str, tmp_path: Path
):
    plan = a_plan({}, folder=str(tmp_path))

    text = failure_text(failed_with(codes.FAILED), plan, would_fail_again=would_fail_again)

    assert advice in text.splitlines()[-1]
