from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from launcher.config.values import read_json, write_json
from launcher.run.handover import Worker
from launcher.run.outcome import WorkerFailure
from launcher.signals import handling
from launcher.train import failures
from launcher.train.worker import work_as_rank
from tests.values import a_plan


def _as_torch_does(*_: Any) -> None:
    raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")


def test_a_loader_process_that_dies_while_the_failure_is_written_does_not_take_the_reason_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def explain_late(error: Exception) -> WorkerFailure:
        signal.raise_signal(signal.SIGCHLD)
        return explain(error)

    explain = failures.explain
    monkeypatch.setattr(failures, "explain", explain_late)
    plan = a_plan({"NOT_DETECTRON2S": 1}, folder=str(tmp_path))
    write_json(plan.attempt_paths.plan, plan)

    with handling({signal.SIGCHLD: _as_torch_does}):
        status = work_as_rank(plan.attempt_paths.plan, 0)
        assert signal.getsignal(signal.SIGCHLD) is _as_torch_does

    failure = read_json(plan.attempt_paths.failure(0), WorkerFailure)
    assert (status, failure.code) == (1, "run.request")
    assert "NOT_DETECTRON2S" in failure.message


BROKEN = "raise ImportError('libGL.so.1: cannot open shared object file: No such file or directory')"


@pytest.mark.parametrize("package", ["cv2", "pycocotools"])
def test_a_package_that_does_not_import_is_the_reason_of_the_failure(tmp_path: Path, package: str):
    (tmp_path / "first" / package).mkdir(parents=True)
    (tmp_path / "first" / package / "__init__.py").write_text(BROKEN)
    plan = a_plan({"SOLVER": {}}, folder=str(tmp_path / "run"))
    write_json(plan.attempt_paths.plan, plan)
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path / "first"), str(Path(__file__).parents[2])))}

    worker = Worker(environ, plan.paths.folder)
    worker.begin(plan.attempt_paths.plan, environ, ())
    worker.process.wait(timeout=120)

    failure = read_json(plan.attempt_paths.failure(0), WorkerFailure)
    assert (worker.process.returncode, failure.kind) == (1, "ImportError")
    assert "libGL.so.1" in failure.message
