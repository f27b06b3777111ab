"""The small training that all trials are made with: 24 images, 20 iterations, planned as the launcher plans it."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console

from launcher.cli.training import make_board, make_session
from launcher.config.adjustment import Adjustment
from launcher.config.compose import run_hydra
from launcher.config.keys import Keys
from launcher.config.request import RunRequest
from launcher.device.facts import DeviceFacts
from launcher.device.look.probe import look_at_devices
from launcher.launch.session import Session
from launcher.launch.supervise import execute
from launcher.run.identity import run_folder
from launcher.run.paths import RunPaths

ITERATIONS = 20
CHECKPOINT_PERIOD = 5
NUM_TRAIN, NUM_VAL = 24, 4

# The three periods have no common divisor, so that every kind of interruption comes about.
SETTINGS = (
    "model=COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x",
    'MODEL.WEIGHTS=""',
    "MODEL.BACKBONE.FREEZE_AT=0",
    "MODEL.RESNETS.NORM=BN",
    "MODEL.RESNETS.STEM_OUT_CHANNELS=4",
    "MODEL.RESNETS.RES2_OUT_CHANNELS=8",
    "MODEL.RESNETS.WIDTH_PER_GROUP=2",
    "MODEL.FPN.OUT_CHANNELS=8",
    "MODEL.RPN.POST_NMS_TOPK_TRAIN=20",
    "MODEL.RPN.POST_NMS_TOPK_TEST=60",
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE=8",
    "MODEL.ROI_BOX_HEAD.FC_DIM=16",
    "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION=3",
    "MODEL.ROI_MASK_HEAD.CONV_DIM=8",
    "MODEL.ROI_MASK_HEAD.NUM_CONV=1",
    "MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION=4",
    "INPUT.MIN_SIZE_TRAIN=[48,64]",
    "INPUT.MIN_SIZE_TEST=64",
    # So little training finds nothing with confidence. With all detections counted the AP is a number that varies.
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST=0.0",
    "TEST.DETECTIONS_PER_IMAGE=30",
    "TEST.EVAL_PERIOD=7",
    "DATALOADER.NUM_WORKERS=0",
    "SOLVER.IMS_PER_BATCH=2",
    "SOLVER.BASE_LR=0.01",
    "SOLVER.WARMUP_ITERS=6",
    "SOLVER.STEPS=[12]",
    f"SOLVER.MAX_ITER={ITERATIONS}",
    f"SOLVER.CHECKPOINT_PERIOD={CHECKPOINT_PERIOD}",
    "SEED=3",
    "logging.images=0",
    "logging.period=4",
    "run.retries=0",
    "device=cpu",
    "dataset=coco_json",
    "dataset.name=trial",
    "dataset.index=on",
)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A request of which variants can be made without composing again."""

    request: RunRequest
    settings: tuple[str, ...]
    """What a person would type for it."""

    def named(self, name: str, *, processes: int = 1, background: bool = False, **keys: Any) -> RunRequest:
        """The request for the run of that name; `keys` are detectron2's, with two underscores for each dot."""
        return replace(
            self.request,
            run=replace(self.request.run, name=name),
            device=replace(self.request.device, count=processes),
            checkpoint=replace(self.request.checkpoint, async_=background),
            keys=_with_keys(self.request.keys, keys),
        )


def make_job(folder: Path, *more: str) -> Job:
    """Write the images under `folder` and compose the request for them."""
    data = folder / "data"
    if not data.exists():
        write_images(data)
    settings = (*SETTINGS, *data_settings(data), f"run.root={folder / 'runs'}", *more)
    return Job(request=compose(settings), settings=settings)


def data_settings(data: Path) -> list[str]:
    return [
        f"dataset.{split}.{kind}={data / name}"
        for split in ("train", "val")
        for kind, name in (("json", f"{split}.json"), ("images", split))
    ]


def compose(settings: tuple[str, ...]) -> RunRequest:
    composed: list[RunRequest] = []
    run_hydra(list(settings), lambda request: composed.append(request))  # type: ignore[arg-type, return-value]
    return composed[0]


def session(request: RunRequest) -> Session:
    """What a launch has around it, but for what is printed and for looking at the same machine again and again."""
    board = make_board(request)
    return replace(
        make_session(request, ("launcher", "train"), partial(execute, others=board), board),
        console=Console(file=io.StringIO()),
        look=lambda _: machine(),
    )


@cache
def machine() -> DeviceFacts:
    """Looked at once: nothing of it changes between the attempts of a trial."""
    return look_at_devices(os.environ, full=False, try_gpus=False)


def paths_of(request: RunRequest) -> RunPaths:
    return RunPaths(run_folder(request))


def _with_keys(keys: Keys, changed: Mapping[str, Any]) -> Keys:
    return keys.with_(
        Adjustment(setting=name.replace("__", "."), asked=None, planned=value, reason="trial")
        for name, value in changed.items()
    )


def write_images(folder: Path) -> None:
    """Rectangles of two colours on noise, wide and high images in turn, in COCO format."""
    drawn = np.random.RandomState(0)
    for split, count in (("train", NUM_TRAIN), ("val", NUM_VAL)):
        (folder / split).mkdir(parents=True)
        images, annotations = [], []
        for number in range(1, count + 1):
            width, height = (96, 64) if number % 3 else (64, 80)
            pixels = drawn.randint(0, 90, (height, width, 3), dtype=np.uint8)
            for kind in (1, 2):
                left, top = int(drawn.randint(2, width - 40)), int(drawn.randint(2, height - 40))
                wide, high = int(drawn.randint(14, 36)), int(drawn.randint(14, 36))
                pixels[top : top + high, left : left + wide, kind] = 230
                annotations.append(_annotation(len(annotations) + 1, number, kind, left, top, wide, high))
            name = f"{number:02}.{'png' if number % 2 else 'jpg'}"
            Image.fromarray(pixels).save(folder / split / name)
            images.append({"id": number, "file_name": name, "width": width, "height": height})
        categories = [{"id": 1, "name": "green"}, {"id": 2, "name": "blue"}]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (folder / f"{split}.json").write_text(json.dumps(content))


def _annotation(number: int, image: int, kind: int, left: int, top: int, wide: int, high: int) -> dict[str, Any]:
    right, bottom = left + wide, top + high
    return {
        "id": number,
        "image_id": image,
        "category_id": kind,
        "bbox": [left, top, wide, high],
        "segmentation": [[left, top, right, top, right, bottom, left, bottom]],
        "area": wide * high,
        "iscrowd": 0,
    }
