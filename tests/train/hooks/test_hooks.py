from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from detectron2.utils.events import EventWriter

from launcher.config.request import CheckpointSettings
from launcher.run.fence import FencedError, take_fence
from launcher.run.paths import RunPaths
from launcher.run.resume import look_for_checkpoints, numbered_checkpoints
from launcher.train.checkpoints.checkpoint import WholeCheckpointer
from launcher.train.checkpoints.saver import Saver
from launcher.train.hooks.chosen import SaveCheckpoint, WriteEvents

KEEP_BEST = CheckpointSettings(keep_best="bbox/AP", period=2)


class Killed(BaseException):
    """Ends an attempt as SIGKILL does: nothing catches it."""


class Attempt:
    """The saving hook with a trainer that only counts."""

    def __init__(self, folder: Path, settings: CheckpointSettings, max_iter: int, metrics: dict[str, float]) -> None:
        self.paths = RunPaths(folder)
        self.paths.checkpoints.mkdir(parents=True, exist_ok=True)
        self.model = torch.nn.Linear(4, 4)
        self.said: list[str] = []
        resume = look_for_checkpoints(self.paths).newest_whole
        done = (resume.next_iteration or 0) if resume is not None else 0
        saver = Saver(
            WholeCheckpointer(self.model, str(self.paths.checkpoints)),
            self.paths,
            settings,
            resume=resume,
            say=self.said.append,
        )
        self.trainer = SimpleNamespace(
            start_iter=done,
            iterations_done=done,
            max_iter=max_iter,
            at_end=done >= max_iter,
            stopping=False,
            evaluated_after=done - 1 if metrics else -1,
            latest_metrics=metrics,
            num_processes=1,
            images_seen=0,
            heartbeat=SimpleNamespace(beat=lambda *_: None),
            cfg=SimpleNamespace(SOLVER=SimpleNamespace(CHECKPOINT_PERIOD=0)),
        )
        plan: Any = SimpleNamespace(training=SimpleNamespace(checkpoint=settings), fingerprint="")
        self.hook = SaveCheckpoint(saver, plan, self.paths, evaluated_before=self.trainer.evaluated_after)
        self.hook.trainer = self.trainer  # type: ignore[assignment]

    def step(self, metrics: dict[str, float] | None = None, *, stopping: bool = False) -> None:
        trainer = self.trainer
        trainer.iter, trainer.iterations_done = trainer.iterations_done, trainer.iterations_done + 1
        torch.nn.init.constant_(self.model.weight, trainer.iter)
        trainer.at_end, trainer.stopping = trainer.iterations_done >= trainer.max_iter, stopping
        if metrics is not None:
            trainer.evaluated_after, trainer.latest_metrics = trainer.iter, metrics
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
def test_a_stop_whose_save_fails_counts_what_is_saved_and_does_not_say_that_training_goes_on(
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
    assert stopped.trainer.iterations_done == 2
    assert len(stopped.said) == 1
    assert "goes on" not in stopped.said[0]
    assert "can go on from the checkpoint of iteration 2" in stopped.said[0]


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

    assert stopped.trainer.iterations_done == 1


def test_a_stop_that_is_saved_counts_every_iteration(attempt: Any):
    stopped = attempt()
    for _ in range(3):
        stopped.step(stopping=stopped.trainer.iterations_done == 2)

    stopped.hook.after_train()

    assert stopped.saved() == [1, 2]
    assert stopped.trainer.iterations_done == 3


class Counting(EventWriter):
    written = 0

    def write(self) -> None:
        self.written += 1


def test_an_overtaken_attempt_writes_no_numbers(tmp_path: Path):
    paths, writer = RunPaths(tmp_path), Counting()
    hook = WriteEvents([writer], 1, paths, take_fence(paths, 1))
    trainer: Any = SimpleNamespace(
        iterations_done=1,
        max_iter=9,
        written_until=-1,
        evaluated_after=-1,
        evaluation_missing=False,
        storage=SimpleNamespace(latest=dict),
    )
    hook.trainer = trainer
    hook.after_step()

    take_fence(paths, 2)

    with pytest.raises(FencedError):
        hook.after_step()
    assert writer.written == 1
