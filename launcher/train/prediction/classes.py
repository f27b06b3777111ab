"""What a model's classes are called: written beside a run by its training, and found again for predictions."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import Metadata, MetadataCatalog

from launcher.errors import DataError
from launcher.files import write_text

logger = logging.getLogger(__name__)

KEPT = (
    *("thing_classes", "thing_dataset_id_to_contiguous_id", "thing_colors"),
    *("stuff_classes", "stuff_dataset_id_to_contiguous_id", "stuff_colors"),
    *("keypoint_names", "keypoint_flip_map", "keypoint_connection_rules"),
)
"""What detectron2's `Visualizer` and COCO's results need of a data set's metadata."""
BY_ID = ("thing_dataset_id_to_contiguous_id", "stuff_dataset_id_to_contiguous_id")


def write_classes(dataset_name: str, file: Path) -> None:
    """Keep what is known of the classes of a registered data set.

    Raises:
        OSError: it cannot be written.
    """
    metadata = MetadataCatalog.get(dataset_name)
    kept = {name: metadata.get(name) for name in KEPT if metadata.get(name, None) is not None}
    write_text(file, json.dumps(kept, indent=1) + "\n")


def read_classes(file: Path) -> Metadata:
    """What `write_classes` kept.

    Raises:
        DataError: it cannot be read.
    """
    try:
        kept: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        by_id = {name: {int(key): index for key, index in kept[name].items()} for name in BY_ID if name in kept}
        return Metadata(name=file.stem, **{**{name: kept[name] for name in KEPT if name in kept}, **by_id})
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DataError(
            f"{file} says what the model's classes are called, but it cannot be read ({error}). Restore it, or remove "
            "it: then the classes are those of the annotations that the model was trained on."
        ) from error


def check_same_classes(trained_on: Metadata, dataset_name: str) -> None:
    """Refuse to measure a model on a data set whose classes have other numbers than the model's.

    Raises:
        DataError: it names the first class that differs.
    """
    ours = trained_on.get("thing_classes", None)
    theirs = MetadataCatalog.get(dataset_name).get("thing_classes", None)
    if not ours or not theirs or list(ours) == list(theirs):
        return
    if len(ours) != len(theirs):
        how = f"{len(ours)} in the training, {len(theirs)} here"
    else:
        index = next(index for index, pair in enumerate(zip(ours, theirs, strict=True)) if pair[0] != pair[1])
        how = f"class {index} was {ours[index]!r} in the training and is {theirs[index]!r} here"
    raise DataError(
        f"The classes of {dataset_name} are not those that the model was trained on ({how}), so it would be measured "
        "by wrong ones. Give it the same in the same order: by its categories' ids, or as thing_classes."
    )


def find_classes(file: str, cfg: CfgNode, annotations: str) -> Metadata:
    """The best that is known: what the run kept, what detectron2 knows of its data set, or its annotations' categories.

    Where that is of another number of classes than the model has, or nothing is known, objects are shown by number.
    """
    numbers = _numbers(cfg)
    found = _best_known(file, cfg.DATASETS.TRAIN, annotations)
    named, there = class_names(found), class_names(numbers)
    if not named:
        return numbers
    if there and len(named) != len(there):
        logger.warning(
            "The model has %d classes, and %d are named by %s: objects are shown by number. Name the data that it was "
            "trained on with DATASETS.TRAIN or dataset.train.json.",
            len(there),
            len(named),
            found.get("name", None) or "its data",
        )
        return numbers
    return found


def _best_known(file: str, dataset_names: Sequence[str], annotations: str) -> Metadata:
    if file:
        return read_classes(Path(file))
    for name in dataset_names:
        metadata = MetadataCatalog.get(name)
        if class_names(metadata):
            return metadata
    return _of_annotations(Path(annotations)) if annotations and Path(annotations).is_file() else Metadata()


def _numbers(cfg: CfgNode) -> Metadata:
    """What `Visualizer` needs in place of names."""
    model = cfg.MODEL
    things = {"RetinaNet": model.RETINANET, "SemanticSegmentor": None}.get(model.META_ARCHITECTURE, model.ROI_HEADS)
    return Metadata(
        thing_classes=[] if things is None else [str(number) for number in range(things.NUM_CLASSES)],
        stuff_classes=[str(number) for number in range(model.SEM_SEG_HEAD.NUM_CLASSES)],
    )


def _of_annotations(file: Path) -> Metadata:
    """As detectron2 numbers them: by id."""
    categories = sorted(json.loads(file.read_bytes()).get("categories", []), key=lambda category: category["id"])
    return Metadata(
        name=file.stem,
        thing_classes=[category["name"] for category in categories],
        thing_dataset_id_to_contiguous_id={category["id"]: index for index, category in enumerate(categories)},
    )


def class_names(metadata: Metadata) -> tuple[str, ...]:
    """Of things where there are any, else of stuff."""
    return tuple(metadata.get("thing_classes", None) or metadata.get("stuff_classes", None) or ())


def dataset_ids(metadata: Metadata, part: str = "thing") -> dict[int, int]:
    """The id in the data set of each of the model's numbers; empty where they are the same."""
    return {index: one for one, index in (metadata.get(f"{part}_dataset_id_to_contiguous_id", None) or {}).items()}
