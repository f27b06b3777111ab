"""Annotations as large as COCO's: time and memory until the first iteration, plain detectron2 and the launcher in turn.

    python scripts/bench/coco_size.py make FOLDER [--images 118287] [--annotations 860001]
    python scripts/bench/coco_size.py run FOLDER [--rounds 1] [--without-plain] [SETTING=VALUE ...]

`make` writes train.json, small.json (100 images) and the images, hard links to a few small ones. `run` trains a small
model on the CPU with two loader workers for a few iterations: plain detectron2, the launcher with an empty cache, the
launcher again, and the launcher and plain detectron2 with the file of 100 images; then it plans. It prints, for each,
seconds until the first iteration is done, CPU seconds of the whole command, and the most memory that each kind of
process had together: for itself (private), with its part of what is shared (PSS), and with all of it (RSS).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

SHAPES = ((640, 480), (480, 640), (500, 375))
LINKS = 30_000
"""Names for one file; ext4 allows 65,000."""
CLASSES = 80


def make(folder: Path, num_images: int, num_annotations: int) -> None:
    (folder / "images").mkdir(parents=True, exist_ok=True)
    _link_images(folder / "images", num_images)
    _write(folder / "train.json", range(1, num_images + 1), num_annotations)
    _write(folder / "small.json", range(1, 101), 700)


def _link_images(folder: Path, number: int) -> None:
    originals: dict[tuple[int, int], Path] = {}
    for image_id in range(1, number + 1):
        shape = image_id % len(SHAPES)
        original = originals.setdefault((shape, image_id // LINKS), folder / f"original_{shape}_{image_id}.jpg")
        if not original.exists():
            Image.new("RGB", SHAPES[shape], (90, 120, 150)).save(original)
        name = folder / f"{image_id:012}.jpg"
        if not name.exists():
            os.link(original, name)


def _write(file: Path, image_ids: range, num_annotations: int) -> None:
    numbers = random.Random(7)
    categories = [{"id": one, "name": f"class {one}", "supercategory": "thing"} for one in range(1, CLASSES + 1)]
    with open(file, "w", encoding="utf-8") as out:
        out.write('{"info": {"description": "made by scripts/bench/coco_size.py"}, "licenses": [], "images": [')
        _write_list(out, (_image(image_id) for image_id in image_ids))
        out.write('], "annotations": [')
        _write_list(out, (_annotation(one, numbers, image_ids) for one in range(1, num_annotations + 1)))
        out.write(f'], "categories": {json.dumps(categories)}}}')


def _write_list(out: Any, entries: Iterator[dict[str, Any]]) -> None:
    for place, entry in enumerate(entries):
        out.write((", " if place else "") + json.dumps(entry))


def _image(image_id: int) -> dict[str, Any]:
    width, height = SHAPES[image_id % len(SHAPES)]
    return {
        "license": 1,
        "file_name": f"{image_id:012}.jpg",
        "coco_url": f"http://images.example.org/train2017/{image_id:012}.jpg",
        "height": height,
        "width": width,
        "date_captured": "2013-11-14 11:18:45",
        "id": image_id,
    }


def _annotation(annotation_id: int, numbers: random.Random, image_ids: range) -> dict[str, Any]:
    """In no order of images, as in COCO; one of a hundred is a crowd."""
    image_id = image_ids[int(numbers.random() * len(image_ids))]
    width, height = SHAPES[image_id % len(SHAPES)]
    wide, high = 20 + numbers.random() * 200, 20 + numbers.random() * 200
    left, top = numbers.random() * (width - wide), numbers.random() * (height - high)
    is_crowd = annotation_id % 100 == 0
    return {
        "segmentation": _rle(width, height) if is_crowd else [_polygon(numbers, left, top, wide, high)],
        "area": round(wide * high * 0.8, 4),
        "iscrowd": int(is_crowd),
        "image_id": image_id,
        "bbox": [round(left, 2), round(top, 2), round(wide, 2), round(high, 2)],
        "category_id": 1 + int(numbers.random() ** 2 * CLASSES),
        "id": annotation_id,
    }


def _polygon(numbers: random.Random, left: float, top: float, wide: float, high: float) -> list[float]:
    """Around the box, with between 8 and 36 corners."""
    count = 2 + int(numbers.random() * 8)
    steps = [step / count for step in range(count)]
    points = [(step, 0.0) for step in steps] + [(1.0, step) for step in steps]
    points += [(1 - step, 1.0) for step in steps] + [(0.0, 1 - step) for step in steps]
    return [round(value, 2) for x, y in points for value in (left + x * wide, top + y * high)]


def _rle(width: int, height: int) -> dict[str, Any]:
    counts = [width * height // 40] * 40
    return {"counts": [*counts, width * height - sum(counts)], "size": [height, width]}


PLAIN = """
import sys, time
from detectron2.config import get_cfg
from detectron2.data.datasets import register_coco_instances
from detectron2.engine import DefaultTrainer, HookBase

class Say(HookBase):
    def after_step(self):
        print("iteration", self.trainer.iter + 1, flush=True)

config, annotations, images, output = sys.argv[1:]
register_coco_instances("size_train", {}, annotations, images)
cfg = get_cfg()
cfg.merge_from_file(config)
cfg.OUTPUT_DIR = output
trainer = DefaultTrainer(cfg)
trainer.register_hooks([Say()])
trainer.train()
"""
SETTINGS = (
    "dataset=coco_json",
    "model=COCO-Detection/faster_rcnn_R_50_FPN_1x",
    "dataset.name=size",
    "DATASETS.TEST=[]",
    "MODEL.WEIGHTS=",
    "MODEL.RESNETS.DEPTH=18",
    "MODEL.RESNETS.RES2_OUT_CHANNELS=64",
    "MODEL.RPN.POST_NMS_TOPK_TRAIN=50",
    "INPUT.MIN_SIZE_TRAIN=[96]",
    "INPUT.MAX_SIZE_TRAIN=128",
    "SOLVER.IMS_PER_BATCH=2",
    "SOLVER.STEPS=[]",
    "SOLVER.MAX_ITER=2",
    "SOLVER.BASE_LR=0.00001",
    "SEED=1",
    "DATALOADER.NUM_WORKERS=2",
    "logging.period=1",
    "logging.images=0",
    "run.provenance=false",
    "resume=never",
    "device=cpu",
)
MEMORY = ("private_mib", "pss_mib", "rss_mib")


@dataclass
class Measured:
    """What one command took."""

    first_s: float = 0.0
    """Until the first iteration was done, or the end where there is none."""
    cpu_s: float = 0.0
    private_mib: dict[str, float] = field(default_factory=dict)
    """The most that processes of each kind had at one time, together."""
    pss_mib: dict[str, float] = field(default_factory=dict)
    rss_mib: dict[str, float] = field(default_factory=dict)

    def see(self, kinds: dict[str, list[tuple[float, ...]]]) -> None:
        for kind, sizes in kinds.items():
            totals = map(sum, zip(*sizes, strict=True))
            for most, total in zip((self.private_mib, self.pss_mib, self.rss_mib), totals, strict=True):
                most[kind] = max(most.get(kind, 0.0), total)


def measure(command: Sequence[str], environ: dict[str, str]) -> Measured:
    """Run a command to its end."""
    measured, before = Measured(), os.times()
    started = time.monotonic()
    process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    watching = threading.Thread(target=_watch, args=(process, measured), daemon=True)
    watching.start()
    said = []
    assert process.stdout is not None
    for line in process.stdout:
        said.append(line)
        if re.match(r"iteration \d", line) and not measured.first_s:
            measured.first_s = time.monotonic() - started
    if process.wait() != 0:
        sys.exit(f"{' '.join(command)} failed:\n{''.join(said)}")
    measured.first_s = measured.first_s or time.monotonic() - started
    after = os.times()
    measured.cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
    watching.join()
    return measured


def _watch(process: subprocess.Popen[str], measured: Measured) -> None:
    while process.poll() is None:
        measured.see(_sizes(process.pid))
        time.sleep(0.3)


def _sizes(root: int) -> dict[str, list[tuple[float, ...]]]:
    """(private, PSS, RSS) in MiB of a process and all that it started, by kind."""
    kinds: dict[str, list[tuple[float, ...]]] = {}
    for pid, kind in _tree(root, "command"):
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        sizes = {name: int(size) / 1024 for name, size in re.findall(r"^(\w+): +(\d+) kB", rollup, re.MULTILINE)}
        private = sizes.get("Private_Clean", 0.0) + sizes.get("Private_Dirty", 0.0)
        kinds.setdefault(kind, []).append((private, sizes.get("Pss", 0.0), sizes.get("Rss", 0.0)))
    return kinds


def _tree(pid: int, kind: str) -> Iterator[tuple[int, str]]:
    yield pid, kind
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in map(int, children):
        yield from _tree(child, _kind_of(child, kind))


def _kind_of(pid: int, parent: str) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return parent
    if "launcher.train" in words and parent == "command":
        return "trainer"
    if "launcher.data.index" in words or parent == "indexer":
        return "indexer"
    return "loader workers" if parent in ("trainer", "command") else parent


def run(folder: Path, rounds: int, settings: Sequence[str], *, with_plain: bool) -> None:
    rows: dict[str, list[Measured]] = {}
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as temporary:
            for name, measured in _round(folder, Path(temporary), settings, with_plain=with_plain):
                rows.setdefault(name, []).append(measured)
                print(f"round {number + 1}", _line(name, [measured]), flush=True)
    print(f"\nmedians of {rounds}, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")
    for name, measurements in rows.items():
        print(_line(name, measurements))


def _round(
    folder: Path, temporary: Path, settings: Sequence[str], *, with_plain: bool
) -> Iterator[tuple[str, Measured]]:
    environ = {**os.environ, "XDG_CACHE_HOME": str(temporary / "cache"), "DETECTRON2_DATASETS": str(temporary)}
    launcher = [sys.executable, "-m", "launcher"]

    def ours(file: str, command: str = "train") -> Measured:
        files = (f"dataset.train.json={folder / file}", f"dataset.train.images={folder / 'images'}")
        where = (f"run.root={temporary / 'runs'}", f"run.name={file}")
        return measure([*launcher, command, *SETTINGS, *files, *where, *settings], environ)

    def plain(file: str) -> Measured:
        (config,) = (temporary / "runs").rglob("small.json/config.yaml")
        arguments = [str(config), str(folder / file), str(folder / "images"), str(temporary / "plain")]
        return measure([sys.executable, "-c", PLAIN, *arguments], environ)

    ours("small.json")  # fills the cache of detectron2's keys, and writes config.yaml
    yield "launcher, 100 images", ours("small.json")
    if with_plain:
        yield "plain detectron2, 100 images", plain("small.json")
        yield "plain detectron2", plain("train.json")
    yield "launcher, first run", ours("train.json")
    yield "launcher, later run", ours("train.json")
    yield "launcher plan", ours("train.json", "plan")


def _line(name: str, measurements: Sequence[Measured]) -> str:
    first, cpu = (statistics.median(getattr(one, what) for one in measurements) for what in ("first_s", "cpu_s"))
    memory = ", ".join(
        f"{kind} " + " / ".join(f"{_median_of(measurements, which, kind):.0f}" for which in MEMORY)
        for kind in measurements[0].private_mib
    )
    return f"{name:30} first iteration {first:6.1f} s   CPU {cpu:6.1f} s   MiB private / PSS / RSS: {memory}"


def _median_of(measurements: Sequence[Measured], which: str, kind: str) -> float:
    return statistics.median(getattr(one, which).get(kind, 0.0) for one in measurements)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("make", "run"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=118_287)
    parser.add_argument("--annotations", type=int, default=860_001)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--without-plain", action="store_true", help="for files too large for it")
    asked, settings = parser.parse_known_args()
    if asked.what == "make":
        make(asked.folder, asked.images, asked.annotations)
    else:
        run(asked.folder.absolute(), asked.rounds, settings, with_plain=not asked.without_plain)


if __name__ == "__main__":
    main()
