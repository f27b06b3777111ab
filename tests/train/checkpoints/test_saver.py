from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from launcher.config.request import CheckpointSettings
from launcher.errors import TrainingFailedError
from launcher.run.fence import FencedError, take_fence
from launcher.run.manifest import Milestone
from launcher.run.paths import RunPaths
from launcher.run.resume import look_for_checkpoints, numbered_checkpoints
from launcher.train.checkpoints.checkpoint import SafeCheckpointer
from launcher.train.checkpoints.saver import MOST_FAILURES, Saver

BEST_AP = CheckpointSettings(keep_best="bbox/AP")


class Training:
    """A model and what was said about its checkpoints."""

    def __init__(self, folder: Path) -> None:
        self.paths = RunPaths(folder)
        self.paths.checkpoints.mkdir(parents=True, exist_ok=True)
        self.model = torch.nn.Linear(64, 64)
        self.said: list[str] = []
        self.savers: list[Saver] = []

    def attempt(self, settings: CheckpointSettings = CheckpointSettings(), **more: Any) -> Saver:  # noqa: B008 - frozen
        resume = look_for_checkpoints(self.paths).newest_valid
        checkpointer = SafeCheckpointer(self.model, str(self.paths.checkpoints))
        saver = Saver(checkpointer, self.paths, settings, resume=resume, report=self.said.append, **more)
        self.savers.append(saver)
        return saver

    def step(self, iteration: int) -> Milestone:
        """Make every weight tell the iteration."""
        with torch.no_grad():
            self.model.weight.fill_(iteration)
        return Milestone(iteration=iteration)

    def saved(self) -> list[int]:
        return sorted(numbered_checkpoints(self.paths))


def save_and_wait(saver: Saver, milestone: Milestone) -> None:
    saver.save(milestone)
    saver.finish()


def weight_in(path: Path) -> float:
    weights = torch.load(path, weights_only=True)["model"]["weight"]
    assert weights.eq(weights[0, 0]).all()
    return float(weights[0, 0])


@pytest.fixture
def training(tmp_path: Path) -> Iterator[Training]:
    made = Training(tmp_path)
    yield made
    for saver in made.savers:
        saver.close()


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Make the next writes of checkpoints fail with an errno until told 0."""
    real = os.fsync

    def set_failure(code: int) -> None:
        def fsync(descriptor: int) -> None:
            if code:
                raise OSError(code, os.strerror(code))
            real(descriptor)

        monkeypatch.setattr(os, "fsync", fsync)

    return set_failure


@pytest.mark.parametrize("in_background", [False, True])
def test_the_newest_two_stay_also_over_attempts(training: Training, in_background: bool):
    settings = CheckpointSettings(keep_last=2, async_=in_background)
    for attempt in ((9, 19), (29, 39)):
        saver = training.attempt(settings)
        for iteration in attempt:
            saver.save(training.step(iteration))
        saver.finish()

    assert training.saved() == [29, 39]
    assert weight_in(training.paths.checkpoint(39)) == 39
    names = {path.name for path in training.paths.checkpoints.iterdir()}
    assert names == {f"model_00000{i}{suffix}" for i in (29, 39) for suffix in (".pth", ".json")} | {"last_checkpoint"}


def test_a_training_continues_while_its_state_is_written_as_it_was(training: Training, monkeypatch: pytest.MonkeyPatch):
    training_went_on = threading.Event()
    real = torch.save

    def slow_save(*arguments: Any) -> None:
        assert training_went_on.wait(60)
        real(*arguments)

    monkeypatch.setattr(torch, "save", slow_save)
    saver = training.attempt(CheckpointSettings(async_=True))

    saver.save(training.step(9))
    training.step(10)
    assert training.saved() == []  # does not count before it is on the disk
    training_went_on.set()
    saver.finish()

    assert weight_in(training.paths.checkpoint(9)) == 9


def test_the_last_save_waits_and_names_the_final_weights(training: Training):
    saver = training.attempt(CheckpointSettings(async_=True))

    saver.save(training.step(9))
    saver.save(training.step(11), is_last=True)

    assert weight_in(training.paths.final_weights) == 11


@pytest.mark.parametrize("in_background", [False, True])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EIO])
def test_failed_saves_are_reported_and_training_continues_three_times_in_a_row(
    training: Training, fail: Callable[[int], None], in_background: bool, code: int
):
    saver = training.attempt(CheckpointSettings(async_=in_background))
    saver.save(training.step(0))
    saver.finish()
    fail(code)

    for failure in range(1, MOST_FAILURES + 1):
        saver.save(training.step(failure))
        saver.finish()
        assert f"iteration {failure + 1} could not be saved ({os.strerror(code)})" in training.said[-1]
        assert "newest checkpoint is that of iteration 1" in training.said[-1]
    with pytest.raises(TrainingFailedError, match=r"nor could the 3 before it.*run the command again"):
        save_and_wait(saver, training.step(9))

    assert training.saved() == [0]
    assert not list(training.paths.checkpoints.glob(".*"))


def test_failures_with_a_success_between_them_are_not_in_a_row(training: Training, fail: Callable[[int], None]):
    saver = training.attempt()
    saver.save(training.step(0))
    for iteration in range(1, 9):
        fail(errno.ENOSPC if iteration % 2 else 0)
        saver.save(training.step(iteration))

    assert training.saved() == [6, 8]


def test_the_first_save_of_all_must_succeed(training: Training, fail: Callable[[int], None]):
    fail(errno.ENOSPC)

    with pytest.raises(TrainingFailedError, match="no older one to resume from"):
        training.attempt().save(training.step(9))


def test_a_resumed_attempt_outlives_a_failed_first_save(training: Training, fail: Callable[[int], None]):
    training.attempt().save(training.step(9))
    saver = training.attempt()
    fail(errno.ENOSPC)

    saver.save(training.step(19))

    assert "newest checkpoint is that of iteration 10" in training.said[-1]


def test_the_final_save_must_succeed(training: Training, fail: Callable[[int], None]):
    saver = training.attempt()
    saver.save(training.step(9))
    fail(errno.ENOSPC)

    with pytest.raises(TrainingFailedError, match="the last one of the training"):
        saver.save(training.step(19), is_last=True)


def _disk_for(checkpoints: Path, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk on which only so many checkpoint files, half-written ones included, find room."""
    real = os.write

    def write(descriptor: int, content: Any) -> int:
        files = [path for path in checkpoints.iterdir() if ".pth" in path.name]
        if len(files) > most:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, content)

    monkeypatch.setattr(os, "write", write)


def test_on_a_short_disk_the_oldest_goes_before_the_new_one_comes(training: Training, monkeypatch: pytest.MonkeyPatch):
    saver = training.attempt(CheckpointSettings(keep_last=2))
    _disk_for(training.paths.checkpoints, 2, monkeypatch)

    for iteration in (9, 19, 29, 39):
        saver.save(training.step(iteration))

    assert training.saved() == [29, 39]
    assert training.said == []


@pytest.mark.parametrize("keep_last", [0, 1, 2])
def test_on_a_disk_for_one_checkpoint_the_last_complete_one_stays(
    training: Training, monkeypatch: pytest.MonkeyPatch, keep_last: int
):
    saver = training.attempt(CheckpointSettings(keep_last=keep_last))
    _disk_for(training.paths.checkpoints, 1, monkeypatch)

    for iteration in (9, 19, 29):
        saver.save(training.step(iteration))

    assert training.saved() == [9]
    assert len(training.said) == 2


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("in_background", [False, True])
def test_the_best_checkpoint_is_kept_over_attempts_and_outside_of_the_chain(
    training: Training, monkeypatch: pytest.MonkeyPatch, links: bool, in_background: bool
):
    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    if not links:
        monkeypatch.setattr(os, "link", no_links)
    settings = CheckpointSettings(keep_best="bbox/AP", keep_last=1, async_=in_background)
    for iteration, ap in ((9, 10.0), (19, 30.0), (29, 20.0), (39, 25.0)):
        saver = training.attempt(settings)  # every time a new attempt
        assert saver.improves({"bbox/AP": ap}, iteration) is (iteration < 29)
        saver.save(training.step(iteration), metrics={"bbox/AP": ap})
        saver.finish()

    assert weight_in(training.paths.best_weights) == 19
    assert training.saved() == [39]
    found = look_for_checkpoints(training.paths).newest_valid
    assert found is not None
    assert found.next_iteration == 40


def test_a_kill_between_choosing_the_best_and_naming_it_is_made_good(
    training: Training, monkeypatch: pytest.MonkeyPatch
):
    saver = training.attempt(BEST_AP)
    saver.save(training.step(9), metrics={"bbox/AP": 10.0})

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(os, "link", killed)
        with pytest.raises(KeyboardInterrupt):
            saver.save(training.step(19), metrics={"bbox/AP": 30.0})
    assert weight_in(training.paths.best_weights) == 9

    training.attempt(BEST_AP)

    assert weight_in(training.paths.best_weights) == 19


@pytest.mark.parametrize("text", ["", "{}", "null", '{"metric": "bbox/AP"}'])
def test_a_damaged_note_of_the_best_counts_as_none(training: Training, text: str):
    training.attempt(BEST_AP).save(training.step(9), metrics={"bbox/AP": 30.0})
    training.paths.best.write_text(text)

    saver = training.attempt(BEST_AP)
    assert saver.improves({"bbox/AP": 20.0}, 19)
    saver.save(training.step(19), metrics={"bbox/AP": 20.0})

    assert weight_in(training.paths.best_weights) == 19
    assert training.attempt(BEST_AP).knows_as_best(19)


def test_an_attempt_clears_up_after_a_killed_one(training: Training):
    litter = training.paths.checkpoints / ".model_0000019.pth.0a1b2c3d.tmp"
    litter.write_bytes(b"half")

    training.attempt()

    assert not litter.exists()


@pytest.mark.parametrize("in_background", [False, True])
def test_an_overtaken_attempt_stops_at_its_next_save_without_writing(training: Training, in_background: bool):
    settings = CheckpointSettings(async_=in_background)
    older = training.attempt(settings, fence=take_fence(training.paths, 1))
    older.save(training.step(9))
    older.finish()

    take_fence(training.paths, 2)

    with pytest.raises(FencedError):
        older.save(training.step(19))
    assert training.saved() == [9]


@pytest.mark.parametrize("in_background", [False, True])
def test_an_attempt_that_is_overtaken_while_it_writes_does_not_name_the_file(
    training: Training, monkeypatch: pytest.MonkeyPatch, in_background: bool
):
    fence = take_fence(training.paths, 1)
    saver = training.attempt(CheckpointSettings(async_=in_background), fence=fence)
    real = torch.save

    def overtaken_meanwhile(*arguments: Any) -> None:
        take_fence(training.paths, 2)
        real(*arguments)

    monkeypatch.setattr(torch, "save", overtaken_meanwhile)

    with pytest.raises(FencedError):
        save_and_wait(saver, training.step(9))

    assert training.saved() == []
    assert list(training.paths.checkpoints.iterdir()) == []


def test_a_fence_that_cannot_be_read_is_a_failed_save(training: Training):
    fence = take_fence(training.paths, 1)
    saver = training.attempt(fence=fence)
    saver.save(training.step(9))
    training.paths.fence.write_text("{")

    saver.save(training.step(19))

    assert "damaged" in training.said[-1]
    assert training.saved() == [9]


def test_memory_for_the_copies_can_be_allocated_before(training: Training):
    saver = training.attempt(CheckpointSettings(async_=True))

    saver.warm_up()
    saver.save(training.step(9))
    saver.finish()

    assert weight_in(training.paths.checkpoint(9)) == 9
