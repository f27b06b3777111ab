"""Samples whose images are sound, and what becomes of those whose images are not."""

from __future__ import annotations

import errno
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("detectron2", reason="needs detectron2")

import torch
from detectron2.data import DatasetMapper
from detectron2.data import transforms as T
from PIL import Image

from launcher.train.samples.mapped import MappedSamples
from launcher.train.samples.order import SampleOrder, each_once, subset_once

RECORDS = [{"file_name": f"{number}.png", "number": number} for number in range(12)]


def order(**changed: object) -> SampleOrder:
    return SampleOrder(**{"seed": 5, "factors": each_once(12), "is_wide": None, "batch_size": 4, **changed})


def samples(mapper: Callable, *, most_tried: int = 4, **changed: object) -> MappedSamples:
    return MappedSamples(RECORDS, mapper, order=order(**changed), most_tried=most_tried)


def refusing(*numbers: int) -> Callable:
    def mapper(record: dict) -> dict:
        if record["file_name"] in {f"{number}.png" for number in numbers}:
            raise ValueError(f"{record['file_name']} is\n  odd")
        return record

    return mapper


def randomly(record: dict) -> dict:
    return {**record, "drawn": (random.random(), np.random.random_sample(), torch.rand(()).item())}


def test_a_sample_is_mapped_with_randomness_of_its_position_and_leaves_that_of_the_process_alone():
    mapped = samples(randomly)
    state = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

    first, again, elsewhere = mapped[7, 3], mapped[7, 3], mapped[8, 3]

    assert first == again
    assert all(a != b for a, b in zip(first.sample["drawn"], elsewhere.sample["drawn"], strict=True))
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == state


def test_an_unusable_image_is_replaced_by_the_same_one_every_time_and_reported():
    mapped = samples(refusing(3))

    first, again, elsewhere = mapped[7, 3], mapped[7, 3], [mapped[position, 3] for position in range(40)]

    assert first == again
    assert elsewhere == [samples(refusing(3))[position, 3] for position in range(40)]
    assert [(image.file, image.reason) for image in first.bad] == [("3.png", "ValueError: 3.png is odd")]
    assert {one.sample["number"] for one in elsewhere} == set(range(12)) - {3}


def test_a_replacement_that_is_unusable_too_is_replaced():
    mapped = samples(refusing(*range(11)), most_tried=12)

    loaded = [mapped[position, 3] for position in range(10)]

    assert {one.sample["number"] for one in loaded} == {11}
    assert all(len({image.file for image in one.bad}) == len(one.bad) >= 1 for one in loaded)


def test_replacements_come_from_the_chosen_samples_only():
    factors = subset_once(12, 0.5, seed=1)
    chosen = np.flatnonzero(factors).tolist()
    mapped = samples(refusing(chosen[0]), factors=factors)

    replaced = {mapped[position, chosen[0]].sample["number"] for position in range(60)}

    assert replaced == set(chosen[1:])


def test_no_more_are_tried_than_allowed():
    tried = []

    def mapper(record: dict) -> None:
        tried.append(record["number"])

    loaded = samples(mapper)[7, 3]

    assert loaded.sample is None
    assert len(tried) == len(loaded.bad) == 4
    assert loaded.bad[0].reason == "the mapper gave nothing for it"


def test_when_none_is_left_there_is_no_sample():
    loaded = samples(refusing(*range(12)), most_tried=100)[7, 3]

    assert loaded.sample is None
    assert sorted(image.file for image in loaded.bad) == sorted(record["file_name"] for record in RECORDS)


@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.EMFILE, "Too many open files")])
def test_what_is_the_machines_fault_is_not_blamed_on_an_image(error: Exception):
    def mapper(_: dict) -> dict:
        raise error

    with pytest.raises(type(error)):
        samples(mapper)[7, 3]


def test_a_long_reason_is_cut():
    def mapper(record: dict) -> dict:
        if record["file_name"] == "3.png":
            raise ValueError("x" * 10_000)
        return record

    assert len(samples(mapper)[7, 3].bad[0].reason) < 250


def damaged(damage: str, sound: Path) -> Path:
    content = sound.read_bytes()
    if damage == "missing":
        sound.unlink()
    elif damage == "empty":
        sound.write_bytes(b"")
    elif damage == "truncated":
        sound.write_bytes(content[: len(content) // 2])
    elif damage == "no image":
        sound.write_bytes(b"<html>404</html>" * 20)
    elif damage == "header only":
        sound.write_bytes(content[:20])
    elif damage == "another size":
        Image.new("RGB", (31, 17)).save(sound)
    elif damage == "a folder":
        sound.unlink()
        sound.mkdir()
    return sound


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize(
    "damage", ["missing", "empty", "truncated", "no image", "header only", "another size", "a folder"]
)
@pytest.mark.parametrize("num_bad", [1, 2, 3])
def test_every_kind_of_unusable_image_is_replaced_until_none_is_left(
    suffix: str, damage: str, num_bad: int, tmp_path: Path
):
    pixels = np.random.RandomState(0).randint(0, 255, (48, 64, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / f"0{suffix}")
    files = [tmp_path / f"{number}{suffix}" for number in range(3)]
    for file in files[1:]:
        shutil.copy(files[0], file)
    bad = {str(damaged(damage, file)) for file in files[:num_bad]}
    records = [{"file_name": str(file), "width": 64, "height": 48} for file in files]
    mapper = DatasetMapper(is_train=True, augmentations=[T.RandomFlip()], image_format="BGR")

    mapped = MappedSamples(records, mapper, order=order(factors=each_once(3)), most_tried=10)
    loaded = [mapped[position, position % 3] for position in range(6)]

    assert {image.file for one in loaded for image in one.bad} == bad
    assert all((one.sample is None) == (num_bad == 3) for one in loaded)
    assert all(one.sample is None or one.sample["file_name"] not in bad for one in loaded)
