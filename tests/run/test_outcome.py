from __future__ import annotations

import signal

import pytest

from launcher.config.request import EarlyStoppingSettings
from launcher.errors import ExitCode
from launcher.run.outcome import (
    Cause,
    EarlyStop,
    Ending,
    WorkerEnd,
    WorkerFailure,
    WorkerResult,
    classify,
    explain_early_stop,
    headlines,
    main_metric,
)

FINISHED = WorkerResult(finished=True, iterations=20, metrics={"segm/AP": 30.0, "bbox/AP": 40.0})
STOPPED = WorkerResult(finished=False, iterations=7)
OUT_OF_MEMORY = WorkerFailure(kind="OutOfMemoryError", message="m", understood=True, exit_code=76, traceback="t")
SICK = WorkerFailure(
    kind="AcceleratorError",
    message="m",
    understood=True,
    exit_code=1,
    traceback="",
    cause=Cause.device,
    cuda_code=214,
    rank=1,
)
RANK_1_KILLED = WorkerFailure(
    kind="RankKilled", message="m", understood=True, exit_code=1, traceback="", cause=Cause.crash, signal=9, rank=1
)
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
    end = WorkerEnd(exit_status=exit_status, stop_signal=stop_signal, killed_by_us=killed, seconds=1.0)

    outcome = classify(end, result=result, failure=failure)

    assert (outcome.ending, outcome.exit_code) == (ending, exit_code)
    assert outcome.explanation or ending is Ending.finished


@pytest.mark.parametrize("end", [WorkerEnd(exit_status=-6), WorkerEnd(exit_status=-6, hung_in="ending")])
def test_how_the_process_ends_after_all_is_done_changes_nothing(end: WorkerEnd):
    outcome = classify(end, result=FINISHED, failure=None)

    assert (outcome.ending, outcome.exit_code) == (Ending.finished, ExitCode.finished)
    assert "after all was done" in outcome.explanation


def test_a_stop_that_found_the_training_hung_does_not_speak_of_a_beginning():
    end = WorkerEnd(exit_status=-6, stop_signal=signal.SIGTERM, hung_in="training", iterations=3)

    outcome = classify(end, result=None, failure=None)

    assert (outcome.exit_code, outcome.cause) == (ExitCode.resumable, Cause.none)
    assert "hung in `training`" in outcome.explanation


def test_only_what_we_do_not_understand_shows_a_traceback():
    understood, unknown = (
        classify(WorkerEnd(exit_status=1), result=None, failure=failure) for failure in (OUT_OF_MEMORY, BUG)
    )

    assert understood.traceback == ""
    assert unknown.traceback == "t"


def test_box_ap_stands_for_a_run_that_has_it():
    outcome = classify(WorkerEnd(exit_status=0), result=FINISHED, failure=None)

    assert main_metric(outcome) == 40.0
    assert headlines({"b_val/bbox/AP": 2.0, "bbox/AP50": 3.0, "a_val/segm/AP": 4.0}) == {
        "b_val/bbox/AP": 2.0,
        "a_val/segm/AP": 4.0,
    }
    assert main_metric(None) is None


@pytest.mark.parametrize(
    ("end", "failure", "cause", "exit_code"),
    [
        (WorkerEnd(exit_status=-11), None, Cause.crash, 1),
        (WorkerEnd(exit_status=-9), None, Cause.crash, 1),
        (WorkerEnd(exit_status=-9, memory_kills=1), None, Cause.host_memory, 76),
        # The kernel killed somebody else meanwhile.
        (WorkerEnd(exit_status=-11, memory_kills=1), None, Cause.crash, 1),
        (WorkerEnd(exit_status=-6, hung_in="training"), None, Cause.hang, 1),
        (WorkerEnd(exit_status=74), None, Cause.other, 1),
        (WorkerEnd(exit_status=1), RANK_1_KILLED, Cause.crash, 1),
        (WorkerEnd(exit_status=1, memory_kills=1), RANK_1_KILLED, Cause.host_memory, 76),
        (WorkerEnd(exit_status=1), SICK, Cause.device, 1),
        (WorkerEnd(exit_status=1, stop_signal=signal.SIGTERM), SICK, Cause.none, 75),
        (WorkerEnd(exit_status=-9, killed_by_us=True), None, Cause.none, 130),
    ],
)
def test_an_outcome_names_what_ended_the_attempt(
    end: WorkerEnd, failure: WorkerFailure | None, cause: Cause, exit_code: int
):
    outcome = classify(end, result=None, failure=failure)

    assert (outcome.cause, outcome.exit_code) == (cause, exit_code)


def test_a_device_error_keeps_its_code_and_rank():
    outcome = classify(WorkerEnd(exit_status=1, iterations=7, stage="training"), result=None, failure=SICK)

    assert (outcome.cuda_code, outcome.rank, outcome.iterations, outcome.stage) == (214, 1, 7, "training")


AP = EarlyStoppingSettings(metric="bbox/AP")
CAREFUL = EarlyStoppingSettings(metric="bbox/AP", min_delta=0.5)


@pytest.mark.parametrize(
    ("stop", "text"),
    [
        (
            EarlyStop(asked=AP, best=41.23456, evaluations=5),
            "stopped early: bbox/AP has not improved on 41.23 for 5 evaluations",
        ),
        (
            EarlyStop(asked=CAREFUL, best=0.0, evaluations=7),
            "stopped early: bbox/AP has not improved on 0 by more than 0.5 for 7 evaluations",
        ),
        (EarlyStop(asked=AP, best=None, evaluations=5), "stopped early: bbox/AP was no number in 5 evaluations"),
    ],
)
def test_a_training_that_stopped_early_is_finished_and_says_why(stop: EarlyStop, text: str):
    result = WorkerResult(finished=True, iterations=12, stopped_early=stop, bad_images=2, bad_test_images=1)

    outcome = classify(WorkerEnd(exit_status=0), result=result, failure=None)

    assert (outcome.ending, outcome.exit_code) == (Ending.finished, ExitCode.finished)
    assert outcome.explanation == explain_early_stop(stop) == text
    assert outcome.stopped_early == stop
    assert (outcome.bad_images, outcome.bad_test_images) == (2, 1)
