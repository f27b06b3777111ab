"""The samples that training gets: each mapped with randomness of its own, and replaced where its image is unusable."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from detectron2.utils.serialize import PicklableWrapper
from torch.utils.data import Dataset, get_worker_info

from launcher.train.samples.blame import Blame, blame_for, is_about_the_image, reason_of, refusal_of
from launcher.train.samples.order import Place, SampleOrder
from launcher.train.samples.pixels import take_notes
from launcher.train.seeds import Purpose, generator, seed_sample, unchanged_randomness

ASKED = 4
"""Other samples that are tried before one's failure is taken for that of all."""

Mapper = Callable[[dict[str, Any]], "dict[str, Any] | None"]


@dataclass(frozen=True, kw_only=True)
class BadImage:
    """A training image that could not be used."""

    file: str
    reason: str
    in_annotations: bool = False
    """Its annotations are what is wrong: with others, or none, it could be used."""
    times: int = 1
    """How often another one took its place."""


class Loaded(NamedTuple):
    """What comes of one place in the stream, from whichever process maps it."""

    sample: dict[str, Any] | None
    """None when too many were tried."""
    bad: tuple[BadImage, ...]
    """The images that were tried before."""
    refusal: str = ""
    """Why no image can be mapped, where it is the settings' fault. An exception would lose its kind on its way."""
    notes: Mapping[str, str] = {}
    """How images of more than 8 bits per value were scaled, by kind."""


class MappedSamples(Dataset):
    """The mapped sample of any place in the stream, the same in every process.

    An unusable image is replaced by the next one of a random order that follows from its position in the stream.
    """

    def __init__(
        self, records: Sequence[dict[str, Any]], mapper: Mapper, *, order: SampleOrder, most_tried: int = 1
    ) -> None:
        self._records = records
        self._mapper = PicklableWrapper(mapper)  # also a closure gets to a loader process
        self._seed = order.seed
        self._chosen = np.flatnonzero(order.factors)
        self.most_tried = most_tried
        """Images that are tried for one place before it stays empty."""

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, place: Place) -> Loaded:
        # A loader process draws numbers for samples alone; in the training process others are in the middle of theirs.
        with unchanged_randomness() if get_worker_info() is None else contextlib.nullcontext():
            return self._load(*place)

    def _load(self, position: int, index: int) -> Loaded:
        bad: list[BadImage] = []
        for candidate in self._candidates(position, index):
            if len(bad) == self.most_tried:
                break
            record = self._records[candidate]
            file = str(record.get("file_name", f"image {candidate}"))
            try:
                sample = self._map(record, position)
            except Exception as error:  # what unreadable bytes raise in image libraries has no common ground
                if not is_about_the_image(error):
                    raise
                blame = self._blame(error, candidate, position)
                if blame is Blame.settings:
                    return Loaded(None, tuple(bad), refusal_of(error))
                bad.append(BadImage(file=file, reason=reason_of(error), in_annotations=blame is Blame.annotations))
                continue
            if sample is not None:
                return Loaded(sample, tuple(bad), notes=take_notes())
            bad.append(BadImage(file=file, reason="the mapper gave nothing for it"))
        return Loaded(None, tuple(bad))

    def _blame(self, error: Exception, index: int, position: int) -> Blame:
        others = (self._records[other] for other in self._chosen[:ASKED] if other != index)
        return blame_for(error, self._records[index], others, lambda other: self._map(other, position))

    def _map(self, record: dict[str, Any], position: int) -> dict[str, Any] | None:
        seed_sample(self._seed, position)
        mapped: dict[str, Any] | None = self._mapper(record)
        return mapped

    def _candidates(self, position: int, index: int) -> Iterator[int]:
        yield index
        others = self._chosen[self._chosen != index]
        yield from generator(self._seed, Purpose.replacement, position).permutation(others).tolist()
