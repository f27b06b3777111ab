"""A small whole data set, to be broken in one way per test, and requests for it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from launcher.config.keys import Keys
from launcher.config.request import (
    DatasetKind,
    DatasetRequest,
    RunRequest,
    SplitRequest,
    ValRequest,
)
from tests.values import TYPED, a_request, changed_keys

KEYS = Keys(
    {
        "DATASETS": {"TRAIN": ["fruits_train"], "TEST": ["fruits_val"]},
        "DATALOADER": {"FILTER_EMPTY_ANNOTATIONS": True},
        "INPUT": {"MASK_FORMAT": "polygon", "RANDOM_FLIP": "horizontal"},
        "MODEL": {
            "META_ARCHITECTURE": "GeneralizedRCNN",
            "MASK_ON": True,
            "KEYPOINT_ON": False,
            "ROI_HEADS": {"NUM_CLASSES": 2},
            "RETINANET": {"NUM_CLASSES": 2},
            "ROI_KEYPOINT_HEAD": {"NUM_KEYPOINTS": 17},
        },
        "TEST": {"KEYPOINT_OKS_SIGMAS": []},
    }
)
"""The part of detectron2's keys that the checks read, as they would be for `fruits`."""


def keys_with(**values: Any) -> Keys:
    """`KEYS` with some values replaced; `MODEL__MASK_ON` stands for `MODEL.MASK_ON`."""
    return changed_keys(KEYS, **values)


def annotation(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": number,
        "image_id": 1 + number % 2,
        "category_id": 1 + number % 2,
        "bbox": [2, 3, 10 + number / 8, 8],
        "area": 80,
        "iscrowd": 0,
        "segmentation": [[2, 3, 12, 3, 12, 11, 2, 11]],
        **changes,
    }


def coco_content() -> dict[str, Any]:
    """Two images, three objects, two classes."""
    return {
        "info": {},
        "images": [{"id": number, "file_name": f"{number}.jpg", "width": 40, "height": 30} for number in (1, 2)],
        "annotations": [annotation(number) for number in (1, 2, 3)],
        "categories": [{"id": 1, "name": "date"}, {"id": 2, "name": "fig"}],
    }


def write_fruits(folder: Path) -> DatasetRequest:
    """A sound data set on disk, and the request that names it."""
    for split in ("train", "val"):
        (folder / split).mkdir(parents=True)
        (folder / f"{split}.json").write_text(json.dumps(coco_content()))
        for number in (1, 2, 3):  # one more than is listed
            (folder / split / f"{number}.jpg").write_bytes(b"")
    return DatasetRequest(
        kind=DatasetKind.coco_json,
        name="fruits",
        root=str(folder),
        train=SplitRequest(json=str(folder / "train.json"), images=str(folder / "train")),
        val=ValRequest(json=str(folder / "val.json"), images=str(folder / "val")),
    )


def request_for(dataset: DatasetRequest, keys: Keys = KEYS, overrides: tuple[str, ...] = ()) -> RunRequest:
    return a_request(keys, dataset=dataset, typed=dataclasses.replace(TYPED, overrides=overrides))
