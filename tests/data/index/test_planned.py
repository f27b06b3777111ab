"""What a plan says of indexes."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from launcher.config.request import DatasetRequest
from launcher.data.facts import inspect_dataset
from launcher.data.index.store import IndexStore
from launcher.data.plan import DatasetPlan, plan_dataset
from launcher.show.run import show_plan
from tests.data.examples import KEYS, request_for, write_fruits
from tests.values import a_plan, changed_keys

SHORT = {"SOLVER__MAX_ITER": 3, "SOLVER__IMS_PER_BATCH": 2, "MODEL__WEIGHTS": ""}


def plan(dataset: DatasetRequest, cache: Path, keys=KEYS) -> DatasetPlan:
    indexes = IndexStore(folders=[cache], fewest_bytes=0, announce=lambda _: None)
    return plan_dataset(request_for(dataset, keys), inspect_dataset(dataset, keys, indexes=indexes))


def test_the_plan_is_the_same_but_for_the_index(tmp_path: Path):
    dataset = write_fruits(tmp_path)

    indexed = plan(dataset, tmp_path / "cache")

    plain = plan_dataset(request_for(dataset), inspect_dataset(dataset, KEYS))
    assert all(split.index and not split.index.unusable for split in indexed.splits)
    assert replace(indexed, splits=tuple(replace(split, index=None) for split in indexed.splits)) == plain


def test_a_plan_shows_where_an_index_lies_and_how_large_it_is(tmp_path: Path):
    data = plan(write_fruits(tmp_path), tmp_path / "cache")
    console = Console(file=io.StringIO(), width=1000)

    show_plan(a_plan(changed_keys(KEYS, **SHORT).nested(), data=data), console)

    shown = console.file.getvalue()
    for split in data.splits:
        assert split.index is not None
        assert f"index: {split.name} by {split.index.path} (0.0 MB)" in shown


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('"height": 30', '"height": 30.0', "no whole numbers as width and height"),
        ('"info": {}', '"info": {"version": NaN}', "malformed"),
    ],
)
def test_why_there_is_no_index_is_reported(tmp_path: Path, old: str, new: str, why: str):
    dataset = write_fruits(tmp_path)
    file = Path(dataset.train.json)
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))

    notices = plan(dataset, tmp_path / "cache").notices

    (notice,) = (notice for notice in notices if "index" in notice)
    assert why in notice
    assert notice.startswith(f"dataset.train.json={file}: every process reads its annotations into memory")


def test_detectron2s_own_coco_data_gets_an_index_too(tmp_path: Path):
    folder = tmp_path / "coco" / "annotations"
    folder.mkdir(parents=True)
    (tmp_path / "coco" / "val2017").mkdir()
    (tmp_path / "coco" / "val2017" / "1.jpg").touch()
    fruits = Path(write_fruits(tmp_path).val.json)
    (folder / "instances_val2017_100.json").write_bytes(fruits.read_bytes())
    names = ["coco_2017_val_100", "lvis_v1_val"]
    keys = changed_keys(KEYS, DATASETS__TRAIN=names[:1], DATASETS__TEST=names)
    dataset = DatasetRequest(root=str(tmp_path))

    facts = inspect_dataset(
        dataset, keys, indexes=IndexStore(folders=[tmp_path / "cache"], fewest_bytes=0, announce=lambda _: None)
    )

    assert set(facts.indexes) == {"coco_2017_val_100"}
    assert Path(facts.indexes["coco_2017_val_100"].path).exists()
