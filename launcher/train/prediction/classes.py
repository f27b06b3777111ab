"""What a model's classes are called: written beside a run by its training, and found again for predictions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from detectron2.data import Metadata, MetadataCatalog

from launcher.files import write_text

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
        OSError, ValueError: it cannot be read.
    """
    kept: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    by_id = {name: {int(key): index for key, index in kept[name].items()} for name in BY_ID if name in kept}
    return Metadata(name=file.stem, **{**{name: kept[name] for name in KEPT if name in kept}, **by_id})


def find_classes(file: str, dataset_names: tuple[str, ...], annotations: str) -> Metadata:
    """The best that is known: what the run kept, what detectron2 knows of its data set, or its annotations' categories.

    Without any of these, objects are shown by number.
    """
    if file:
        return read_classes(Path(file))
    for name in dataset_names:
        metadata = MetadataCatalog.get(name)
        if metadata.get("thing_classes", None) or metadata.get("stuff_classes", None):
            return metadata
    return _of_annotations(Path(annotations)) if annotations and Path(annotations).is_file() else Metadata()


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
