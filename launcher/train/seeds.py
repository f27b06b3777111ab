"""Randomness as a function of position: nothing is stored, so nothing depends on what was drawn before."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from enum import IntEnum

import numpy as np
import torch


class Purpose(IntEnum):
    """What numbers are drawn for; equal positions for different purposes have nothing in common.

    The values are part of what makes a run repeatable: they stay as they are.
    """

    epoch = 0
    subset = 1
    iteration = 2
    sample = 3
    replacement = 4


def mix(seed: int, purpose: Purpose, *position: int) -> np.random.SeedSequence:
    """A seed in which every bit of every number counts; numpy guarantees the same one in all its versions."""
    return np.random.SeedSequence(seed, spawn_key=(purpose, *position))


def generator(seed: int, purpose: Purpose, *position: int) -> np.random.RandomState:
    # RandomState and not Generator: numpy promises that its numbers never change, and a newer one may resume a run.
    return np.random.RandomState(np.random.PCG64(mix(seed, purpose, *position)))


def seed_iteration(seed: int, iteration: int, rank: int) -> None:
    """Seed this process for one iteration; called by every rank before each."""
    _seed_process(mix(seed, Purpose.iteration, iteration, rank))
    # Only where a device is in use: otherwise torch would queue every one of these calls for the day it is.
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(torch.initial_seed())


def seed_sample(seed: int, position: int) -> None:
    """Seed this process for mapping the sample at `position` of the stream. Devices are left alone."""
    _seed_process(mix(seed, Purpose.sample, position))


def _seed_process(source: np.random.SeedSequence) -> None:
    words = source.generate_state(4, np.uint64)
    random.seed(int(words[0]))
    np.random.seed(words[1:3].view(np.uint32))
    # torch.manual_seed would turn to the devices too, and takes ten times as long to find that there are none.
    torch.default_generator.manual_seed(int(words[3]))


@contextlib.contextmanager
def unchanged_randomness() -> Iterator[None]:
    """Leave the generators of python, numpy and torch (on the CPU) as found."""
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(cpu)
