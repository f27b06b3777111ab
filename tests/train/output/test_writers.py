from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from detectron2.utils.events import EventStorage, JSONWriter, TensorboardXWriter

from launcher.config.request import LoggingSettings
from launcher.run.paths import RunPaths
from launcher.train.output.tags import MEMORY, tag_of
from launcher.train.output.writers import (
    MetricsWriter,
    TensorBoardWriter,
    Unwritten,
    build_writers,
    cut_back,
)


def iterations_in(metrics: Path) -> list[int]:
    return [json.loads(line)["iteration"] for line in metrics.read_text().splitlines()]


@pytest.fixture
def storage() -> Iterator[EventStorage]:
    with EventStorage(0) as storage:
        yield storage


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A disk on which so many bytes of a write find room; None for all."""
    disk = SimpleNamespace(room=None)
    real = os.write

    def write(descriptor: int, content: bytes) -> int:
        if disk.room == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, content[: disk.room])

    monkeypatch.setattr(os, "write", write)
    return disk


def put(storage: EventStorage, iteration: int) -> None:
    storage.iter = iteration
    storage.put_scalar("total_loss", float((iteration * 7) % 5))
    storage.put_scalar("lr", 0.1 / (iteration + 1), smoothing_hint=False)


def writer_to(metrics: Path) -> tuple[MetricsWriter, list[str]]:
    said: list[str] = []
    return MetricsWriter(metrics, Unwritten(), said.append), said


def test_lines_are_those_of_detectron2(tmp_path: Path, storage: EventStorage):
    own, _ = writer_to(tmp_path / "metrics.json")
    detectron2s = JSONWriter(str(tmp_path / "theirs.json"))

    for iteration in range(50):
        put(storage, iteration)
        if iteration == 20:
            storage.put_scalar("bbox/AP", float("nan"), smoothing_hint=False, cur_iter=18)
        if iteration % 3 == 2:
            own.write()
            detectron2s.write()
    own.close()
    detectron2s.close()

    written = (tmp_path / "metrics.json").read_text()
    assert written.count("\n") == 17
    assert sorted(written.splitlines()) == sorted((tmp_path / "theirs.json").read_text().splitlines())
    assert iterations_in(tmp_path / "metrics.json") == sorted(iterations_in(tmp_path / "metrics.json"))


@pytest.mark.parametrize("room", [0, 1, 30])
def test_lines_that_the_disk_does_not_take_come_later_with_one_warning(
    tmp_path: Path, storage: EventStorage, disk: SimpleNamespace, room: int
):
    metrics = tmp_path / "metrics.json"
    writer, said = writer_to(metrics)

    for iteration in range(6):
        disk.room = room if iteration in (1, 2, 4) else None
        put(storage, iteration)
        writer.write()
        if disk.room is not None:
            assert metrics.read_text().endswith("\n")
            assert iterations_in(metrics) == list(range({1: 1, 2: 1, 4: 4}[iteration]))

    assert iterations_in(metrics) == [0, 1, 2, 3, 4, 5]
    assert len(said) == 1
    assert "metrics.json could not be written (No space left on device)" in said[0]


def test_a_file_that_cannot_be_made_at_first_is_made_later(tmp_path: Path, storage: EventStorage):
    metrics = tmp_path / "not yet" / "metrics.json"
    writer, said = writer_to(metrics)

    put(storage, 0)
    writer.write()
    metrics.parent.mkdir()
    put(storage, 1)
    writer.write()

    assert iterations_in(metrics) == [0, 1]
    assert "No such file" in said[0]


def attempt_with(paths: RunPaths, written_until: int, unwritten: dict[str, Any]) -> MetricsWriter:
    """The writer of an attempt that resumes from a checkpoint which says that."""
    lines = Unwritten()
    lines.load_state_dict(unwritten)
    settings = LoggingSettings(tensorboard=False)
    (writer,) = build_writers(paths, settings, written_until=written_until, unwritten=lines)
    assert isinstance(writer, MetricsWriter)
    writer._last_write = written_until
    return writer


@pytest.mark.parametrize("written_after_the_checkpoint", [False, True])
def test_lines_that_were_not_on_the_disk_when_a_checkpoint_was_saved_outlive_a_kill(
    tmp_path: Path, storage: EventStorage, disk: SimpleNamespace, written_after_the_checkpoint: bool
):
    paths = RunPaths(tmp_path)
    killed = attempt_with(paths, -1, {"lines": []})
    for iteration in range(3):
        disk.room = 0 if iteration > 0 else None
        put(storage, iteration)
        killed.write()
    checkpoint = killed._unwritten.state_dict()
    if written_after_the_checkpoint:
        disk.room = None
        put(storage, 3)
        killed.write()

    disk.room = None
    second = attempt_with(paths, 2, checkpoint)
    put(storage, 3)
    second.write()

    assert iterations_in(paths.metrics) == [0, 1, 2, 3]


def test_an_attempt_that_was_stopped_in_the_middle_of_a_write_wakes_up_to_write_nowhere(
    tmp_path: Path, storage: EventStorage
):
    paths = RunPaths(tmp_path)
    overtaken = attempt_with(paths, -1, {"lines": []})
    put(storage, 0)
    overtaken.write()

    later = attempt_with(paths, 0, {"lines": []})
    for iteration in (1, 2):
        put(storage, iteration)
        later.write()
    overtaken.write()

    assert iterations_in(paths.metrics) == [0, 1, 2]


def _broken_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_tensorboard_is_given_up_when_its_disk_is_full_and_the_training_continues(
    tmp_path: Path, storage: EventStorage, monkeypatch: pytest.MonkeyPatch
):
    record_writer = pytest.importorskip("tensorboard.summary.writer.record_writer")
    monkeypatch.setattr(record_writer.RecordWriter, "write", _broken_disk)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    said: list[str] = []
    writer = TensorBoardWriter(tmp_path, 0, said.append)

    writer.write_text("plan", "a: 1", 1)
    for iteration in range(3):
        put(storage, iteration)
        storage.put_image("inputs", _image())
        writer.write()
    writer.close()

    assert len(said) == 1
    assert "No space left on device" in said[0]
    assert storage._vis_data == []


def events_in(folder: Path) -> Any:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder))
    events.Reload()
    return events


def points_in(events: Any, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in events.Scalars(tag)]


def test_tensorboard_has_groups_and_the_values_of_detectron2(tmp_path: Path, storage: EventStorage):
    writer = TensorBoardWriter(tmp_path / "ours", 0, lambda _: None)
    detectron2s = TensorboardXWriter(str(tmp_path / "theirs"))

    for iteration in range(50):
        put(storage, iteration)
        if iteration == 20:
            storage.put_scalar("bbox/AP", 12.5, smoothing_hint=False, cur_iter=18)
        if iteration % 3 == 2:
            writer.write()
            detectron2s.write()
    writer.close()
    detectron2s.close()

    ours, theirs = events_in(tmp_path / "ours"), events_in(tmp_path / "theirs")
    for name in ("total_loss", "lr", "bbox/AP"):
        assert points_in(ours, tag_of(name)) == points_in(theirs, name) != []
    assert {event.step for event in ours.Scalars(MEMORY)} == {event.step for event in theirs.Scalars("lr")}


def test_masks_that_a_model_draws_are_one_image(tmp_path: Path, storage: EventStorage):
    writer = TensorBoardWriter(tmp_path, 0, lambda _: None)
    storage.iter = 9

    storage.put_image("Left: GT bounding boxes;  Right: Predicted proposals", _image())
    for index in range(40):
        storage.put_image(f"Left: mask prediction;   Right: mask GT ({index})", _image())
    writer.write()
    writer.close()

    assert events_in(tmp_path).Tags()["images"] == [
        "while training/Left: GT bounding boxes; Right: Predicted proposals",
        "while training/Left: mask prediction; Right: mask GT",
    ]
    assert storage._vis_data == []


def _image() -> Any:
    import numpy as np

    return np.zeros((3, 4, 4), dtype=np.uint8)


def test_metrics_of_iterations_that_will_come_again_are_cut_off(tmp_path: Path):
    metrics = tmp_path / "metrics.json"
    metrics.write_text("".join(json.dumps({"iteration": i, "loss": 1.0}) + "\n" for i in (9, 19, 29)) + '{"iterat')

    cut_back(metrics, 20)

    assert iterations_in(metrics) == [9, 19]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "the last newline is missing": lambda text: text[:-1],
    "zeros where a power loss left no data": lambda text: text + b"\0" * 40,
    "bytes that are no text": lambda text: text + b"\xff\xfe{",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_next_line_begins_anew_after_a_damaged_end(tmp_path: Path, damage: str):
    metrics = tmp_path / "metrics.json"
    metrics.write_bytes(DAMAGES[damage](b'{"iteration": 9}\n{"iteration": 19}\n'))

    cut_back(metrics, 20)
    with metrics.open("a") as file:
        file.write('{"iteration": 29}\n')

    assert iterations_in(metrics) == [9, 19, 29]


def test_an_attempt_that_has_the_former_file_open_adds_nothing_any_more(tmp_path: Path):
    metrics = tmp_path / "metrics.json"
    metrics.write_text('{"iteration": 9}\n')

    with metrics.open("a") as overtaken:
        cut_back(metrics, 10)
        overtaken.write('{"iteration": 10}\n')

    assert metrics.read_text() == '{"iteration": 9}\n'


def test_where_nothing_has_been_written_nothing_is_cut_off(tmp_path: Path):
    cut_back(tmp_path / "missing.json", 10)

    assert list(tmp_path.iterdir()) == []
