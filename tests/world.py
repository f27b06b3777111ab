"""A folder in which every documented command has what it names: data, images, files of settings, runs."""

from __future__ import annotations

import json
import shutil
import stat
import sys
from pathlib import Path
from typing import Any

from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES

QUICK = (
    "SOLVER.MAX_ITER=2",
    "SOLVER.IMS_PER_BATCH=2",
    "SOLVER.WARMUP_ITERS=0",
    "SOLVER.STEPS=[]",
    "INPUT.MIN_SIZE_TRAIN=[96]",
    "INPUT.MIN_SIZE_TEST=96",
    "DATALOADER.NUM_WORKERS=0",
    "logging.images=0",
    "logging.period=1",
    "run.retries=0",
    "run.in_place=true",
)
"""What makes any training one of seconds."""
SMALL = (
    'MODEL.WEIGHTS=""',
    "MODEL.BACKBONE.FREEZE_AT=0",
    "MODEL.RESNETS.NORM=BN",
    "MODEL.RESNETS.STEM_OUT_CHANNELS=8",
    "MODEL.RESNETS.RES2_OUT_CHANNELS=16",
    "MODEL.RESNETS.WIDTH_PER_GROUP=4",
)
"""What makes a model of the zoo one of megabytes, without weights from the network."""
SMALL_FPN = ("MODEL.FPN.OUT_CHANNELS=16", "MODEL.RPN.POST_NMS_TOPK_TRAIN=50", "MODEL.RPN.POST_NMS_TOPK_TEST=20")

PROGRAM = """\
#!{python}
# The launcher, with settings behind those of a training that let it take seconds.
import sys
from launcher.cli.main import main
from tests.world import shortened
sys.exit(main(shortened(sys.argv[1:])))
"""


def shortened(arguments: list[str]) -> list[str]:
    """The command line of a training with what makes it short; any other as it is."""
    command = arguments[0] if arguments and arguments[0].isalpha() and arguments[0].islower() else "train"
    shows = {"--help", "-h", "--cfg", "-c", "--info"} & set(arguments)
    if shows or command not in ("train", "resume"):
        return arguments
    text = " ".join(arguments)
    if command == "resume":
        return [*arguments, "SOLVER.MAX_ITER=3"] if "MAX_ITER" in text else arguments
    is_zoo = "experiment=demo" not in text
    has_fpn = "FPN" in text or "experiment=" in text
    is_rcnn = "retinanet" not in text
    small = (*SMALL, *(SMALL_FPN[:1] if has_fpn else ()), *(SMALL_FPN[1:] if has_fpn and is_rcnn else ()))
    return [*arguments, *QUICK, *(small if is_zoo else ())]


def write_program(folder: Path) -> Path:
    """A folder for PATH with that launcher."""
    folder.mkdir(parents=True)
    program = folder / "launcher"
    program.write_text(PROGRAM.format(python=sys.executable))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    (folder / "python").symlink_to(sys.executable)
    return folder


def write_world(folder: Path, demo: Path) -> None:
    """Everything but the runs, from a few images of the demo."""
    shutil.copytree(demo, folder / "datasets/demo")
    _write_coco(folder / "datasets/coco", demo)
    for place in ("", "berries", "my", "other"):
        _write_own(folder / place, demo)
    shutil.copy(folder / "other/val.json", folder / "other.json")
    _write_roboflow(folder / "fruits_coco", demo)
    _write_yolo(folder / "fruits_yolo", demo)
    photos = folder / "photos"
    photos.mkdir()
    for number, image in enumerate(sorted((demo / "val").rglob("*.jpg"))[:2], start=1):
        shutil.copy(image, photos / f"{number}.jpg")
    shutil.copy(photos / "1.jpg", folder / "photo.jpg")
    (folder / "log.txt").write_text(
        "RuntimeError: CUDA error: no kernel image is available for execution on the device\n"
    )


def _write_own(folder: Path, demo: Path) -> None:
    """train.json and val.json with all their images, wherever a page may say that they are."""
    for split in ("train", "val"):
        for place in ("images", f"images/{split}", split, "."):
            shutil.copytree(demo / split, folder / place, dirs_exist_ok=True)
        shutil.copy(demo / f"{split}.json", folder / f"{split}.json")


def _write_roboflow(folder: Path, demo: Path) -> None:
    """As Roboflow exports COCO's format: annotations beside the images."""
    for split, name in (("train", "train"), ("val", "valid")):
        shutil.copytree(demo / split, folder / name)
        shutil.copy(demo / f"{split}.json", folder / name / "_annotations.coco.json")


def _write_yolo(folder: Path, demo: Path) -> None:
    """Polygons of four corners, in YOLO's fractions of the image."""
    described: dict[str, Any] = json.loads((demo / "train.json").read_text())
    classes = {one["id"]: number for number, one in enumerate(described["categories"])}
    names = "\n".join(f"  {number}: {one['name']}" for number, one in enumerate(described["categories"]))
    for split, name in (("train", "train"), ("val", "valid")):
        described = json.loads((demo / f"{split}.json").read_text())
        shutil.copytree(demo / split, folder / name / "images")
        (folder / name / "labels").mkdir()
        for image in described["images"]:
            own = [one for one in described["annotations"] if one["image_id"] == image["id"]]
            lines = (f"{classes[one['category_id']]} {_corners(one['bbox'], image)}\n" for one in own)
            (folder / name / "labels" / Path(image["file_name"]).with_suffix(".txt").name).write_text("".join(lines))
    (folder / "data.yaml").write_text(f"train: train/images\nval: valid/images\nnames:\n{names}\n")


def _corners(box: list[float], image: dict[str, Any]) -> str:
    left, top, width, height = box
    xs = (left, left + width, left + width, left)
    ys = (top, top, top + height, top + height)
    return " ".join(f"{x / image['width']:.6f} {y / image['height']:.6f}" for x, y in zip(xs, ys, strict=True))


def _write_coco(folder: Path, demo: Path) -> None:
    """COCO 2017 as detectron2 expects it, with the demo's images and COCO's 80 classes."""
    classes = [{"id": one["id"], "name": one["name"]} for one in COCO_CATEGORIES if one["isthing"]]
    for split in ("train", "val"):
        described: dict[str, Any] = json.loads((demo / f"{split}.json").read_text())
        numbers = {one["id"]: place for place, one in enumerate(described["categories"])}
        for annotation in described["annotations"]:
            annotation["category_id"] = classes[numbers[annotation["category_id"]]]["id"]
            left, top, width, height = annotation["bbox"]
            right, bottom = left + width, top + height
            annotation["segmentation"] = [[left, top, right, top, right, bottom, left, bottom]]  # COCO's are polygons
        described["categories"] = classes
        file = folder / f"annotations/instances_{split}2017.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(described))
        shutil.copytree(demo / split, folder / f"{split}2017")
