"""Results that are kept image by image while an evaluation runs, so that an interrupted one continues where it was.

An entry counts for the same weights, the same images and the same settings only.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.data import MapDataset, MetadataCatalog
from detectron2.utils import comm
from torch.nn import Module
from torch.utils.data import DataLoader

from launcher.run.journal import Journal, entries_in

logger = logging.getLogger(__name__)

CHANGES_NOTHING = (
    "CUDNN_BENCHMARK",
    "DATALOADER",
    "DATASETS.PRECOMPUTED_PROPOSAL_TOPK_TRAIN",
    "DATASETS.PROPOSAL_FILES_TRAIN",
    "DATASETS.TEST",
    "DATASETS.TRAIN",
    "MODEL.WEIGHTS",
    "OUTPUT_DIR",
    "SEED",
    "SOLVER",
    "TEST.EVAL_PERIOD",
    "TEST.EXPECTED_RESULTS",
    "TEST.KEYPOINT_OKS_SIGMAS",
    "VIS_PERIOD",
)
"""Keys that detections do not depend on, once the weights are what they are."""
ImageId = int | str
Entry = Mapping[str, Any]
"""What came of one image: `instances` in COCO's results format and, of an unreadable one, `blank`: file and reason."""


def fingerprint_of(model: Module, cfg: CfgNode, dataset: str, images: Mapping[ImageId, str]) -> str:
    """Of everything that results follow from: weights, images, ids of categories, settings and the version of torch."""
    digest = hashlib.blake2b(digest_size=12)
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(_bytes_of(tensor))
    of_images = [(image, *_name_and_size(file)) for image, file in images.items()]
    categories = MetadataCatalog.get(dataset).get("thing_dataset_id_to_contiguous_id", None)
    others = [_settings_of(cfg), dataset, of_images, repr(categories), torch.__version__]
    digest.update(json.dumps(others, default=repr).encode())
    return digest.hexdigest()


def _name_and_size(file: str) -> tuple[str, int]:
    """Neither folder nor time: a job may have copied its data to a disk of its own."""
    try:
        return os.path.basename(file), os.stat(file).st_size
    except OSError:  # reading it says what is wrong
        return os.path.basename(file), -1


def _bytes_of(tensor: Any) -> Any:
    if not isinstance(tensor, torch.Tensor):
        return repr(tensor).encode()
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()


def _settings_of(node: CfgNode, prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, value in sorted(node.items()):
        if (name := prefix + key) in CHANGES_NOTHING:
            continue
        leaves.update(_settings_of(value, f"{name}.") if isinstance(value, CfgNode) else {name: value})
    return leaves


class ImageResults:
    """The results of one data set: those of earlier attempts, and those to come, which are kept at once."""

    def __init__(self, folder: Path, ids: Sequence[ImageId], *, attempt: int, fingerprint: str) -> None:
        """Every rank calls this at the same point; rank 0 alone reads. `ids` are those of all images."""
        self.ids = ids
        self._fingerprint = fingerprint
        self.earlier: dict[ImageId, Entry] = {}
        """In rank 0: what need not be computed again."""
        if comm.is_main_process():
            self.earlier = self._read(folder)
            if not self.earlier:
                forget(folder)
        self.done: frozenset[ImageId] = frozenset(comm.all_gather(list(self.earlier))[0])
        """In every rank: the images of these."""
        self._journal = self._open(folder, attempt)

    def _read(self, folder: Path) -> dict[ImageId, Entry]:
        try:
            keyed = ((json.loads(key), entry) for key, entry in entries_in(folder))
            return {image: entry for (fingerprint, image), entry in keyed if fingerprint == self._fingerprint}
        except (OSError, ValueError, TypeError) as error:
            logger.warning("Results of an interrupted evaluation in %s cannot be read (%s)", folder, error)
            return {}

    def _open(self, folder: Path, attempt: int) -> Journal | None:
        try:
            return Journal(folder, attempt=attempt, rank=comm.get_rank())
        except OSError as error:
            self._give_up(error)
            return None

    def left(self, loader: DataLoader[Any]) -> DataLoader[Any]:
        """The same batches, but for those of which every image is done: what shares a batch may change a result."""
        if not self.done:
            return loader
        batches = [batch for batch in _batches_of(loader) if not all(self.ids[index] in self.done for index in batch)]
        return DataLoader(
            loader.dataset,
            batch_sampler=batches,
            num_workers=loader.num_workers,
            collate_fn=loader.collate_fn,
            pin_memory=loader.pin_memory,
            timeout=loader.timeout,
            worker_init_fn=loader.worker_init_fn,
            prefetch_factor=loader.prefetch_factor,
        )

    def add(self, image: ImageId, entry: Entry) -> None:
        """Keep what came of an image; where that cannot be written, the evaluation goes its way without."""
        if self._journal is None:
            return
        try:
            self._journal.add(json.dumps([self._fingerprint, image]), entry)
        except OSError as error:
            self._give_up(error)
            self.close()

    def _give_up(self, error: OSError) -> None:
        logger.warning("Results cannot be kept, so this evaluation would start over if it were interrupted (%s)", error)

    def close(self) -> None:
        if self._journal is not None:
            with contextlib.suppress(OSError):  # of a full disk, once more
                self._journal.__exit__(None, None, None)
            self._journal = None


def forget(folder: Path) -> None:
    """Remove what has been kept in a folder."""
    shutil.rmtree(folder, ignore_errors=True)


def images_in(loader: Any) -> dict[ImageId, str] | None:
    """The file by image id, of all that a loader of detectron2's gives, in order; None where that cannot be known."""
    if not isinstance(loader, DataLoader) or not isinstance(loader.dataset, MapDataset):
        return None
    records, every = loader.dataset._dataset, range(len(loader.dataset._dataset))
    named = ((record.get("image_id"), str(record.get("file_name", ""))) for record in map(records.__getitem__, every))
    images = dict(named)
    return None if None in images or len(images) < len(every) else images


def _batches_of(loader: DataLoader[Any]) -> Iterator[list[int]]:
    assert loader.batch_sampler is not None
    return iter(loader.batch_sampler)
