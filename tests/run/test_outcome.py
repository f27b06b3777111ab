from __future__ import annotations

import signal
from dataclasses import replace
from typing import Any

import pytest

from launcher.config.request import EarlyStoppingSettings
from launcher.errors import ExitCode
from launcher.run import codes
from launcher.run.outcome import (
    EarlyStop,
    Ending,
    Fault,
    Pruned,
    Work,
    WorkerEnd,
    WorkerFailure,
    WorkerResult,
    classify,
    explain_early_stop,
    headlines,
    main_metric,
)


def worked(iterations: int, **more: Any) -> Work:
    return replace(Work.of(iterations), **more)


def failure(code: str, **more: Any) -> WorkerFailure:
    usual: dict[str, Any] = {"kind": "Error", "message": "m", "understood": True, "exit_code": 1, "traceback": ""}
    return WorkerFailure(**{**usual, **more}, code=code)


FINISHED = WorkerResult(finished=True, stopped_by="", work=worked(20, metrics={"segm/AP": 30.0, "bbox/AP": 40.0}))
STOPPED = WorkerResult(finished=False, stopped_by="", work=worked(7))
OUT_OF_MEMORY = failure(codes.OUT_OF_MEMORY, exit_code=76, traceback="t")
SICK = failure("gpu.sick", cuda_code=214, rank=1)
RANK_1_KILLED = failure(codes.KILLED, kind="RankKilled", signal=9, rank=1)
BUG = failure(codes.FAILED, kind="KeyError", understood=False, traceback="t")


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


PRUNED = Pruned(metric="bbox/AP", value=3.14159, iterations=40, pruner="median")


@pytest.mark.parametrize(
    ("stop_signal", "result", "failure", "ending", "exit_code"),
    [
        (signal.SIGTERM, STOPPED, None, Ending.pruned, ExitCode.finished),
        (signal.SIGTERM, None, None, Ending.pruned, ExitCode.finished),
        (signal.SIGTERM, FINISHED, None, Ending.finished, ExitCode.finished),
        (None, FINISHED, None, Ending.finished, ExitCode.finished),
        (None, None, BUG, Ending.failed, ExitCode.training_failed),
    ],
)
def test_a_run_that_a_search_stopped_is_pruned_unless_it_came_to_another_end(
    stop_signal, result, failure, ending, exit_code
):
    end = WorkerEnd(exit_status=0, stop_signal=stop_signal, seconds=1.0)

    outcome = classify(end, result=result, failure=failure, pruned=PRUNED)

    assert (outcome.ending, outcome.exit_code) == (ending, exit_code)
    says = "bbox/AP of 3.142 after 40 iterations was not enough for search.pruner=median"
    assert (outcome.explanation == says) is (ending is Ending.pruned)


@pytest.mark.parametrize("end", [WorkerEnd(exit_status=-6), WorkerEnd(exit_status=-6, hung_in="ending")])
def test_how_the_process_ends_after_all_is_done_changes_nothing(end: WorkerEnd):
    outcome = classify(end, result=FINISHED, failure=None)

    assert (outcome.ending, outcome.exit_code) == (Ending.finished, ExitCode.finished)
    assert "after training had finished" in outcome.explanation


def test_a_stop_that_found_the_training_hung_does_not_speak_of_a_beginning():
    end = WorkerEnd(exit_status=-6, stop_signal=signal.SIGTERM, hung_in="training", iterations=3)

    outcome = classify(end, result=None, failure=None)

    assert (outcome.exit_code, outcome.code, outcome.fault) == (ExitCode.resumable, codes.NONE, None)
    assert "hung in `training`" in outcome.explanation


def test_only_what_we_do_not_understand_shows_a_traceback():
    understood, unknown = (
        classify(WorkerEnd(exit_status=1), result=None, failure=failure) for failure in (OUT_OF_MEMORY, BUG)
    )

    assert understood.fault is not None
    assert understood.fault.traceback == ""
    assert unknown.fault is not None
    assert unknown.fault.traceback == "t"


def test_box_ap_stands_for_a_run_that_has_it():
    outcome = classify(WorkerEnd(exit_status=0), result=FINISHED, failure=None)

    assert main_metric(outcome) == 40.0
    assert headlines({"b_val/bbox/AP": 2.0, "bbox/AP50": 3.0, "a_val/segm/AP": 4.0}) == {
        "b_val/bbox/AP": 2.0,
        "a_val/segm/AP": 4.0,
    }
    assert main_metric(None) is None


@pytest.mark.parametrize(
    ("end", "failure", "code", "exit_code"),
    [
        (WorkerEnd(exit_status=-11), None, codes.CRASH, 1),
        (WorkerEnd(exit_status=-9), None, codes.KILLED, 1),
        (WorkerEnd(exit_status=-9, memory_kills=1), None, codes.HOST_MEMORY, 76),
        # The kernel killed somebody else meanwhile.
        (WorkerEnd(exit_status=-11, memory_kills=1), None, codes.CRASH, 1),
        (WorkerEnd(exit_status=-6, hung_in="training"), None, codes.HANG, 1),
        (WorkerEnd(exit_status=74), None, codes.FAILED, 1),
        (WorkerEnd(exit_status=1), RANK_1_KILLED, codes.KILLED, 1),
        (WorkerEnd(exit_status=1, memory_kills=1), RANK_1_KILLED, codes.HOST_MEMORY, 76),
        (WorkerEnd(exit_status=1), SICK, "gpu.sick", 1),
        (WorkerEnd(exit_status=1, stop_signal=signal.SIGTERM), SICK, codes.NONE, 75),
        (WorkerEnd(exit_status=-9, killed_by_us=True), None, codes.INTERRUPTED, 130),
    ],
)
def test_an_outcome_names_what_ended_the_attempt(
    end: WorkerEnd, failure: WorkerFailure | None, code: str, exit_code: int
):
    outcome = classify(end, result=None, failure=failure)

    assert (outcome.code, outcome.exit_code) == (code, exit_code)
    assert (outcome.fault is None) == (code == codes.NONE)


def test_a_device_error_keeps_its_code_and_rank():
    outcome = classify(
        WorkerEnd(exit_status=1, iterations=7, stage="training"),
        result=None,
        failure=replace(SICK, place="model.py:forward"),
    )

    assert outcome.fault == Fault(
        rank=1, stage="training", cuda_code=214, traceback="", kind=SICK.kind, place="model.py:forward"
    )
    assert outcome.work.iterations == 7


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
        (EarlyStop(asked=AP, best=None, evaluations=5), "stopped early: bbox/AP was NaN or Inf in 5 evaluations"),
    ],
)
def test_a_training_that_stopped_early_is_finished_and_says_why(stop: EarlyStop, text: str):
    work = worked(12, stopped_early=stop, bad_images=2, bad_test_images=1)
    result = WorkerResult(finished=True, stopped_by="", work=work)

    outcome = classify(WorkerEnd(exit_status=0), result=result, failure=None)

    assert (outcome.ending, outcome.exit_code) == (Ending.finished, ExitCode.finished)
    assert outcome.explanation == explain_early_stop(stop) == text
    assert outcome.work == work
