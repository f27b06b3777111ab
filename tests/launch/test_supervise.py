from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from launcher.config.values import write_json
from launcher.launch import supervise
from launcher.launch.supervise import find_first_failure
from launcher.run import codes
from launcher.run.handover import Worker
from launcher.run.outcome import RANK_KILLED, Ending, WorkerFailure
from launcher.run.paths import AttemptPaths
from launcher.signals import handling
from tests.values import a_plan


def failure(kind: str, code: str = codes.FAILED) -> WorkerFailure:
    return WorkerFailure(kind=kind, message="m", understood=True, exit_code=1, code=code, traceback="")


def test_the_rank_that_failed_first_is_the_cause(tmp_path: Path):
    attempt = AttemptPaths(tmp_path)
    write_json(attempt.failure(1), failure("First"))
    write_json(attempt.failure(0), failure("Second"))

    found = find_first_failure(attempt)

    assert found is not None
    assert found.kind == "First"


def test_a_killed_rank_is_the_cause_although_others_wrote_before(tmp_path: Path):
    attempt = AttemptPaths(tmp_path)
    write_json(attempt.failure(1), failure("ConnectionResetByPeer"))
    write_json(attempt.failure(0), failure(RANK_KILLED))

    found = find_first_failure(attempt)

    assert found is not None
    assert found.kind == RANK_KILLED


def test_no_failure_is_none(tmp_path: Path):
    assert find_first_failure(AttemptPaths(tmp_path)) is None


def test_a_rank_that_is_killed_in_the_wake_of_another_is_not_the_cause(tmp_path: Path):
    attempt = AttemptPaths(tmp_path)
    write_json(attempt.failure(1), failure("OutOfMemoryError", codes.OUT_OF_MEMORY))
    write_json(attempt.failure(0), failure(RANK_KILLED, codes.CRASH))

    found = find_first_failure(attempt)

    assert found is not None
    assert found.kind == "OutOfMemoryError"


@dataclass
class OneThatEnded:
    """Other nodes, of which one has ended."""

    waited: int = 0
    said: int = 0

    def say_ended(self) -> None:
        self.said += 1

    def ended_elsewhere(self) -> str:
        return "n2"

    def wait_until_ended(self) -> None:
        self.waited += 1


class Preempting(OneThatEnded):
    """While their last words are waited for, the scheduler asks to stop."""

    def wait_until_ended(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)


def test_a_stop_while_the_other_nodes_write_down_their_end_does_not_lose_the_outcome(tmp_path: Path):
    plan = a_plan({"SOLVER": {}}, folder=str(tmp_path))
    plan.attempt_paths.folder.mkdir(parents=True)
    failing = Worker({**os.environ}, tmp_path, command=[sys.executable, "-c", "raise SystemExit(1)"])

    with handling({signal.SIGTERM: lambda *_: sys.exit(75)}):
        outcome = supervise.execute(plan, {**os.environ}, inherited=(), others=Preempting(), early=failing)

    assert (outcome.ending, outcome.exit_code) == (Ending.stopped, 75)


def test_processes_that_wait_for_those_of_another_node_in_vain_are_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(supervise, "GRACE_S", 1.0)
    plan, others = a_plan({"SOLVER": {}}, folder=str(tmp_path)), OneThatEnded()
    plan.attempt_paths.folder.mkdir(parents=True)
    endless = Worker({**os.environ}, tmp_path, command=[sys.executable, "-c", "import time; time.sleep(60)"])

    outcome = supervise.execute(plan, {**os.environ}, inherited=(), others=others, early=endless)

    assert (outcome.ending, outcome.code) == (Ending.killed, codes.KILLED)
    assert outcome.explanation.startswith("the processes on n2 ended without reporting an error")
    assert (others.said, others.waited) == (1, 1)
