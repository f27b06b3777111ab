"""Loading batches, with and without loader processes."""

from __future__ import annotations

import itertools
import logging
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from launcher.errors import DataError, RequestError

pytest.importorskip("detectron2", reason="needs detectron2")

import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.data import DatasetCatalog, DatasetMapper, MetadataCatalog, build_detection_test_loader
from detectron2.data.datasets import register_coco_instances

from launcher.train.samples import lost
from launcher.train.samples.loader import TrainLoader, build_train_loader, undisturbed
from launcher.train.samples.order import SampleOrder, each_once

NAME = "loader_test"
FORK = multiprocessing.get_context("fork")


@pytest.fixture
def cfg(small_demo: Path) -> Iterator[CfgNode]:
    register_coco_instances(NAME, {}, str(small_demo / "train.json"), str(small_demo / "train"))
    cfg = get_cfg()
    cfg.DATASETS.TRAIN = (NAME,)
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.SOLVER.IMS_PER_BATCH = 4
    cfg.INPUT.MIN_SIZE_TRAIN = (64, 80, 96)
    cfg.INPUT.CROP.ENABLED = True
    yield cfg
    DatasetCatalog.remove(NAME)
    MetadataCatalog.remove(NAME)


def build(cfg: CfgNode, *, mapper=None, seed: int = 3, rank: int = 0, num_processes: int = 1):
    mapper = mapper or DatasetMapper(cfg, is_train=True)
    return build_train_loader(cfg, mapper, seed=seed, rank=rank, num_processes=num_processes)


def small(mapper, *, size: int = 12, max_bad: int = 2, num_workers: int = 0) -> TrainLoader:
    """A loader of records that are numbers."""
    records = [{"file_name": f"{number}.png", "number": number} for number in range(size)]
    order = SampleOrder(seed=5, factors=each_once(size), is_wide=None, batch_size=4)
    loader = TrainLoader(records, mapper, order=order, rank=0, num_processes=1, num_workers=num_workers)
    loader.max_bad = max_bad
    return loader


def take(loader, count: int) -> list:
    return list(itertools.islice(iter(loader), count))


def content(batches: list) -> list:
    """Everything that a model would get, to be compared bit for bit."""
    return [
        [
            (one["file_name"], one["image"].numpy().tobytes(), one["instances"].gt_boxes.tensor.numpy().tobytes())
            for one in batch
        ]
        for batch in batches
    ]


def test_the_same_tensors_come_from_any_number_of_loader_processes(cfg: CfgNode):
    expected = content(take(build(cfg), 6))

    for num_workers in (1, 2):
        cfg.DATALOADER.NUM_WORKERS = num_workers
        assert content(take(build(cfg), 6)) == expected

    assert len(set(itertools.chain(*expected))) == 24  # augmentation is random: no sample came twice
    assert content(take(build(cfg, seed=4), 6)) != expected


def test_loading_resumes_where_it_was_interrupted_whatever_was_loaded_ahead(cfg: CfgNode):
    expected = content(take(build(cfg), 7))
    cfg.DATALOADER.NUM_WORKERS = 2
    interrupted = build(cfg)
    batches = iter(interrupted)
    before = content([next(batches) for _ in range(3)])
    state = interrupted.state_dict()
    del batches

    continued = build(cfg)
    continued.load_state_dict(state)

    assert before + content(take(continued, 4)) == expected


def test_the_total_batch_is_the_same_for_any_number_of_processes(cfg: CfgNode):
    expected = [sorted(batch) for batch in content(take(build(cfg), 4))]

    for num_processes in (2, 4):
        ranks = [content(take(build(cfg, rank=r, num_processes=num_processes), 4)) for r in range(num_processes)]
        assert [sorted(itertools.chain(*shares)) for shares in zip(*ranks, strict=True)] == expected
        assert {len(share) for shares in ranks for share in shares} == {4 // num_processes}


def test_a_loader_can_be_set_to_an_iteration_and_every_iterator_resumes_where_the_loader_stands(cfg: CfgNode):
    expected = content(take(build(cfg), 6))

    loader = build(cfg)
    loader.skip_to(2)

    assert content(take(loader, 2)) == expected[2:4]
    assert content(take(loader, 2)) == expected[4:6]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_loading_draws_none_of_the_trainings_random_numbers(num_workers: int):
    def state() -> tuple:
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

    before = state()

    take(small(lambda record: {**record, "drawn": torch.rand(())}, num_workers=num_workers), 3)

    assert state() == before


def test_samples_are_those_that_detectron2_would_train_on(cfg: CfgNode):
    from detectron2.data import build_detection_train_loader

    theirs = next(iter(build_detection_train_loader(cfg)))[0]
    ours = take(build(cfg), 1)[0][0]

    assert ours.keys() == theirs.keys()
    assert ours["instances"].get_fields().keys() == theirs["instances"].get_fields().keys()
    assert (ours["image"].dtype, ours["image"].ndim) == (theirs["image"].dtype, theirs["image"].ndim)


class Endless:
    """Somebody else's loader, which starts its processes with its first batch."""

    def __iter__(self):
        loader = torch.utils.data.DataLoader(
            range(1000), num_workers=2, batch_size=1, collate_fn=lambda _: [{"process": os.getpid()}]
        )
        yield from loader


@pytest.mark.parametrize("kind", ["ours", "another"])
def test_a_signal_to_every_process_of_a_job_leaves_the_loader_processes_alive(kind: str):
    ours = small(lambda record: {**record, "process": os.getpid()}, num_workers=2)
    batches = iter(ours) if kind == "ours" else undisturbed(Endless())
    processes = {one["process"] for batch in (next(batches), next(batches)) for one in batch}

    for process in processes:
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(process, number)
    time.sleep(0.1)
    # More batches than were loaded ahead.
    after = {one["process"] for _ in range(12) for one in next(batches)}

    assert len(processes) == 2
    assert after == processes
    assert os.getpid() not in processes
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & {signal.SIGTERM, signal.SIGINT}


KEPT = []


def _load_and_keep_the_iterator() -> None:
    KEPT.append(iter(small(dict, num_workers=2)))
    next(KEPT[0])


def _evaluate_and_keep_the_iterator(cfg: CfgNode) -> None:
    cfg.DATALOADER.NUM_WORKERS = 2
    KEPT.append(undisturbed(build_detection_test_loader(cfg, NAME, mapper=dict)))
    next(KEPT[0])


@pytest.mark.parametrize("evaluates", [False, True])
def test_a_process_that_still_has_loader_processes_can_end(evaluates: bool, cfg: CfgNode):
    process = (
        FORK.Process(target=_evaluate_and_keep_the_iterator, args=(cfg,))
        if evaluates
        else FORK.Process(target=_load_and_keep_the_iterator)
    )

    process.start()
    process.join(timeout=120)
    exit_code = process.exitcode
    process.kill()

    assert exit_code == 0


def refusing(*numbers: int):
    def mapper(record: dict) -> dict:
        if record["file_name"] in {f"{number}.png" for number in numbers}:
            raise ValueError("odd")
        return record

    return mapper


@pytest.mark.parametrize("num_workers", [0, 1])
def test_unusable_images_are_counted_by_file_and_reported_once(num_workers: int, caplog: pytest.LogCaptureFixture):
    loader = small(refusing(2, 9), num_workers=num_workers)

    with caplog.at_level(logging.WARNING):
        batches = take(loader, 30)  # ten epochs

    assert {len(batch) for batch in batches} == {4}
    assert all(one["number"] not in (2, 9) for batch in batches for one in batch)
    assert set(loader.bad) == {"2.png", "9.png"}
    assert all(image.times >= 10 for image in loader.bad.values())
    assert sorted(line.split()[0] for line in caplog.messages) == ["2.png", "9.png"]


def test_unusable_images_are_replaced_alike_after_an_interruption():
    expected = take(small(refusing(2, 9)), 9)
    interrupted = small(refusing(2, 9))
    before = take(interrupted, 4)

    continued = small(refusing(2, 9), num_workers=1)
    continued.load_state_dict(interrupted.state_dict())

    assert before + take(continued, 5) == expected


@pytest.mark.parametrize("num_workers", [0, 1])
def test_more_unusable_images_than_tolerated_end_the_training_with_their_names(num_workers: int):
    loader = small(refusing(1, 2, 3), num_workers=num_workers)

    with pytest.raises(DataError, match=r"More training images than dataset\.max_bad=2 cannot be used:\n") as ended:
        take(loader, 30)

    assert all(f"{number}.png: ValueError: odd" in str(ended.value) for number in (1, 2, 3))


def test_none_is_tolerated_where_none_is_allowed():
    with pytest.raises(DataError, match=r"More training images than dataset\.max_bad=0"):
        take(small(refusing(5), max_bad=0), 4)


def test_only_some_of_many_names_are_listed():
    with pytest.raises(DataError, match="and 2 more"):
        take(small(refusing(*range(12)), max_bad=6), 1)


def test_data_of_unusable_images_alone_ends_the_training_however_many_are_tolerated():
    with pytest.raises(DataError, match="No training image can be used"):
        take(small(refusing(0, 1, 2), size=3, max_bad=100), 1)


class Wants:
    """A mapper that fails in its own way."""

    def __init__(self, error: Exception, *, files: tuple[str, ...] = ()) -> None:
        self.error, self.files = error, files

    def __call__(self, record: dict) -> dict:
        if not self.files or f"{record['number']}.npz" in self.files:
            raise self.error
        return record


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize(
    ("mapper", "kind", "said"),
    [
        (
            Wants(ModuleNotFoundError("No module named 'shapely'", name="shapely.geometry")),
            RequestError,
            "pip install shapely",
        ),
        (Wants(ImportError("cannot import name 'x'")), RequestError, "what cannot be imported"),
        (Wants(TypeError("own mistake")), RequestError, "even a blank one .* TypeError: own mistake"),
        (Wants(ValueError("odd depth"), files=("5.npz",)), DataError, "5.png: ValueError: odd depth"),
    ],
    ids=["package", "import", "mapper", "one other file"],
)
def test_what_fails_for_every_image_is_not_blamed_on_one(
    mapper: Wants, kind: type[Exception], said: str, num_workers: int
):
    with pytest.raises(kind, match=said) as ended:
        take(small(mapper, max_bad=0, num_workers=num_workers), 4)

    assert ("Repair" in str(ended.value)) == (kind is DataError)


@pytest.mark.parametrize(
    ("settings", "said"), [({"FORMAT": "BRG"}, "INPUT.FORMAT"), ({"MIN_SIZE_TRAIN": ()}, "MIN_SIZE_")]
)
def test_a_wrong_setting_is_blamed_on_the_settings(cfg: CfgNode, settings: dict, said: str):
    cfg.INPUT.merge_from_other_cfg(CfgNode(settings))
    loader = build(cfg)
    loader.max_bad = 5

    with pytest.raises(RequestError, match=said) as ended:
        take(loader, 3)

    assert "Repair" not in str(ended.value)


def test_annotations_that_cannot_be_used_are_blamed_and_not_their_images(cfg: CfgNode):
    def with_text(record: dict) -> dict:
        record = {
            **record,
            "annotations": [{**one, "bbox": [*map(str, one["bbox"])]} for one in record.get("annotations", [])],
        }
        return DatasetMapper(cfg, is_train=True)(record)

    with pytest.raises(DataError, match=r"its annotations: (.|\n)*correct these images' annotations") as ended:
        take(build(cfg, mapper=with_text), 3)

    assert "Repair" not in str(ended.value)


def test_a_batch_that_cannot_be_handed_over_ends_the_wait_for_it():
    """As where /dev/shm is full: it fails in a thread of the loader process."""

    def mapper(record: dict) -> dict:
        return {**record, "not to be sent": lambda: None}

    began = time.monotonic()
    with pytest.raises(RuntimeError, match=r"exited unexpectedly|killed"):
        take(small(mapper, num_workers=1), 1)

    assert time.monotonic() - began < 60


def test_a_stop_is_heard_while_a_batch_is_waited_for(monkeypatch: pytest.MonkeyPatch):
    def mapper(record: dict) -> dict:
        time.sleep(3600)
        return record

    monkeypatch.setattr(lost, "GRACE_S", 0.5)
    monkeypatch.setattr(lost.STOP, "asked", True)

    with pytest.raises(lost.StoppedWaitingError):
        take(small(mapper, num_workers=1), 1)


def test_a_sampler_that_nobody_knows_is_refused_with_those_that_there_are(cfg: CfgNode):
    cfg.DATALOADER.SAMPLER_TRAIN = "TrainingSampeler"

    with pytest.raises(RequestError, match=r"SAMPLER_TRAIN=TrainingSampeler, but there are TrainingSampler, Repeat"):
        build(cfg)


def test_data_without_an_order_is_loaded_by_detectron2_with_a_warning(cfg: CfgNode, caplog: pytest.LogCaptureFixture):
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return itertools.cycle(records)

    records = DatasetCatalog.get(NAME)
    DatasetCatalog.remove(NAME)
    DatasetCatalog.register(NAME, Stream)

    loader = build(cfg, mapper=DatasetMapper(cfg, is_train=True))

    assert not isinstance(loader, TrainLoader)
    assert len(next(iter(loader))) == 4
    assert "starts over whenever training is resumed" in caplog.text
