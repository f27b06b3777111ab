"""Images of more than 8 bits per value, and what the model gets of them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.data import DatasetMapper, detection_utils
from PIL import Image

from launcher.errors import DataError
from launcher.train.evaluation.blank_images import EvaluatorWithBlanks, MapperWithBlanks
from launcher.train.samples.loader import TrainLoader
from launcher.train.samples.order import SampleOrder, each_once
from launcher.train.samples.pixels import UnclearPixelsError, read_deep_pixels, take_notes


@pytest.fixture(autouse=True)
def _as_in_a_worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(detection_utils, "convert_PIL_to_numpy", detection_utils.convert_PIL_to_numpy)
    read_deep_pixels("BGR")
    yield
    take_notes()


def saved(values: Any, kind: str, file: Path) -> str:
    Image.fromarray(np.array([values], dtype=kind)).save(file)
    return str(file)


@pytest.mark.parametrize(
    ("kind", "suffix", "values", "expected"),
    [
        ("uint16", "png", [0, 25700, 25900, 65535], [0, 100, 101, 255]),
        ("uint16", "tif", [0, 25700, 25900, 65535], [0, 100, 101, 255]),
        (">u2", "tif", [0, 25700, 65535], [0, 100, 255]),
        ("int32", "tif", [0, 25700, 65535], [0, 100, 255]),
        ("float32", "tif", [0.0, 0.2, 1.0], [0, 51, 255]),
        ("float32", "tif", [0.0, 100.4, 254.6], [0, 100, 255]),
        ("uint8", "png", [0, 100, 255], [0, 100, 255]),
    ],
)
@pytest.mark.parametrize("image_format", ["BGR", "RGB", "L"])
def test_pixels_are_scaled_by_their_type(
    tmp_path: Path, kind: str, suffix: str, values: list[float], expected: list[int], image_format: str
):
    read_deep_pixels(image_format)

    read = detection_utils.read_image(saved(values, kind, tmp_path / f"a.{suffix}"), image_format)

    assert read.dtype == np.uint8
    assert all(read[0, :, channel].tolist() == expected for channel in range(read.shape[2]))


@pytest.mark.parametrize(
    ("kind", "values"),
    [("float32", [0, 4000]), ("float32", [-1, 1]), ("float32", [0, np.nan]), ("int32", [0, 70000]), ("int32", [-5, 5])],
)
def test_pixels_of_unknown_white_are_refused_by_the_name_of_the_image(tmp_path: Path, kind: str, values: list[float]):
    loader = loader_of(saved(values, kind, tmp_path / "a.tif"), len(values))

    with pytest.raises(DataError, match=r"a\.tif: UnclearPixelsError: pixels are .*which value is white"):
        next(iter(loader))


def test_labels_stay_the_numbers_that_they_are(tmp_path: Path):
    assert detection_utils.read_image(saved([0, 7, 255], "uint16", tmp_path / "a.png"), "L").ravel().tolist() == [
        0,
        7,
        255,
    ]
    with pytest.raises(UnclearPixelsError, match="labels go from 0 to 300"):
        detection_utils.read_image(saved([0, 300], "uint16", tmp_path / "b.png"), "L")


def loader_of(file: str, width: int, num_workers: int = 0) -> TrainLoader:
    records = [{"file_name": file, "width": width, "height": 1}]
    order = SampleOrder(seed=5, factors=each_once(1), is_wide=None, batch_size=2)
    mapper = DatasetMapper(is_train=True, augmentations=[], image_format="BGR")
    return TrainLoader(records, mapper, order=order, rank=0, num_processes=1, num_workers=num_workers)


def _about(file: str, caplog: pytest.LogCaptureFixture) -> list[str]:
    """What is logged of that file; other libraries may log too."""
    return [message for message in caplog.messages if message.startswith(str(file))]


@pytest.mark.parametrize("num_workers", [0, 1])
def test_how_images_are_scaled_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture, num_workers: int):
    file = saved([0, 25700], "uint16", tmp_path / "a.png")

    batches = iter(loader_of(file, 2, num_workers))
    with caplog.at_level(logging.WARNING):
        images = [one["image"] for _ in range(2) for one in next(batches)]

    assert all(torch.equal(image, torch.tensor([[[0, 100]]] * 3, dtype=torch.uint8)) for image in images)
    assert _about(file, caplog) == [
        f"{file} is a 16-bit image: 0 to 65535 become 0 to 255; its brightest value is 25700, which becomes 100"
    ]


def test_an_evaluation_gets_the_same_pixels_and_tells_it_too(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    file = saved([0, 25700], "uint16", tmp_path / "a.png")
    mapper = MapperWithBlanks(DatasetMapper(is_train=False, augmentations=[], image_format="BGR"))
    sample = mapper({"file_name": file, "width": 2, "height": 1})
    assert sample is not None

    class Nothing:
        def process(self, *_: object) -> None: ...

    with caplog.at_level(logging.WARNING):
        EvaluatorWithBlanks(Nothing(), lambda *_: None).process([sample], [{}])  # type: ignore[arg-type]

    assert sample["image"][0].tolist() == [[0, 100]]
    assert [message.partition(":")[0] for message in _about(file, caplog)] == [f"{file} is a 16-bit image"]
