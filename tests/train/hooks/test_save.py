from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from launcher.config.request import CheckpointSettings
from launcher.run.heartbeat import Heartbeat
from launcher.run.manifest import Milestone, read_manifest
from launcher.run.paths import RunPaths
from launcher.run.resume import look_for_checkpoints, numbered_checkpoints
from launcher.train.checkpoints.checkpoint import SafeCheckpointer
from launcher.train.checkpoints.saver import Saver
from launcher.train.hooks.save import SaveCheckpoint
from launcher.train.state import Evaluated, TrainingState

KEEP_BEST = CheckpointSettings(keep_best="bbox/AP", period=2)


class Killed(BaseException):
    """Ends an attempt as SIGKILL does: nothing catches it."""


class Attempt:
    """The saving hook in a training that only counts."""

    def __init__(self, folder: Path, settings: CheckpointSettings, max_iter: int, metrics: dict[str, float]) -> None:
        self.paths = RunPaths(folder)
        self.paths.checkpoints.mkdir(parents=True, exist_ok=True)
        self.model = torch.nn.Linear(4, 4)
        self.said: list[str] = []
        resume = look_for_checkpoints(self.paths).newest_valid
        done = (resume.next_iteration or 0) if resume is not None else 0
        evaluated = Evaluated(after=done - 1, metrics=metrics) if metrics else Evaluated()
        self.state = TrainingState(max_iter=max_iter, start=done, iterations_done=done, evaluated=evaluated)
        checkpointer = SafeCheckpointer(self.model, str(self.paths.checkpoints))
        saver = Saver(checkpointer, self.paths, settings, resume=resume, report=self.said.append)
        self.hook = SaveCheckpoint(
            saver, self.state, settings, milestone=Milestone(iteration=-1), heartbeat=Heartbeat(None)
        )

    def step(self, metrics: dict[str, float] | None = None, *, stopping: bool = False) -> None:
        state = self.state
        state.count_iteration(images=2)
        torch.nn.init.constant_(self.model.weight, state.last_iteration)
        state.stopping = stopping
        if metrics is not None:
            state.evaluated = Evaluated(after=state.last_iteration, metrics=metrics)
        self.hook.after_step()

    def saved(self) -> list[int]:
        return sorted(numbered_checkpoints(self.paths))


@pytest.fixture
def attempt(tmp_path: Path) -> Iterator[Any]:
    made: list[Attempt] = []

    def start(
        settings: CheckpointSettings = KEEP_BEST, max_iter: int = 9, metrics: dict[str, float] | None = None
    ) -> Attempt:
        made.append(Attempt(tmp_path, settings, max_iter, metrics or {}))
        return made[-1]

    yield start
    for started in made:
        started.hook.saver.close()


def weight_in(path: Path) -> float:
    return float(torch.load(path, weights_only=True)["model"]["weight"][0, 0])


def _no_links(*_: object) -> None:
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


def _forbidden(*_: object, **__: object) -> None:
    raise AssertionError("nothing is to be written here")


@pytest.mark.parametrize("links", [True, False])
def test_final_weights_of_an_earlier_end_are_replaced_after_a_kill_before_the_new_ones_had_their_name(
    attempt: Any, monkeypatch: pytest.MonkeyPatch, links: bool
):
    if not links:
        monkeypatch.setattr(os, "link", _no_links)
    first = attempt(max_iter=2)
    first.step()
    first.step()
    killed = attempt(max_iter=4)
    killed.step()
    with monkeypatch.context() as dying:
        dying.setattr("launcher.train.checkpoints.saver.name_final", _kill)
        with pytest.raises(Killed):
            killed.step()
    # The clock of a file system can be too coarse, or set back, to tell which of two files is the newer one.
    os.utime(killed.paths.checkpoint(3), ns=(0, 0))
    assert weight_in(killed.paths.final_weights) == 1

    attempt(max_iter=4).hook.before_train()

    assert weight_in(killed.paths.final_weights) == 3


@pytest.mark.parametrize("links", [True, False])
def test_final_weights_that_have_their_name_are_not_written_again(
    attempt: Any, monkeypatch: pytest.MonkeyPatch, links: bool
):
    if not links:
        monkeypatch.setattr(os, "link", _no_links)
    first = attempt(max_iter=1)
    first.step()

    monkeypatch.setattr(torch, "save", _forbidden)
    monkeypatch.setattr("launcher.train.checkpoints.saver.link_or_copy", _forbidden)
    monkeypatch.setattr("launcher.train.checkpoints.saver.name_final", _forbidden)
    attempt(max_iter=1).hook.before_train()


def _kill(*_: object) -> None:
    raise Killed


def test_the_best_checkpoint_is_known_after_a_kill_before_it_was_noted(attempt: Any, monkeypatch: pytest.MonkeyPatch):
    killed = attempt()
    killed.step()
    with monkeypatch.context() as dying:
        dying.setattr(Saver, "_keep_best", _kill)
        with pytest.raises(Killed):
            killed.step({"bbox/AP": 30.0})
    assert not killed.paths.best.exists()

    monkeypatch.setattr(torch, "save", _forbidden)  # its file is there already
    second = attempt(metrics={"bbox/AP": 30.0})
    second.hook.before_train()

    assert weight_in(second.paths.best_weights) == 1
    assert not second.hook.saver.improves({"bbox/AP": 20.0}, 3)

    monkeypatch.setattr("launcher.train.checkpoints.saver.write_json", _forbidden)
    attempt(metrics={"bbox/AP": 30.0}).hook.before_train()


def test_a_resumed_checkpoint_that_is_not_the_best_leaves_the_best_alone(attempt: Any):
    first = attempt()
    first.step({"bbox/AP": 30.0})
    first.step({"bbox/AP": 20.0})

    attempt(metrics={"bbox/AP": 20.0}).hook.before_train()

    assert weight_in(first.paths.best_weights) == 0


def test_a_new_attempt_without_a_checkpoint_saves_nothing_before_its_first_iteration(attempt: Any):
    first = attempt()

    first.hook.before_train()

    assert list(first.paths.checkpoints.iterdir()) == []


@pytest.mark.parametrize("in_background", [False, True])
def test_a_stop_whose_save_fails_counts_what_is_saved_and_does_not_say_that_training_continues(
    attempt: Any, monkeypatch: pytest.MonkeyPatch, in_background: bool
):
    stopped = attempt(CheckpointSettings(period=2, async_=in_background))
    for _ in range(3):
        stopped.step()
    stopped.hook.saver.finish()

    monkeypatch.setattr(os, "fsync", _no_room)
    stopped.step(stopping=True)
    stopped.hook.after_train()

    assert stopped.saved() == [1]
    assert stopped.state.iterations_done == 2
    assert len(stopped.said) == 1
    assert "continues" not in stopped.said[0]
    assert "can be resumed from the checkpoint of iteration 2" in stopped.said[0]


def _no_room(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_stop_after_failed_saves_is_no_failure_while_an_older_checkpoint_is_there(
    attempt: Any, monkeypatch: pytest.MonkeyPatch
):
    stopped = attempt(CheckpointSettings(period=1))
    stopped.step()
    monkeypatch.setattr(os, "fsync", _no_room)
    for _ in range(3):
        stopped.step()

    stopped.step(stopping=True)
    stopped.hook.after_train()

    assert stopped.state.iterations_done == 1


def test_a_stop_that_is_saved_counts_every_iteration(attempt: Any):
    stopped = attempt()
    for _ in range(3):
        stopped.step(stopping=stopped.state.iterations_done == 2)

    stopped.hook.after_train()

    assert stopped.saved() == [1, 2]
    assert stopped.state.iterations_done == 3


def test_the_manifest_of_a_checkpoint_says_how_far_the_training_is(attempt: Any):
    training = attempt()
    for _ in range(2):
        training.step()

    manifest = read_manifest(training.paths.checkpoint(1))

    assert manifest is not None
    assert (manifest.milestone.iteration, manifest.milestone.images_seen) == (1, 4)


@pytest.mark.parametrize("in_background", [False, True])
def test_what_an_evaluation_that_failed_would_cost_is_saved_at_the_end(attempt: Any, in_background: bool):
    failed = attempt(CheckpointSettings(period=2, async_=in_background))
    for _ in range(3):
        failed.step()
    failed.state.miss_evaluation()

    failed.hook.close()

    assert failed.saved() == [1, 2]


def test_a_training_that_failed_otherwise_is_not_saved_in_the_middle_of_an_iteration(attempt: Any):
    failed = attempt()
    for _ in range(3):
        failed.step()

    failed.hook.close()

    assert failed.saved() == [1]


def test_an_evaluation_that_fails_again_before_the_first_iteration_saves_nothing(attempt: Any):
    first = attempt()
    first.step()
    first.step()
    again = attempt()
    again.state.miss_evaluation()
    again.paths.checkpoint(1).unlink()

    again.hook.close()

    assert again.saved() == []
