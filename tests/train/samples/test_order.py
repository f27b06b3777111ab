"""The order of samples, without images."""

from __future__ import annotations

import itertools
import json
from collections import Counter

import numpy as np
import pytest

from launcher.errors import RequestError

pytest.importorskip("torch", reason="needs torch")

from launcher.train.samples.order import BatchStream, SampleOrder, each_once, part_of, subset_once

WIDE = np.arange(23) % 3 > 0


def order(**changed: object) -> SampleOrder:
    return SampleOrder(**{"seed": 5, "factors": each_once(23), "is_wide": WIDE, "batch_size": 4, **changed})


def batches(stream: BatchStream, count: int) -> list:
    return list(itertools.islice(stream, count))


def indices(order: SampleOrder, epochs: int) -> np.ndarray:
    return np.concatenate([order.epoch(number) for number in range(epochs)])


def test_every_sample_comes_once_in_an_epoch_and_in_another_order_in_the_next():
    first, second = order().epoch(0).tolist(), order().epoch(1).tolist()

    assert sorted(first) == sorted(second) == list(range(23))
    assert first != second


def test_the_order_follows_from_the_seed():
    assert order().epoch(3).tolist() == order().epoch(3).tolist()
    assert order().epoch(3).tolist() != order(seed=6).epoch(3).tolist()


def test_the_order_never_changes():
    # A run may go on with a newer numpy, and must go on in the same order.
    expected = [3, 0, 7, 2, 6, 5, 4, 1]

    assert order(factors=each_once(8), is_wide=None).epoch(2).tolist() == expected


def test_every_place_of_the_order_is_equally_likely_for_every_sample():
    orders = np.array([order(factors=each_once(5), seed=seed).epoch(seed % 7) for seed in range(5000)])

    counts = np.array([np.bincount(column, minlength=5) for column in orders.T])

    assert ((counts - 1000) ** 2 / 1000).sum() < 16 * 3  # chi-square with 16 degrees of freedom


def test_a_factor_is_how_often_a_sample_comes_on_average():
    factors = np.array([1.0, 2.3, 0.0, 0.4, 3.0])

    epochs = 2000
    counts = np.bincount(indices(order(factors=factors), epochs), minlength=5)

    assert counts[[0, 2, 4]].tolist() == [epochs, 0, 3 * epochs]
    assert counts[[1, 3]] / epochs == pytest.approx([2.3, 0.4], abs=0.05)  # 4.5 standard deviations


def test_a_fractional_factor_gives_one_of_the_two_next_whole_numbers_in_an_epoch():
    factors = np.array([2.3, 0.4])

    seen = {tuple(np.bincount(order(factors=factors).epoch(number), minlength=2)) for number in range(100)}

    assert seen == {(2, 0), (3, 0), (2, 1), (3, 1)}


def test_a_subset_is_as_large_as_asked_and_another_one_for_another_seed():
    subsets = [subset_once(101, 0.3, seed) for seed in (1, 1, 2)]

    assert [subset.sum() for subset in subsets] == [30, 30, 30]
    assert (subsets[0] == subsets[1]).all()
    assert (subsets[0] != subsets[2]).any()


def test_without_groups_batches_are_the_stream_cut_in_pieces():
    ungrouped = order(is_wide=None)

    places = list(itertools.chain(*batches(BatchStream(ungrouped), 17)))

    assert [position for position, _ in places] == list(range(68))
    assert [index for _, index in places] == indices(ungrouped, 3)[:68].tolist()


def test_with_groups_a_batch_is_all_wide_or_all_others_and_nothing_is_lost_or_repeated():
    stream = BatchStream(order())

    given = batches(stream, 40)

    assert all(len({bool(WIDE[index]) for _, index in batch}) == 1 for batch in given)
    waiting = [tuple(place) for group in stream.state()["groups"] for place in group]
    positions = sorted(position for position, _ in itertools.chain(*given, waiting))
    assert positions == list(range(160 + len(waiting)))
    by_position = dict(itertools.chain(*given, waiting))
    assert [by_position[position] for position in positions] == indices(order(), 8)[: len(positions)].tolist()


def test_batches_come_in_the_order_in_which_detectron2_fills_them():
    data = pytest.importorskip("detectron2.data.common", reason="needs detectron2")
    stream = indices(order(), 6).tolist()
    samples = [{"width": 2 if WIDE[index] else 1, "height": 1, "index": index} for index in stream]

    theirs = [[one["index"] for one in batch] for batch in data.AspectRatioGroupedDataset(samples, 4)]
    ours = [[index for _, index in batch] for batch in batches(BatchStream(order()), len(theirs))]

    assert ours == theirs


@pytest.mark.parametrize("changed", [{}, {"is_wide": None}, {"factors": np.linspace(0, 2.5, 23)}, {"batch_size": 50}])
def test_a_stream_restored_after_any_batch_continues_as_if_never_interrupted(changed: dict):
    whole = batches(BatchStream(order(**changed)), 40)

    stream = BatchStream(order(**changed))
    for given in range(30):
        stored = json.loads(json.dumps(stream.state()))
        restored = BatchStream(order(**changed))
        restored.restore(stored)
        assert restored.state() == stream.state()
        assert batches(restored, 10) == whole[given : given + 10]
        assert next(stream) == whole[given]


def test_a_restored_stream_forgets_where_it_was():
    stream, other = BatchStream(order()), BatchStream(order())
    expected = batches(other, 5)
    start = BatchStream(order()).state()

    batches(stream, 9)
    stream.restore(start)

    assert batches(stream, 5) == expected


def test_skipping_ends_where_giving_batches_ends():
    stream, skipped = BatchStream(order()), BatchStream(order())
    batches(stream, 21)
    batches(skipped, 30)

    skipped.skip_to(21)

    assert skipped.state() == stream.state()
    assert batches(skipped, 5) == batches(stream, 5)


def test_storing_and_restoring_costs_the_same_after_any_number_of_batches():
    stream = BatchStream(order())
    batches(stream, 5000)

    state = stream.state()

    assert state["epoch"] > 800
    assert len(json.dumps(state)) < 300


def test_what_waits_for_a_larger_batch_is_given_first_in_smaller_ones():
    before = BatchStream(order(batch_size=20))
    batches(before, 2)
    waiting = before.state()["groups"]
    assert max(map(len, waiting)) >= 4

    stream = BatchStream(order(batch_size=2))
    stream.restore(before.state())
    after = batches(stream, sum(len(group) // 2 for group in waiting))

    pairs = [group[start : start + 2] for group in waiting for start in range(0, len(group) - 1, 2)]
    assert [[list(place) for place in batch] for batch in after] == pairs


@pytest.mark.parametrize("batch_size", [2, 9])
def test_a_training_that_is_resumed_with_another_batch_size_skips_and_repeats_nothing(batch_size: int):
    before = BatchStream(order(batch_size=7))
    given = batches(before, 11)

    stream = BatchStream(order(batch_size=batch_size))
    stream.restore(before.state())
    after = batches(stream, 30)

    assert {len(batch) for batch in after} == {batch_size}
    assert stream.given == 41
    places = list(itertools.chain(*given, *after, *stream.state()["groups"]))
    assert sorted(position for position, _ in places) == list(range(len(places)))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"seed": 6}, "seed: there 5, now 6"),
        ({"factors": each_once(24), "is_wide": None}, "num_samples: there 23, now 24, num_groups: there 2, now 1"),
    ],
)
def test_a_state_of_another_order_is_refused_with_what_differs(changed: dict, said: str):
    state = BatchStream(order()).state()

    with pytest.raises(RequestError, match=rf"{said}.*run\.name=NAME"):
        BatchStream(order(**changed)).restore(state)


def test_weights_of_nothing_are_refused():
    with pytest.raises(RequestError, match="no image to train on"):
        BatchStream(order(factors=np.zeros(23)))


@pytest.mark.parametrize("num_processes", [1, 2, 3, 4])
def test_the_parts_of_all_processes_are_the_batch(num_processes: int):
    batch = next(BatchStream(order(batch_size=8)))

    parts = [part_of(batch, rank, num_processes) for rank in range(num_processes)]

    assert Counter(itertools.chain(*parts)) == Counter(batch)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
