"""What was found in an image, as COCO writes results, and all of it as the files that people and programs read."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.data import Metadata
from detectron2.evaluation.coco_evaluation import instances_to_coco_json
from pycocotools import mask as masks

from launcher.errors import DataError
from launcher.files import write_text
from launcher.train.prediction.classes import dataset_ids

INSTANCES, SEGMENTS = "predictions.json", "segments.json"
"""Names of the files: COCO's results format; and of panoptic and semantic models the segments of each image."""


def as_coco(predicted: Mapping[str, Any], metadata: Metadata) -> dict[str, Any]:
    """One image's prediction as plain data, without an image id; classes by their ids in the data set."""
    found: dict[str, Any] = {}
    if "instances" in predicted:
        found["instances"] = list(_instances(predicted["instances"], dataset_ids(metadata)))
    if "panoptic_seg" in predicted:
        found["segments"] = list(_panoptic(predicted["panoptic_seg"], metadata))
    elif "sem_seg" in predicted:
        found["segments"] = list(_semantic(predicted["sem_seg"], dataset_ids(metadata, "stuff")))
    return found


def scores_in(found: Mapping[str, Any]) -> list[float]:
    """Of the objects of one image, the segments of a panoptic or semantic model left out."""
    return [instance["score"] for instance in found.get("instances", ())]


def _instances(instances: Any, ids: Mapping[int, int]) -> Iterator[dict[str, Any]]:
    for one in instances_to_coco_json(instances, 0):
        del one["image_id"]
        yield {**one, "category_id": ids.get(one["category_id"], one["category_id"])}


def _panoptic(predicted: tuple[torch.Tensor, Any], metadata: Metadata) -> Iterator[dict[str, Any]]:
    numbers, segments = predicted
    by_kind = {True: dataset_ids(metadata), False: dataset_ids(metadata, "stuff")}
    for segment in segments or ():
        ids = by_kind[bool(segment["isthing"])]
        yield {
            "category_id": ids.get(segment["category_id"], segment["category_id"]),
            "isthing": bool(segment["isthing"]),
            **({"score": float(segment["score"])} if "score" in segment else {}),
            "segmentation": _encoded((numbers == segment["id"]).numpy()),
        }


def _semantic(scores: torch.Tensor, ids: Mapping[int, int]) -> Iterator[dict[str, Any]]:
    classes = scores.argmax(dim=0)
    for number in torch.unique(classes).tolist():
        yield {"category_id": ids.get(number, number), "segmentation": _encoded((classes == number).numpy())}


def _encoded(mask: np.ndarray) -> dict[str, Any]:
    encoded = masks.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(encoded["size"]), "counts": encoded["counts"].decode("ascii")}


@dataclass(frozen=True, kw_only=True)
class ImageIds:
    """The ids that results have for their images."""

    of: Mapping[str, int | str]
    unknown: tuple[str, ...]
    """Files that the given annotations do not name; their ids are their names."""


def image_ids(files: Sequence[str], images_json: str) -> ImageIds:
    """By the file names of a COCO-format file; without one a number where all names are numbers, else the names.

    Raises:
        DataError: that file cannot be read, names no images, or gives one id to two files.
    """
    if images_json:
        return _ids_by_annotations(files, _ids_in(Path(images_json)))
    stems = [Path(file).stem for file in files]
    if all(re.fullmatch("[0-9]{1,18}", stem) for stem in stems) and len(set(map(int, stems))) == len(stems):
        return ImageIds(of={file: int(stem) for file, stem in zip(files, stems, strict=True)}, unknown=())
    return ImageIds(of=dict(zip(files, names_of(files), strict=True)), unknown=())


def names_of(files: Sequence[str]) -> list[str]:
    """Relative to the folder that all of them lie below."""
    if not files:
        return []
    above = os.path.commonpath([os.path.dirname(file) for file in files])
    return [os.path.relpath(file, above) for file in files]


def _ids_in(file: Path) -> dict[str, int]:
    try:
        return {str(image["file_name"]): image["id"] for image in json.loads(file.read_bytes())["images"]}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            f"--images-json {file} does not give image ids ({type(error).__name__}: {error}). Name a COCO-format file, "
            'in which "images" has an id and a file_name for each.'
        ) from error


def _ids_by_annotations(files: Sequence[str], ids: Mapping[str, int]) -> ImageIds:
    found = {file: _longest_end(file, ids) for file in files}
    if twice := [name for name, times in Counter(filter(None, found.values())).items() if times > 1]:
        both = " and ".join([file for file, name in found.items() if name == twice[0]][:2])
        raise DataError(
            f"--images-json has one image that is called {twice[0]}, and {both} are both called so: their results "
            "would have the same id. Predict on each folder by itself."
        )
    names = dict(zip(files, names_of(files), strict=True))
    return ImageIds(
        of={file: names[file] if one is None else ids[one] for file, one in found.items()},
        unknown=tuple(file for file, one in found.items() if one is None),
    )


def _longest_end(file: str, names: Mapping[str, int]) -> str | None:
    """The name that the path ends with: `val/1.jpg` before `1.jpg`."""
    parts = Path(file).parts
    ends = ("/".join(parts[start:]) for start in range(len(parts)))
    return next((end for end in ends if end in names), None)


def write_results(entries: Iterable[tuple[str, Mapping[str, Any]]], ids: ImageIds, folder: Path) -> None:
    """Write everything that was found: `entries` are files with what `as_coco` made of them.

    Raises:
        OSError: it cannot be written; earlier files stay as they were.
    """
    instances: list[dict[str, Any]] = []
    segments: list[dict[str, Any]] = []
    for file, found in entries:
        image_id = ids.of[file]
        instances += [{"image_id": image_id, **one} for one in found.get("instances", ())]
        if "segments" in found:
            segments.append({"image_id": image_id, "file_name": file, "segments": found["segments"]})
    write_text(folder / INSTANCES, json.dumps(instances) + "\n")
    if segments:
        write_text(folder / SEGMENTS, json.dumps(segments) + "\n")
