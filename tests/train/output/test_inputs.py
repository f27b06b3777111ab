"""The sheet of `launcher data show`: what a model gets of a data set, in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from launcher.config.request import DatasetRequest
from launcher.data.facts import inspect_dataset
from launcher.data.index.store import IndexStore
from launcher.data.plan import plan_dataset
from launcher.errors import ExitCode
from launcher.run.inputs_sheet import DrawnSheet, InputsSheet
from launcher.train.output.inputs import answer
from tests.data.defects import DEFECTS, asked_for, write_clean
from tests.values import changed_keys


@pytest.fixture(autouse=True)
def _catalogs_as_before() -> Iterator[None]:
    yield
    for name in ("fruits_train", "fruits_val"):
        if name in DatasetCatalog:
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)


def sheet(folder: Path, dataset: DatasetRequest, store: IndexStore | None = None, **asked: object) -> InputsSheet:
    small = {"INPUT__MIN_SIZE_TEST": 144, "INPUT__MAX_SIZE_TEST": 400, "MODEL__MASK_ON": True}
    request = asked_for(dataset, **small)
    data = plan_dataset(request, inspect_dataset(dataset, request.keys, indexes=store))
    whole = InputsSheet(
        keys=request.keys.with_(data.adjustments),
        own_code=request.own_code,
        data=data,
        names=("fruits_train",),
        augmented=False,
        class_name="",
        count=4,
        file=str(folder / "sheet.png"),
    )
    return replace(whole, **asked)  # type: ignore[arg-type]


def test_images_are_drawn_evenly_spread_over_the_data_set(tmp_path: Path):
    asked = sheet(tmp_path, write_clean(tmp_path))

    assert answer(asked) == DrawnSheet(drawn=4, chosen=4, available=8)
    drawn = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert drawn.shape[2] == 3
    assert drawn.std() > 20


def test_only_images_with_an_object_of_the_class_are_chosen_also_by_an_index(tmp_path: Path):
    dataset = write_clean(tmp_path)
    one_class = (tmp_path / "train.json").read_text().replace('"category_id": 2', '"category_id": 1')
    (tmp_path / "train.json").write_text(one_class.replace('"category_id": 1', '"category_id": 2', 1))
    store = IndexStore(folders=[tmp_path / "cache"], fewest_bytes=0, announce=lambda _: None)

    read, indexed = (answer(sheet(tmp_path, dataset, one, class_name="fig", count=9)) for one in (None, store))

    assert read == DrawnSheet(drawn=1, chosen=1, available=1)
    assert indexed == read


@pytest.mark.parametrize(("name", "message"), [("fgi", "Did you mean 'fig'"), ("fig", "no image has an object of it")])
def test_a_class_that_is_not_there_is_answered(name: str, message: str, tmp_path: Path):
    dataset = write_clean(tmp_path)
    text = (tmp_path / "train.json").read_text()
    (tmp_path / "train.json").write_text(text.replace('"category_id": 2', '"category_id": 1'))

    answered = answer(sheet(tmp_path, dataset, class_name=name))

    assert message in answered.problem
    assert answered.exit_code == ExitCode.request_wrong


def test_an_unreadable_image_is_left_out_and_counted(tmp_path: Path):
    dataset = write_clean(tmp_path)
    DEFECTS["truncated image"].spoil(tmp_path)

    assert answer(sheet(tmp_path, dataset, count=8)) == DrawnSheet(drawn=7, chosen=8, available=8)


def test_augmented_images_are_others_and_the_same_every_time(tmp_path: Path):
    dataset = write_clean(tmp_path)
    sheets = {}
    for name, augmented in (("plain", False), ("one", True), ("again", True)):
        file = tmp_path / f"{name}.png"
        answer(sheet(tmp_path, dataset, augmented=augmented, file=str(file)))
        sheets[name] = file.read_bytes()

    assert sheets["one"] == sheets["again"] != sheets["plain"]


def test_without_augmentation_the_settings_of_augmentation_change_nothing(tmp_path: Path):
    asked = sheet(tmp_path, write_clean(tmp_path))
    answer(asked)
    drawn = (tmp_path / "sheet.png").read_bytes()
    other = changed_keys(asked.keys, INPUT__RANDOM_FLIP="vertical", INPUT__CROP__ENABLED=True)

    answer(replace(asked, keys=other))

    assert (tmp_path / "sheet.png").read_bytes() == drawn
