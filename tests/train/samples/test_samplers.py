"""Our order of samples beside detectron2's own samplers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest

from launcher.errors import RequestError

pytest.importorskip("detectron2", reason="needs detectron2")

from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.build import _train_loader_from_config

from launcher.train.samples.samplers import FACTORS, WEIGH_DATASETS, sample_order, train_records, why_not_exact

COMMON, RARE = 0, 1
NAMES = ("samplers_test_a", "samplers_test_b")


def record(number: int, categories: tuple[int, ...]) -> dict:
    annotations = [{"category_id": category, "iscrowd": 0, "bbox": [0, 0, 2, 2]} for category in categories]
    return {"file_name": f"{number}.jpg", "width": 4 + number % 3, "height": 5, "annotations": annotations}


A = [record(number, (COMMON, RARE) if number == 3 else (COMMON,)) for number in range(9)] + [record(9, ())]
B = [record(number, (COMMON,) if number % 2 else (RARE,)) for number in range(10, 16)]


@pytest.fixture(autouse=True)
def _two_datasets() -> Iterator[None]:
    for name, records in zip(NAMES, (A, B), strict=True):
        DatasetCatalog.register(name, lambda records=records: records)
        MetadataCatalog.get(name).thing_classes = ["common", "rare"]
    yield
    for name in NAMES:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def config(sampler: str):
    cfg = get_cfg()
    cfg.SEED = 4
    cfg.DATASETS.TRAIN = NAMES
    cfg.DATALOADER.SAMPLER_TRAIN = sampler
    cfg.DATALOADER.REPEAT_THRESHOLD = 0.6
    cfg.DATALOADER.RANDOM_SUBSET_RATIO = 0.5
    cfg.DATASETS.TRAIN_REPEAT_FACTOR = [(NAMES[0], 1.5), (NAMES[1], 0.7)]
    return cfg


@pytest.mark.parametrize("sampler", [name for name in FACTORS if name != "RandomSubsetTrainingSampler"])
@pytest.mark.parametrize("keeps_empty", [False, True])
def test_every_sample_comes_as_often_as_with_detectron2s_sampler(sampler: str, keeps_empty: bool):
    cfg = config(sampler)
    cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS = not keeps_empty
    epochs = 1500

    order = sample_order(cfg, train_records(cfg), seed=4)
    ours = np.concatenate([order.epoch(number) for number in range(epochs)])

    theirs = list(itertools.islice(iter(_train_loader_from_config(cfg, mapper=len)["sampler"]), len(ours)))
    size = len(order.factors)
    assert size == 16 - (not keeps_empty)
    in_ours, in_theirs = (np.bincount(counted, minlength=size) / epochs for counted in (ours, theirs))
    assert in_ours == pytest.approx(in_theirs, abs=0.09)  # five standard deviations of their difference
    assert in_ours == pytest.approx(order.factors, abs=0.065)


@pytest.mark.parametrize("sampler", ["RepeatFactorTrainingSampler", *WEIGH_DATASETS])
@pytest.mark.parametrize("weights", [[(NAMES[1], 0.7)], []])
def test_factors_are_detectron2s_also_where_a_data_set_has_none_of_its_own(sampler: str, weights: list):
    cfg = config(sampler)
    cfg.DATASETS.TRAIN_REPEAT_FACTOR = weights

    theirs = _train_loader_from_config(cfg, mapper=len)["sampler"]

    factors = (theirs._int_part + theirs._frac_part).numpy()
    assert sample_order(cfg, train_records(cfg), seed=4).factors == pytest.approx(factors, abs=1e-6)


def test_the_samplers_of_this_test_do_not_all_mean_the_same():
    orders = [sample_order(config(name), train_records(config(name)), seed=4) for name in FACTORS]

    assert len({tuple(order.factors) for order in orders}) == len(FACTORS)


@pytest.mark.parametrize("ratio", [0.1, 0.5, 1.0])
def test_a_random_subset_is_as_large_as_detectron2s(ratio: float):
    cfg = config("RandomSubsetTrainingSampler")
    cfg.DATALOADER.RANDOM_SUBSET_RATIO = ratio
    epoch = sample_order(cfg, train_records(cfg), seed=4).epoch(0).tolist()

    stream = iter(_train_loader_from_config(cfg, mapper=len)["sampler"])

    assert len(set(epoch)) == len(epoch)
    assert len(epoch) == len(set(itertools.islice(stream, 100)))


def test_samples_are_grouped_by_shape_only_where_asked():
    cfg = config("TrainingSampler")
    wide = sample_order(cfg, train_records(cfg), seed=4).is_wide
    cfg.DATALOADER.ASPECT_RATIO_GROUPING = False

    assert wide.tolist() == [record["width"] > record["height"] for record in A[:9] + B]
    assert 0 < wide.sum() < len(wide)
    assert sample_order(cfg, train_records(cfg), seed=4).is_wide is None


@pytest.mark.parametrize(
    ("sampler", "changed", "said"),
    [
        ("RandomSubsetTrainingSampler", {"DATALOADER.RANDOM_SUBSET_RATIO": 0.01}, r"leaves nothing of 15 images"),
        ("RandomSubsetTrainingSampler", {"DATALOADER.RANDOM_SUBSET_RATIO": 1.5}, r"Give a number from 0\.067 to 1"),
        ("WeightedTrainingSampler", {"DATASETS.TRAIN_REPEAT_FACTOR": [("c", 2.0)]}, r"names c, but DATASETS\.TRAIN"),
        ("WeightedTrainingSampler", {"DATASETS.TRAIN_REPEAT_FACTOR": [(2.0,)]}, r"Give \[\[NAME,FACTOR\],\.\.\.\]"),
        ("WeightedTrainingSampler", {"DATASETS.TRAIN_REPEAT_FACTOR": [(NAMES[0], -1.0)]}, r"factors are 0 or more"),
        (
            "WeightedTrainingSampler",
            {"DATASETS.TRAIN_REPEAT_FACTOR": [(n, 0.0) for n in NAMES]},
            r"one of them is more",
        ),
        ("WeightedCategoryTrainingSampler", {"DATASETS.TRAIN_REPEAT_FACTOR": [(NAMES[0], 0.0)]}, r"more than 0"),
    ],
)
def test_settings_that_no_sampler_can_follow_are_refused(sampler: str, changed: dict, said: str):
    cfg = config(sampler)
    for key, value in changed.items():
        node, _, name = key.rpartition(".")
        setattr(getattr(cfg, node), name, value)

    with pytest.raises(RequestError, match=said):
        sample_order(cfg, train_records(cfg), seed=4)


def test_counting_categories_without_annotations_is_refused():
    cfg = config("RepeatFactorTrainingSampler")
    parts = [[{"file_name": "a.jpg", "width": 1, "height": 1}]]

    with pytest.raises(RequestError, match="images without annotations"):
        sample_order(cfg, parts, seed=4)


@pytest.mark.parametrize(
    ("parts", "grouped", "said"),
    [
        ([[record(1, (COMMON,))]], True, ""),
        ([[{"file_name": "a.jpg"}]], True, "without width and height"),
        ([[{"file_name": "a.jpg"}]], False, ""),
        ([range(3)], False, "not a list of records"),
    ],
)
def test_only_lists_of_records_of_known_shape_have_an_order_that_can_be_continued(
    parts: list, grouped: bool, said: str
):
    cfg = config("TrainingSampler")
    cfg.DATALOADER.ASPECT_RATIO_GROUPING = grouped

    reason = why_not_exact(cfg, parts)

    assert said in reason
    assert bool(said) == bool(reason)
