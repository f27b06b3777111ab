"""Which samples make up batch i: a function of (seed, i) and nothing else. Indices only, no images.

The batches are those of all processes together; `part_of` says which part of one a process takes. So nothing depends
on how many processes or loader workers there are, what was loaded ahead, or where a training was interrupted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from launcher.errors import RequestError
from launcher.train.seeds import Purpose, generator

Place = tuple[int, int]
"""Position in the stream of samples, from 0 and never repeated, and the index of the sample in the data set."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SampleOrder:
    """Everything that the order of samples follows from."""

    seed: int
    factors: np.ndarray
    """How often each sample comes in one epoch, on average."""
    is_wide: np.ndarray | None
    """Which samples are wider than high, where a batch is to hold only such or only others; None mixes them."""
    batch_size: int
    """Samples of one iteration, of all processes together."""

    def epoch(self, number: int) -> np.ndarray:
        """The indices of one epoch, shuffled.

        A factor of 2.3 gives two, and in three of ten epochs three.
        """
        numbers = generator(self.seed, Purpose.epoch, number)
        at_least = np.floor(self.factors)
        times = at_least + (numbers.random_sample(len(self.factors)) < self.factors - at_least)
        return numbers.permutation(np.repeat(np.arange(len(self.factors)), times.astype(np.int64)))

    def described(self) -> dict[str, int]:
        """What must be the same for a stream to resume from a stored state. The size of a batch may differ."""
        return {
            "seed": self.seed,
            "num_samples": len(self.factors),
            "num_groups": 1 if self.is_wide is None else 2,
        }


def each_once(size: int) -> np.ndarray:
    """Factors with which every sample comes once per epoch."""
    return np.ones(size)


def subset_once(size: int, ratio: float, seed: int) -> np.ndarray:
    """Factors with which the samples of a random subset come once per epoch, and no others."""
    factors = np.zeros(size)
    factors[generator(seed, Purpose.subset).permutation(size)[: int(size * ratio)]] = 1
    return factors


class BatchStream:
    """The batches of a `SampleOrder`, one after the other without end, and where in them one is."""

    def __init__(self, order: SampleOrder) -> None:
        if not order.factors.any():
            raise RequestError("The sampler's weights leave no image to train on. Make one of them more than 0.")
        self.order = order
        self.given = 0
        """Batches so far."""
        self._group_of = [0] * len(order.factors) if order.is_wide is None else order.is_wide.astype(int).tolist()
        self._groups: list[list[Place]] = [[], []]
        self._position = 0
        self._start_epoch(0, 0)

    def __iter__(self) -> Iterator[list[Place]]:
        return self

    def __next__(self) -> list[Place]:
        """The next batch: the group of a shape that fills up first, as in detectron2."""
        for group in self._groups:
            if len(group) >= self.order.batch_size:  # only after a restore from a training of larger batches
                return self._take_from(group)
        while True:
            for index in self._rest_of_epoch:
                group = self._groups[self._group_of[index]]
                group.append((self._position, index))
                self._position += 1
                if len(group) == self.order.batch_size:
                    return self._take_from(group)
            self._start_epoch(self._epoch + 1, self._position)

    def _take_from(self, group: list[Place]) -> list[Place]:
        batch = group[: self.order.batch_size]
        del group[: self.order.batch_size]
        self.given += 1
        return batch

    def state(self) -> dict[str, Any]:
        """Where the stream is, in plain numbers and lists."""
        return {
            "order": self.order.described(),
            "given": self.given,
            "epoch": self._epoch,
            "epoch_start": self._epoch_start,
            "position": self._position,
            "groups": [[list(place) for place in group] for group in self._groups],
        }

    def fits(self, state: dict[str, Any]) -> bool:
        """Whether `state` was taken in this order of samples."""
        return bool(state["order"] == self.order.described())

    def restore(self, state: dict[str, Any]) -> None:
        """Go to where `state` was taken, at the cost of one epoch's permutation.

        Raises:
            RequestError: it was taken in another order of samples.
        """
        now = self.order.described()
        changed = [
            f"{key}: there {state['order'].get(key)}, now {value}"
            for key, value in now.items()
            if state["order"].get(key) != value
        ]
        if changed:
            raise RequestError(
                f"The checkpoint's order of samples is another one ({', '.join(changed)}), so it cannot be resumed. "
                "Put back the data and settings that it was made with, or begin another run with run.name=NAME."
            )
        self.given = state["given"]
        self._groups = [[(position, index) for position, index in group] for group in state["groups"]]
        self._position = state["position"]
        self._start_epoch(state["epoch"], state["epoch_start"])

    def skip_to(self, given: int) -> None:
        """Go to where `given` batches have been given, from the beginning and by counting through all of them."""
        self.given = self._position = 0
        self._groups = [[], []]
        self._start_epoch(0, 0)
        while self.given < given:
            next(self)

    def _start_epoch(self, number: int, start: int) -> None:
        self._epoch, self._epoch_start = number, start
        self._rest_of_epoch = iter(self.order.epoch(number)[self._position - start :].tolist())


def part_of(batch: Sequence[Place], rank: int, num_processes: int) -> list[Place]:
    """The part of a batch that one process takes: every `num_processes`-th sample, from its rank on."""
    return list(batch[rank::num_processes])
