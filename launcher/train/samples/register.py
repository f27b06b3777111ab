"""Puts COCO-format splits into detectron2's catalogs, under the names that DATASETS.TRAIN and DATASETS.TEST use."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import register_coco_instances
from detectron2.data.datasets.coco import load_coco_json

from launcher.data.index.store import IndexFacts
from launcher.data.plan import CocoSplit
from launcher.data.truth import read_truth
from launcher.errors import DataError


def register_datasets(splits: Iterable[CocoSplit]) -> None:
    """Register every split; one that is registered already, by us and just so, stays as it is.

    Raises:
        DataError: a name is taken by other data.
    """
    for split in splits:
        if split.name not in DatasetCatalog:
            _register(split)
        elif not _is_of_the_same_files(MetadataCatalog.get(split.name).get("launcher_split"), split):
            raise DataError(
                f"{split.json} was to be registered as {split.name}, and that name is taken by other data. "
                "Choose another dataset.name."
            )
        else:
            _note(split)


def _register(split: CocoSplit) -> None:
    if split.portion is None:
        register_coco_instances(split.name, _metadata(split), split.json, split.images)
        return
    # Without `json_file`, which has images of the other part too: whoever measures takes a file of this part alone.
    DatasetCatalog.register(split.name, partial(_load_part, split))
    MetadataCatalog.get(split.name).set(image_root=split.images, evaluator_type="coco", **_metadata(split))


def _load_part(split: CocoSplit) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="launcher-annotations-") as folder:
        file = Path(folder, Path(split.json).name)
        file.write_text(json.dumps(read_truth(Path(split.json), split.portion)), encoding="utf-8")
        records: list[dict[str, Any]] = load_coco_json(str(file), split.images, split.name)
        return records


def register_indexes(indexes: Mapping[str, IndexFacts]) -> None:
    """Let data sets that detectron2 has registered be opened by their indexes."""
    for name, index in indexes.items():
        metadata = MetadataCatalog.get(name)
        _note(CocoSplit(name=name, json=metadata.json_file, images=metadata.image_root, index=index))


def _note(split: CocoSplit) -> None:
    """For whoever reads its records; in place of what an earlier run in this process has noted."""
    metadata = MetadataCatalog.get(split.name)
    vars(metadata).pop("launcher_split", None)
    metadata.launcher_split = split


def _is_of_the_same_files(registered: CocoSplit | None, split: CocoSplit) -> bool:
    return registered is not None and replace(registered, index=split.index) == split


def check_own_datasets(planned: Mapping[str, Sequence[str]]) -> None:
    """See that the user's code has registered the classes that the plan was made for.

    Raises:
        DataError: it has not.
    """
    for name, classes in planned.items():
        now = MetadataCatalog.get(name).get("thing_classes", None) if name in DatasetCatalog else []
        if now is not None and list(map(str, now)) != list(classes):
            raise DataError(
                f"{name} is registered with {len(now)} classes in this process, and was with {len(classes)} when the "
                "run was planned, or with others. Register the same ones on every import."
            )


def _metadata(split: CocoSplit) -> dict[str, Any]:
    # detectron2 reads the class names from the file when it loads it.
    metadata: dict[str, Any] = {"launcher_split": split}
    if split.keypoint_names:
        metadata["keypoint_names"] = list(split.keypoint_names)
        metadata["keypoint_flip_map"] = [tuple(pair) for pair in split.keypoint_flip_map]
    return metadata
