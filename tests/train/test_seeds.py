"""Seeding by position."""

from __future__ import annotations

import contextlib
import random

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")


def drawn() -> tuple[float, float, float]:
    return random.random(), float(np.random.random_sample()), float(torch.rand(()))


def after_iteration(seed: int, iteration: int, rank: int) -> tuple[float, float, float]:
    from launcher.train.seeds import seed_iteration

    seed_iteration(seed, iteration, rank)
    return drawn()


def after_sample(seed: int, position: int) -> tuple[float, float, float]:
    from launcher.train.seeds import seed_sample

    seed_sample(seed, position)
    return drawn()


def test_an_iteration_draws_the_same_numbers_whatever_was_drawn_before():
    expected = after_iteration(3, 10, 0)
    drawn()

    assert after_iteration(3, 10, 0) == expected


def test_other_seeds_iterations_ranks_and_samples_draw_other_numbers_from_every_generator():
    places = [(seed, iteration, rank) for seed in (0, 1) for iteration in range(40) for rank in range(4)]

    numbers = [after_iteration(*place) for place in places]
    numbers += [after_sample(seed, position) for seed in (0, 1) for position in range(100)]

    for of_one_generator in zip(*numbers, strict=True):
        assert len(set(of_one_generator)) == len(numbers)


def test_the_numbers_never_change():
    # A run may go on with newer packages, and must go on with the same numbers.
    python, numpy, _ = after_iteration(3, 10, 0)

    assert (python, numpy) == pytest.approx((0.7007268776508695, 0.32170668461108), abs=1e-14)
    assert torch.initial_seed() == 1281716184258922551


@pytest.mark.parametrize("error", [None, ValueError("unreadable")])
def test_randomness_is_left_as_found_also_after_an_error(error: Exception | None):
    from launcher.train.seeds import seed_sample, unchanged_randomness

    expected = after_iteration(3, 10, 0), drawn()

    assert after_iteration(3, 10, 0) == expected[0]
    with contextlib.suppress(ValueError), unchanged_randomness():
        seed_sample(3, 7)
        if error is not None:
            raise error

    assert drawn() == expected[1]
