from __future__ import annotations

import signal

import pytest

from launcher.errors import ExitCode
from launcher.run.outcome import Ending, WorkerFailure, WorkerResult, classify, headlines, main_metric

FINISHED = WorkerResult(finished=True, iterations=20, metrics={"segm/AP": 30.0, "bbox/AP": 40.0})
STOPPED = WorkerResult(finished=False, iterations=7)
OUT_OF_MEMORY = WorkerFailure(kind="OutOfMemoryError", message="m", understood=True, exit_code=76, traceback="t")
BUG = WorkerFailure(kind="KeyError", message="m", understood=False, exit_code=1, traceback="t")


@pytest.mark.parametrize(
    ("exit_status", "stop_signal", "killed", "result", "failure", "ending", "exit_code"),
    [
        (0, None, False, FINISHED, None, Ending.finished, ExitCode.finished),
        (0, signal.SIGTERM, False, FINISHED, None, Ending.finished, ExitCode.finished),
        (0, signal.SIGTERM, False, STOPPED, None, Ending.stopped, ExitCode.resumable),
        (0, signal.SIGINT, False, STOPPED, None, Ending.stopped, ExitCode.interrupted),
        (-15, signal.SIGTERM, False, None, None, Ending.stopped, ExitCode.resumable),
        (-9, signal.SIGINT, True, None, None, Ending.killed, ExitCode.interrupted),
        (-9, None, False, None, None, Ending.killed, ExitCode.training_failed),
        (-11, None, False, None, None, Ending.killed, ExitCode.training_failed),
        (1, signal.SIGTERM, False, None, BUG, Ending.stopped, ExitCode.resumable),
        (1, None, False, None, OUT_OF_MEMORY, Ending.out_of_memory, ExitCode.out_of_memory),
        (1, None, False, None, BUG, Ending.failed, ExitCode.training_failed),
        (3, None, False, None, None, Ending.failed, ExitCode.training_failed),
    ],
)
def test_every_way_to_end_has_its_ending_and_exit_code(
    exit_status, stop_signal, killed, result, failure, ending, exit_code
):
    outcome = classify(
        exit_status=exit_status,
        stop_signal=stop_signal,
        killed_by_us=killed,
        result=result,
        failure=failure,
        seconds=1.0,
    )

    assert (outcome.ending, outcome.exit_code) == (ending, exit_code)
    assert outcome.explanation or ending is Ending.finished


def test_a_result_counts_only_when_the_worker_ended_well():
    """A rank that crashed after rank 0 wrote its result still failed."""
    outcome = classify(
        exit_status=-11, stop_signal=None, killed_by_us=False, result=FINISHED, failure=None, seconds=1.0
    )

    assert outcome.ending is Ending.killed


def test_only_what_we_do_not_understand_shows_a_traceback():
    understood, unknown = (
        classify(exit_status=1, stop_signal=None, killed_by_us=False, result=None, failure=failure, seconds=1.0)
        for failure in (OUT_OF_MEMORY, BUG)
    )

    assert understood.traceback == ""
    assert unknown.traceback == "t"


def test_box_ap_stands_for_a_run_that_has_it():
    outcome = classify(exit_status=0, stop_signal=None, killed_by_us=False, result=FINISHED, failure=None, seconds=1.0)

    assert main_metric(outcome) == 40.0
    assert headlines({"b_val/bbox/AP": 2.0, "bbox/AP50": 3.0, "a_val/segm/AP": 4.0}) == {
        "b_val/bbox/AP": 2.0,
        "a_val/segm/AP": 4.0,
    }
    assert main_metric(None) is None
