from __future__ import annotations

from pathlib import Path

from launcher.config.values import write_json
from launcher.launch.supervise import find_first_failure
from launcher.run import codes
from launcher.run.outcome import RANK_KILLED, WorkerFailure
from launcher.run.paths import AttemptPaths


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
