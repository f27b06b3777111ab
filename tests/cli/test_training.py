"""A job of a sweep, which another process may be at: one that outlived the controller that started it."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.cli.training import launch_job
from launcher.launch.attempts import launch
from launcher.launch.folder_lock import FolderBusyError, lock_folder
from launcher.run.identity import identity_of
from launcher.run.plan import Finished
from tests.launch.conducted import World, request_in
from tests.recorded_runs import record_run
from tests.values import TYPED, finished_after


def job_in(folder: Path):
    return request_in(folder, typed=replace(TYPED, in_sweep=True, folder=str(folder / "job")))


def test_a_job_waits_for_who_is_at_it_and_finds_what_was_done(tmp_path: Path):
    request, held = job_in(tmp_path), ExitStack()
    held.enter_context(lock_folder(tmp_path / "job"))

    def finish(_: float) -> None:
        record_run(tmp_path / "job", finished_after(100), request=request, identity=identity_of(request))
        held.close()

    world = World(sleep=finish)
    ended = launch_job(request, world.session())

    assert isinstance(ended.plan.start, Finished)
    assert world.carried_out == []
    assert world.text.count("waiting: another process trains in this folder") == 1


def test_a_run_of_its_own_does_not_wait(tmp_path: Path):
    with lock_folder(tmp_path / "job"), pytest.raises(FolderBusyError):
        launch(job_in(tmp_path), World().session())
