"""Loads the batches of training, in an order that can be resumed, and keeps stop signals from loader processes."""

from __future__ import annotations

import logging
import multiprocessing
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from multiprocessing.util import Finalize
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetFromList, build_detection_test_loader, build_detection_train_loader
from torch.utils.data import ConcatDataset, DataLoader

from launcher.errors import DataError, RequestError
from launcher.signals import blocking
from launcher.train.samples.indexed import IndexedRecords
from launcher.train.samples.lost import end_where_batches_get_lost, hearing_stops
from launcher.train.samples.mapped import BadImage, Loaded, MappedSamples, Mapper
from launcher.train.samples.order import BatchStream, Place, SampleOrder, part_of
from launcher.train.samples.pixels import told_once
from launcher.train.samples.samplers import FACTORS, Records, read_records, sample_order, train_records, why_not_exact
from launcher.train.stop import STOP_SIGNALS

logger = logging.getLogger(__name__)

SHOWN_BAD = 5


def build_train_loader(cfg: CfgNode, mapper: Mapper, *, seed: int, rank: int, num_processes: int) -> TrainLoader | Any:
    """The loader of one process for DATASETS.TRAIN, filtered, weighted and mapped as detectron2 does.

    Returns:
        A `TrainLoader`; detectron2's own loader, which starts over at every start, where only that can serve. The
        log then says why.

    Raises:
        RequestError: the settings cannot be followed.
    """
    if cfg.DATALOADER.SAMPLER_TRAIN not in FACTORS:
        return _stock_loader(cfg, mapper, f"DATALOADER.SAMPLER_TRAIN={cfg.DATALOADER.SAMPLER_TRAIN} is not known")
    parts = train_records(cfg)
    if reason := why_not_exact(cfg, parts):
        return _stock_loader(cfg, mapper, reason)
    order = sample_order(cfg, parts, seed)
    return TrainLoader(
        _joined(parts),
        mapper,
        order=order,
        rank=rank,
        num_processes=num_processes,
        num_workers=cfg.DATALOADER.NUM_WORKERS,
    )


def build_test_loader(cfg: CfgNode, name: str, mapper: Mapper) -> Any:
    """detectron2's loader of a data set to evaluate on, in its order and with none of its images left out.

    An indexed one is decoded image by image; of any other, every process has all records.
    """
    records = read_records(cfg, [name], training=False)
    return build_detection_test_loader(records, mapper=mapper, num_workers=cfg.DATALOADER.NUM_WORKERS)


def _joined(parts: Sequence[Records]) -> Any:
    """The records of all parts, none of which each process has in a memory of its own."""
    if opened := [part for part in parts if isinstance(part, IndexedRecords)]:
        return ConcatDataset(opened) if len(opened) > 1 else opened[0]
    return DatasetFromList(list(chain(*parts)), copy=False)  # serialised


def _stock_loader(cfg: CfgNode, mapper: Mapper, reason: str) -> Any:
    try:
        loader = build_detection_train_loader(cfg, mapper=mapper)
    except ValueError as error:
        if "Unknown training sampler" not in str(error):
            raise
        raise RequestError(
            f"DATALOADER.SAMPLER_TRAIN={cfg.DATALOADER.SAMPLER_TRAIN}, but there are {', '.join(FACTORS)}."
        ) from error
    logger.warning("The sample order starts over whenever training is resumed: %s", reason)
    return Undisturbed(loader)


class TrainLoader:
    """The batches of an order of samples, one process's part of each, from where it stands and without end.

    `DATALOADER.NUM_WORKERS` processes load ahead; where the loader stands counts only what was handed out.
    """

    def __init__(
        self,
        records: Any,
        mapper: Mapper,
        *,
        order: SampleOrder,
        rank: int,
        num_processes: int,
        num_workers: int,
    ) -> None:
        self._samples = MappedSamples(records, mapper, order=order)
        self._stream = BatchStream(order)
        self._rank = rank
        self._num_processes = num_processes
        self._num_workers = num_workers
        self._told: set[str] = set()
        self.max_bad = 0
        """Images that may turn out to be unusable before loading ends with an error."""
        self.bad: dict[str, BadImage] = {}
        """Unusable images that this process met since its start, by file."""

    def state_dict(self) -> dict[str, Any]:
        """Where the loader stands, the same for every rank, in plain numbers and lists."""
        return self._stream.state()

    def fits(self, state: dict[str, Any]) -> bool:
        """Whether the state is of this order of samples."""
        return self._stream.fits(state)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Make the next `iter` resume from there.

        Raises:
            RequestError: the state is of another order of samples.
        """
        self._stream.restore(state)

    def skip_to(self, iteration: int) -> None:
        """Make the next `iter` begin with the batch of that iteration, for checkpoints that hold no state."""
        self._stream.skip_to(iteration)

    def __iter__(self) -> Iterator[list[dict[str, Any]]]:
        """The batches from where the loader stands; an earlier iterator must not be used any more.

        Raises:
            DataError: more than `max_bad` images, or all, cannot be used.
        """
        self._samples.most_tried = self.max_bad + 1
        ahead = BatchStream(self._stream.order)
        ahead.restore(self._stream.state())
        loader = DataLoader(
            self._samples,
            batch_sampler=_Parts(ahead, self._rank, self._num_processes),
            num_workers=self._num_workers,
            collate_fn=_as_it_is,
            # Ranks are spawned, and their loaders would be too: each would import torch and copy the records.
            multiprocessing_context="fork" if self._num_workers and sys.platform == "linux" else None,
            # torch would draw from the training's random numbers whenever an attempt begins.
            generator=torch.Generator(),
        )
        for loaded in _started(loader):
            next(self._stream)
            yield [self._accepted(one) for one in loaded]

    def _accepted(self, loaded: Loaded) -> dict[str, Any]:
        for image in loaded.bad:
            self._count(image)
        for note in told_once(loaded.notes, self._told):
            logger.warning("%s is a %s", (loaded.sample or {}).get("file_name"), note)
        if loaded.refusal:
            raise RequestError(loaded.refusal)
        if len(self.bad) > self.max_bad:
            raise DataError(
                f"More training images than dataset.max_bad={self.max_bad} cannot be used:{self._listed()}"
                f"\n{self._mend()}, take them out of the annotations, or allow more with dataset.max_bad=N."
            )
        if loaded.sample is None:
            raise DataError(f"No training image can be used:{self._listed()}\n{self._mend()}, or name others.")
        return loaded.sample

    def _mend(self) -> str:
        at_fault = {image.in_annotations for image in self.bad.values()}
        if at_fault == {True}:
            return "The images are sound: correct these images' annotations"
        return "Repair them" if at_fault == {False} else "Repair them, or their annotations"

    def _count(self, image: BadImage) -> None:
        known = self.bad.get(image.file)
        if known is None:
            logger.warning("%s cannot be used and another image replaces it (%s)", image.file, _reason(image))
        self.bad[image.file] = replace(image, times=known.times + 1 if known else 1)

    def _listed(self) -> str:
        shown = list(self.bad.values())[:SHOWN_BAD]
        more = f"\n  and {len(self.bad) - SHOWN_BAD} more" if len(self.bad) > SHOWN_BAD else ""
        return "".join(f"\n  {image.file}: {_reason(image)}" for image in shown) + more


def _reason(image: BadImage) -> str:
    return f"its annotations: {image.reason}" if image.in_annotations else image.reason


class _Parts:
    """What a DataLoader takes for its batches: one process's part of each."""

    def __init__(self, stream: BatchStream, rank: int, num_processes: int) -> None:
        self._stream = stream
        self._rank = rank
        self._num_processes = num_processes

    def __iter__(self) -> Iterator[list[Place]]:
        for batch in self._stream:
            yield part_of(batch, self._rank, self._num_processes)


def _started(loader: DataLoader) -> Iterator[list[Loaded]]:
    """Start the loader's processes with stop signals blocked, which they inherit.

    A scheduler signals every process of a job, and torch ends a training whose loader was killed.
    """
    _end_loader_processes_at_exit()
    end_where_batches_get_lost()
    with blocking(STOP_SIGNALS):
        return hearing_stops(iter(loader))


def _as_it_is(batch: list[Loaded]) -> list[Loaded]:
    return batch


class Undisturbed:
    """Somebody else's loader, whose processes do not get stop signals: see `undisturbed`."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        return undisturbed(self._loader)


def undisturbed(loader: Any) -> Iterator[Any]:
    """The batches of any loader, with stop signals blocked wherever it may start processes, which inherit that.

    Loaders may start their processes with the first batch, or others with each epoch.
    """
    _end_loader_processes_at_exit()
    end_where_batches_get_lost()
    with blocking(STOP_SIGNALS):
        batches = iter(loader)
    while True:
        with blocking(STOP_SIGNALS):
            batch = next(batches, _END)
        if batch is _END:
            return
        yield batch


_END = object()


def _end_loader_processes_at_exit() -> None:
    # Python ends them with SIGTERM and waits, without a limit where that is blocked. This comes before that; unlike
    # `atexit` also in a process that was itself started by multiprocessing.
    Finalize(None, _kill_loader_processes, exitpriority=0)


def _kill_loader_processes() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler would take their end for a failure
    for child in multiprocessing.active_children():
        if child.daemon:
            child.kill()
