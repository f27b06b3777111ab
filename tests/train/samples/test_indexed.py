"""Records that are decoded when needed, against those that detectron2 loads."""

from __future__ import annotations

import itertools
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from detectron2.config import get_cfg
from detectron2.data import (
    DatasetCatalog,
    MetadataCatalog,
    build_detection_test_loader,
    get_detection_dataset_dicts,
)
from detectron2.data.datasets import register_coco_instances
from detectron2.data.datasets.coco import load_coco_json
from hypothesis import HealthCheck, event, example, given, settings

from launcher.data.index.build import build_index
from launcher.data.index.columns import write_index
from launcher.data.index.scan import NotIndexableError
from launcher.data.index.store import IndexFacts, IndexStore
from launcher.data.plan import CocoSplit
from launcher.errors import DataError
from launcher.train.samples.indexed import IndexedRecords, open_records, open_split
from launcher.train.samples.loader import build_test_loader, build_train_loader
from launcher.train.samples.register import register_datasets, register_indexes
from launcher.train.samples.samplers import FACTORS, sample_order, train_records
from tests.data.index.coco_texts import coco_texts, entries, odd_entries

NAMES = ("indexed_test_a", "indexed_test_b")
ROOT = "/some/images"


@pytest.fixture(autouse=True)
def _registered_for_a_test() -> Iterator[None]:
    forget()
    yield
    forget()


def forget() -> None:
    for name in NAMES:
        if name in DatasetCatalog:
            DatasetCatalog.remove(name)
        if name in MetadataCatalog:
            MetadataCatalog.remove(name)


def split_of(file: Path, name: str = NAMES[0]) -> CocoSplit:
    index = build_index(file, num_processes=1)
    path = file.with_suffix(".index")
    write_index(index, path)
    facts = IndexFacts(content=index.content, path=str(path), size=0, unusable=index.unusable)
    return CocoSplit(name=name, json=str(file), images=ROOT, index=facts)


def plain(value: Any) -> Any:
    """Comparable also in the types of numbers, and in the order of keys."""
    return repr(value)


def one_category(category: dict[str, Any]) -> bytes:
    image = {"id": 0, "file_name": "a.jpg", "height": 9, "width": 9}
    annotation = {"id": 0, "image_id": 0, "category_id": 0, "bbox": [1, 1, 2, 2]}
    return json.dumps({"images": [image], "annotations": [annotation], "categories": [category]}).encode()


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=coco_texts(entries()) | coco_texts(odd_entries()))
@example(text=one_category({"id": 0, "name": ""}))
@example(text=one_category({"id": 0, "name": "a", "keypoints": 5}))
def test_records_are_those_of_detectron2_or_the_index_says_that_it_has_none(text: bytes, tmp_path: Path):
    file = tmp_path / "train.json"
    file.write_bytes(text)
    forget()
    try:
        split = split_of(file)
    except NotIndexableError:
        event("not indexable")
        return
    if split.index is None or split.index.unusable:
        event("unusable")
        assert open_split(split) is None
        return
    event("indexed")
    theirs = load_coco_json(str(file), ROOT, NAMES[0])
    metadata = MetadataCatalog.get(NAMES[0]).as_dict()
    forget()

    ours = open_records_of(split)

    assert [plain(ours[place]) for place in range(len(ours))] == [plain(record) for record in theirs]
    assert {key: metadata[key] for key in ("thing_classes", "thing_dataset_id_to_contiguous_id")}.items() <= (
        MetadataCatalog.get(NAMES[0]).as_dict().items()
    )


def open_records_of(*splits: CocoSplit, filter_empty: bool = False, min_keypoints: int = 0) -> Any:
    register_datasets(splits)
    names = [split.name for split in splits]
    records = open_records(names, filter_empty=filter_empty, min_keypoints=min_keypoints)
    assert records is not None
    return records


def write(file: Path, seed: int, num_images: int = 12) -> Path:
    """Images without annotations, with crowds only, without a polygon, and with few keypoints are among them."""
    numbers = np.random.default_rng(seed)
    annotations = []
    for one in range(30):
        annotations.append(
            {
                "id": one + 1,
                "image_id": int(numbers.integers(num_images)),
                "category_id": int(numbers.choice([2, 5, 9], p=[0.8, 0.15, 0.05])),
                "bbox": [1, 2, 3, 4],
                "iscrowd": int(numbers.random() < 0.3),
                "segmentation": [[1, 2, 3, 4]] if numbers.random() < 0.4 else [[1, 2, 3, 4, 5, 6]],
                "keypoints": [1, 2, int(numbers.integers(3)), 4, 5, 2],
            }
        )
    images = [
        {"id": one, "file_name": f"{one}.jpg", "width": 40 + int(numbers.integers(3)), "height": 41}
        for one in numbers.permutation(num_images).tolist()
    ]
    categories = [{"id": one, "name": f"class {one}"} for one in (9, 2, 5)]
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return file


@pytest.mark.parametrize("filter_empty", [False, True])
@pytest.mark.parametrize("min_keypoints", [0, 1, 4])
@pytest.mark.parametrize("seed", range(5))
def test_images_are_left_out_as_by_detectron2(tmp_path: Path, filter_empty: bool, min_keypoints: int, seed: int):
    splits = [split_of(write(tmp_path / f"{name}.json", seed + 10 * n), name) for n, name in enumerate(NAMES)]

    ours = open_records_of(*splits, filter_empty=filter_empty, min_keypoints=min_keypoints)
    theirs = get_detection_dataset_dicts(list(NAMES), filter_empty=filter_empty, min_keypoints=min_keypoints)

    assert [plain(ours[place]) for place in range(len(ours))] == [plain(record) for record in theirs]
    assert len(theirs) < 24 or not (filter_empty or min_keypoints)
    assert ours.is_wide().tolist() == [record["width"] > record["height"] for record in theirs]


@pytest.mark.parametrize("sampler", sorted(FACTORS))
@pytest.mark.parametrize("filter_empty", [False, True])
def test_the_order_of_samples_is_that_of_records_in_memory(tmp_path: Path, sampler: str, filter_empty: bool):
    cfg = get_cfg()
    cfg.DATASETS.TRAIN = NAMES
    cfg.DATALOADER.SAMPLER_TRAIN = sampler
    cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS = filter_empty
    cfg.DATALOADER.REPEAT_THRESHOLD = 0.5
    cfg.DATALOADER.RANDOM_SUBSET_RATIO = 0.5
    cfg.DATASETS.TRAIN_REPEAT_FACTOR = [(NAMES[0], 1.5)]
    splits = [split_of(write(tmp_path / f"{name}.json", 3 + n), name) for n, name in enumerate(NAMES)]

    register_datasets(splits)
    ours = sample_order(cfg, train_records(cfg), seed=4)
    forget()
    register_datasets([CocoSplit(name=split.name, json=split.json, images=split.images) for split in splits])
    parts = train_records(cfg)
    theirs = sample_order(cfg, parts, seed=4)

    assert all(isinstance(part, list) for part in parts)
    assert ours.factors.tolist() == theirs.factors.tolist()
    assert ours.is_wide.tolist() == theirs.is_wide.tolist()
    assert ours.epoch(2).tolist() == theirs.epoch(2).tolist()


def test_another_process_opens_the_files_for_itself(tmp_path: Path):
    records = open_records_of(split_of(write(tmp_path / "a.json", 1)))

    again = pickle.loads(pickle.dumps(records))

    assert len(pickle.dumps(records)) < 3000
    assert [plain(again[place]) for place in range(len(again))] == [
        plain(records[place]) for place in range(len(records))
    ]


def test_a_file_that_changed_after_planning_is_refused(tmp_path: Path):
    split = split_of(write(tmp_path / "a.json", 1))
    write(tmp_path / "a.json", 2)

    with pytest.raises(DataError, match=r"a\.json has changed since the run was planned. Start the same command again"):
        open_records_of(split)


def test_a_file_that_is_changed_in_place_during_training_ends_it(tmp_path: Path):
    file = write(tmp_path / "a.json", 1)
    records = open_records_of(split_of(file))
    text = file.read_text()
    with open(file, "r+") as there:
        there.write(text.replace("[1, 2, 3, 4]", "[1, 2, 9, 4]"))

    with pytest.raises(DataError, match="has changed since it was indexed"):
        [records[place] for place in range(len(records))]


@pytest.mark.parametrize("damage", [None, b"", b"D2LINDEX"])
def test_without_a_sound_index_detectron2_reads_the_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: bytes | None
):
    split = split_of(write(tmp_path / "a.json", 1))
    assert split.index is not None
    if damage is None:
        Path(split.index.path).unlink()
    else:
        Path(split.index.path).write_bytes(damage)
    cfg = get_cfg()
    cfg.DATASETS.TRAIN = NAMES[:1]
    register_datasets([split])

    (records,) = train_records(cfg)

    assert isinstance(records, list)
    assert "Annotations are read into memory: the index cannot be used" in caplog.text


def test_what_cannot_be_indexed_has_records_all_the_same(tmp_path: Path):
    file = tmp_path / "a.json"
    file.write_text(write(tmp_path / "b.json", 1).read_text().replace('"height": 41', '"height": 41.5', 1))
    indexes = IndexStore(folders=[tmp_path / "cache"], fewest_bytes=0, announce=print)
    opened = indexes.open(file)
    assert opened is not None
    cfg = get_cfg()
    cfg.DATASETS.TRAIN = NAMES[:1]
    register_datasets([CocoSplit(name=NAMES[0], json=str(file), images=ROOT, index=opened.facts)])

    (records,) = train_records(cfg)

    assert "whole numbers as width and height" in opened.facts.unusable
    assert isinstance(records, list)


def test_data_that_detectron2_registers_is_opened_by_its_index(tmp_path: Path):
    split = split_of(write(tmp_path / "a.json", 1))
    assert split.index is not None
    register_coco_instances(NAMES[0], {}, split.json, ROOT)
    register_indexes({NAMES[0]: split.index})
    cfg = get_cfg()
    cfg.DATASETS.TRAIN = NAMES[:1]

    (records,) = train_records(cfg)

    assert isinstance(records, IndexedRecords)
    theirs = get_detection_dataset_dicts(list(NAMES[:1]))
    assert [plain(records[place]) for place in range(len(records))] == [plain(record) for record in theirs]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_evaluation_gets_every_image_in_the_order_of_detectron2(tmp_path: Path, num_workers: int):
    split = split_of(write(tmp_path / "a.json", 1))
    cfg = get_cfg()
    cfg.DATALOADER.NUM_WORKERS = num_workers
    register_datasets([split])

    ours = build_test_loader(cfg, NAMES[0], plain)

    theirs = build_detection_test_loader(cfg, NAMES[0], mapper=plain)
    assert isinstance(ours.dataset._dataset, IndexedRecords)
    assert not isinstance(theirs.dataset._dataset, IndexedRecords)
    assert list(ours) == list(theirs)


def test_a_training_loads_the_same_batches_with_and_without_an_index(tmp_path: Path):
    split = split_of(write(tmp_path / "a.json", 1))
    cfg = get_cfg()
    cfg.DATASETS.TRAIN = NAMES[:1]
    cfg.DATALOADER.NUM_WORKERS = 2
    cfg.SOLVER.IMS_PER_BATCH = 2

    def batches(split: CocoSplit) -> list[str]:
        register_datasets([split])
        loader = build_train_loader(cfg, identity, seed=3, rank=0, num_processes=1)
        made = [plain(batch) for batch in itertools.islice(loader, 20)]
        forget()
        return made

    ours = batches(split)

    assert ours == batches(CocoSplit(name=split.name, json=split.json, images=split.images))


def identity(record: dict[str, Any]) -> dict[str, Any]:
    return record
