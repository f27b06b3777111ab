from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from detectron2.utils.events import EventStorage, EventWriter

from launcher.run.fence import FencedError, take_fence
from launcher.run.paths import RunPaths
from launcher.train.hooks.write import ENOUGH_TO_JUDGE, DrawInputs, Throughput, WriteEvents
from launcher.train.state import Evaluated, TrainingState


class Counting(EventWriter):
    written = 0

    def write(self) -> None:
        self.written += 1


def writing(folder: Path, state: TrainingState, period: int = 1) -> tuple[WriteEvents, Counting]:
    paths, writer = RunPaths(folder), Counting()
    hook = WriteEvents([writer], period, state, paths=paths, fence=take_fence(paths, 1))
    hook.trainer = SimpleNamespace(storage=EventStorage(0))  # type: ignore[assignment]
    return hook, writer


def test_an_overtaken_attempt_writes_no_metrics(tmp_path: Path):
    state = TrainingState(max_iter=9, iterations_done=1)
    hook, writer = writing(tmp_path, state)
    hook.after_step()

    take_fence(RunPaths(tmp_path), 2)

    with pytest.raises(FencedError):
        hook.after_step()
    assert writer.written == 1


@pytest.mark.parametrize(
    ("state", "is_written"),
    [
        (TrainingState(max_iter=9, iterations_done=4), True),
        (TrainingState(max_iter=9, iterations_done=3), False),
        (TrainingState(max_iter=3, iterations_done=3), True),
        (TrainingState(max_iter=9, iterations_done=3, evaluated=Evaluated(after=2)), True),
        (TrainingState(max_iter=9, iterations_done=3, evaluated=Evaluated(after=1)), False),
        (TrainingState(max_iter=9, iterations_done=4, evaluated=Evaluated(missing=True)), False),
        (TrainingState(max_iter=9, iterations_done=4, written_until=3), False),
    ],
)
def test_metrics_are_written_by_period_and_after_evaluations_but_not_before_a_missing_one(
    tmp_path: Path, state: TrainingState, is_written: bool
):
    hook, writer = writing(tmp_path, state, period=4)

    hook.after_step()

    assert writer.written == is_written


def drawing(monkeypatch: pytest.MonkeyPatch, mapper: Any) -> tuple[DrawInputs, EventStorage]:
    def draw(_: object, mapper: Any, *__: object) -> np.ndarray:
        return mapper({})

    monkeypatch.setattr("launcher.train.hooks.write.draw_inputs", draw)
    hook = DrawInputs(RunPaths(Path()), 2)
    storage = EventStorage(0)
    trainer: Any = SimpleNamespace(cfg=None, storage=storage, build_mapper=lambda *_: mapper)
    hook.trainer = trainer
    return hook, storage


def test_inputs_are_drawn_as_the_trainers_own_mapper_makes_them(monkeypatch: pytest.MonkeyPatch):
    own = np.full((3, 2, 2), 7, dtype=np.uint8)
    hook, storage = drawing(monkeypatch, lambda _: own)

    hook.before_train()

    assert [name for name, *_ in storage._vis_data] == ["inputs"]


def test_what_cannot_be_drawn_ends_no_training(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    def gives_no_image(_: object) -> np.ndarray:
        raise KeyError("image")

    hook, storage = drawing(monkeypatch, gives_no_image)

    with caplog.at_level(logging.WARNING):
        hook.before_train()

    assert storage._vis_data == []
    assert caplog.messages == ["The inputs could not be drawn"]


class Broken(EventWriter):
    def write(self) -> None:
        raise KeyError("own")

    def close(self) -> None:
        raise ValueError("own")


def test_a_writer_of_somebodys_own_that_fails_ends_no_finished_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    hook, counting = writing(tmp_path, TrainingState(max_iter=3, iterations_done=3))
    hook.writers = [counting, Broken()]

    with caplog.at_level(logging.WARNING):
        hook.after_train()
        hook.close()

    assert counting.written == 1
    assert caplog.messages == ["The last metrics could not be written", "Broken could not be closed"]


def after_iterations(*times: tuple[float, float]) -> tuple[EventStorage, TrainingState]:
    """Iterations of so many seconds, of which so many were spent waiting for the batch."""
    state, storage = TrainingState(max_iter=99), EventStorage(0)
    hook = Throughput(4, state)
    hook.trainer = SimpleNamespace(storage=storage)  # type: ignore[assignment]
    for seconds, waited_s in times:
        if seconds:
            storage.put_scalar("time", seconds)
        storage.put_scalar("data_time", waited_s)
        hook.after_step()
    return storage, state


def test_speed_and_the_fraction_spent_waiting_for_data_are_scalars_of_every_iteration():
    storage, _ = after_iterations((2.0, 0.5))

    assert storage.latest()["images_per_second"][0] == 2.0
    assert storage.latest()["data_wait"][0] == 0.25


def test_iterations_of_which_no_time_is_known_have_neither():
    storage, state = after_iterations((0.0, 0.5))

    assert "data_wait" not in storage.latest()
    assert state.data_wait is None


def test_over_enough_iterations_the_wait_is_that_of_all_their_time():
    few = [(1.0, 0.0)] * (ENOUGH_TO_JUDGE - 1)

    assert after_iterations(*few)[1].data_wait is None
    assert after_iterations(*few, (11.0, 5.0))[1].data_wait == 0.25
