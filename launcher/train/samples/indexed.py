"""Data sets whose records are decoded when they are needed: a sequence that holds none of them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.detection_utils import check_metadata_consistency
from torch.utils.data import Dataset

from launcher.data.index.columns import IS_CROWD, IS_DROPPED, Columns, DamagedIndexError, Index, read_index
from launcher.data.index.identity import ChangedError, content_of
from launcher.data.index.records import EntryReader, FileChangedError
from launcher.data.plan import CocoSplit
from launcher.errors import DataError
from launcher.train.samples.coco_record import record_of

logger = logging.getLogger(__name__)


class IndexedFile:
    """The records of one annotation file, in detectron2's order and none left out."""

    def __init__(self, split: CocoSplit, index: Index, columns: Columns) -> None:
        self.split = split
        self.columns = columns
        self.categories = index.facts.categories
        self.numbers = {category_id: number for number, (category_id, _) in enumerate(self.categories)}
        """Contiguous, by category id."""
        self._entries = EntryReader(Path(split.json), columns)

    def __len__(self) -> int:
        return len(self.columns.images.id)

    def __getitem__(self, place: int) -> dict[str, Any]:
        try:
            image, annotations = self._entries.read(place)
        except FileChangedError as error:
            raise DataError(str(error)) from error
        return record_of(image, annotations, image_root=self.split.images, numbers=self.numbers)

    def __reduce__(self) -> Any:
        # For processes that are not forked: each opens the files for itself.
        return (_opened_again, (self.split,))


def _opened_again(split: CocoSplit) -> IndexedFile:
    opened = open_split(split)
    if opened is None:
        raise DataError(f"The index of {split.json} is gone since the training began. Start the same command again.")
    return opened


def open_split(split: CocoSplit) -> IndexedFile | None:
    """The records of a split; None where detectron2 has to read its file, and the log then says why.

    Raises:
        DataError: the file has changed since the run was planned.
    """
    if split.index is None or split.index.unusable:
        return None
    path = Path(split.index.path)
    try:
        content = content_of(Path(split.json), path.parent)
    except (OSError, ChangedError) as error:
        raise DataError(f"{split.json} cannot be read ({error}). Start the same command again.") from error
    if content.digest != split.index.content:
        raise DataError(f"{split.json} has changed since the run was planned. Start the same command again.")
    try:
        index = read_index(path, content.digest)
    except (OSError, DamagedIndexError) as error:
        logger.warning("Annotations are read into memory: the index cannot be used (%s)", error)
        return None
    return IndexedFile(split, index, index.columns) if index.columns is not None else None


class IndexedRecords(Dataset):
    """What is chosen of some files, one after the other, as records in detectron2's dataset format."""

    def __init__(self, files: Sequence[IndexedFile], chosen: np.ndarray) -> None:
        self._files = list(files)
        self._begins = np.cumsum([0, *map(len, files)])
        self._chosen = chosen

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, number: int) -> dict[str, Any]:
        if not -len(self) <= number < len(self):
            raise IndexError(number)
        place = int(self._chosen[number])
        file = int(np.searchsorted(self._begins, place, side="right")) - 1
        return self._files[file][place - int(self._begins[file])]

    def is_wide(self) -> np.ndarray:
        """Which images are wider than high."""
        return np.concatenate([file.columns.images.width > file.columns.images.height for file in self._files])[
            self._chosen
        ]

    def categories(self) -> Sequence[dict[str, Any]]:
        """Records with nothing but the categories of their annotations."""
        return _CategoriesOnly(self._files, self._begins, self._chosen)


class _CategoriesOnly(Sequence[dict[str, Any]]):
    def __init__(self, files: Sequence[IndexedFile], begins: np.ndarray, chosen: np.ndarray) -> None:
        self._files, self._begins, self._chosen = files, begins, chosen

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, number: Any) -> Any:
        raise TypeError("these are only to be gone through")

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for file, begin, end in zip(self._files, self._begins[:-1], self._begins[1:], strict=True):
            there = (file.columns.annotations.flags & IS_DROPPED) == 0
            first, category = file.columns.begins().tolist(), file.columns.annotations.category
            for place in (self._chosen[(self._chosen >= begin) & (self._chosen < end)] - begin).tolist():
                part = slice(first[place], first[place + 1])
                yield {"annotations": [{"category_id": one} for one in category[part][there[part]].tolist()]}


def open_records(names: Sequence[str], *, filter_empty: bool, min_keypoints: int) -> IndexedRecords | None:
    """What `get_detection_dataset_dicts` gives for these data sets; None where one of them has no index.

    Raises:
        DataError: a file has changed since the run was planned.
    """
    splits = [MetadataCatalog.get(name).get("launcher_split") for name in names if name in DatasetCatalog]
    if len(splits) < len(names) or not all(split and split.index for split in splits):
        return None
    files = [file for file in map(open_split, splits) if file is not None]
    if len(files) < len(names):
        return None
    for file in files:
        _set_metadata(file)
    check_metadata_consistency("thing_classes", list(names))
    chosen = np.flatnonzero(np.concatenate([_is_chosen(file.columns, filter_empty, min_keypoints) for file in files]))
    if len(chosen) == 0:
        raise AssertionError(f"No valid data found in {','.join(names)}.")  # as detectron2 has it
    _log(files, chosen)
    return IndexedRecords(files, chosen)


def _set_metadata(file: IndexedFile) -> None:
    """What `load_coco_json` finds out of a data set as a whole."""
    metadata = MetadataCatalog.get(file.split.name)
    metadata.thing_classes = [name for _, name in file.categories]
    metadata.thing_dataset_id_to_contiguous_id = file.numbers


def _is_chosen(columns: Columns, filter_empty: bool, min_keypoints: int) -> np.ndarray:
    """By image: whether detectron2 trains on it."""
    chosen = np.ones(len(columns.images.id), bool)
    if filter_empty:
        trained_on = np.concatenate([[0], np.cumsum((columns.annotations.flags & (IS_CROWD | IS_DROPPED)) == 0)])
        chosen &= np.diff(trained_on[columns.begins()]) > 0
    if min_keypoints > 0:
        chosen &= columns.images.num_visible >= min_keypoints
    return chosen


def _log(files: Sequence[IndexedFile], chosen: np.ndarray) -> None:
    total = sum(map(len, files))
    logger.info("Opened %d images by their index, %d of them are used", total, len(chosen))
    dropped = sum(int(((file.columns.annotations.flags & IS_DROPPED) != 0).sum()) for file in files)
    if dropped:
        logger.warning("%d objects are left out: none of their polygons has three points", dropped)
