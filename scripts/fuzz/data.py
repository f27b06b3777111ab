"""Spoils COCO files in one or two ways and looks what the checks say: python -m scripts.fuzz.data [NUMBER [SEED]]

Nothing is trained. A file that is accepted is read as a training and an evaluation would: by detectron2's loader, into
instances with masks, and by pycocotools.
"""

from __future__ import annotations

import copy
import json
import math
import random
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from launcher.config.keys import Keys
from launcher.config.request import DatasetKind, DatasetRequest, RunRequest, SplitRequest, ValRequest
from launcher.data.facts import inspect_dataset
from launcher.data.plan import plan_dataset
from launcher.data.rle import run_lengths
from launcher.errors import DataError
from tests.values import a_request  # the one place where a whole request is written down

Content = dict[str, Any]
Spoil = Callable[[random.Random, Content], object]

SIZE = 64
SECONDS = 10
"""A look at a file of this size that takes longer hangs."""
SILENT, NOTICED, REFUSED = "silent", "noticed", "refused"
ODD_VALUES: tuple[Any, ...] = (
    None, True, "", "1", "x" * 300, "a\0b", "\x1b[2J", "\ud800", -1, 0, 0.5, 2**63, 2**64, 10**400, -(10**400),
    1e300, 2e8, math.nan, math.inf, -math.inf, [], {}, [[]], [None], [[None] * 6],
    {"size": [10**6, 10**6], "counts": "o"},
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One way to spoil a file, and the least that has to be said about it."""

    name: str
    spoil: Spoil
    at_least: str


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One spoiled file, and what came of it."""

    number: int
    kinds: tuple[str, ...]
    mask_on: bool
    got: str
    """silent, noticed, refused, or `traceback` and `hang`, which are wrong."""
    wrong: str
    """Empty, or what should not have happened."""


def sound(rng: random.Random) -> Content:
    """Four images with six objects each, of two classes, with polygons that are their boxes."""
    images = [{"id": n, "file_name": f"{n}.png", "width": SIZE, "height": SIZE} for n in range(1, 5)]
    annotations: list[Content] = []
    for image in images:
        for _ in range(6):
            width, height = rng.randint(8, 20), rng.randint(8, 20)
            left, top = rng.randint(20, 40), rng.randint(20, 40)
            box = [left, top, width, height]
            annotations.append(_object(len(annotations) + 1, int(image["id"]), box))
    names = ["left end", "right end"]
    categories = [{"id": n, "name": f"class {n}", "keypoints": names} for n in (1, 2)]
    return {"images": images, "annotations": annotations, "categories": categories}


def write_images(folder: Path) -> None:
    """The images that `sound` lists, to train on and to validate with."""
    for part in ("train", "val"):
        (folder / part).mkdir(exist_ok=True)
        for number in range(1, 5):
            Image.new("RGB", (SIZE, SIZE)).save(folder / part / f"{number}.png")


def _object(number: int, image_id: int, box: list[int]) -> Content:
    left, top, width, height = box
    return {
        "id": number,
        "image_id": image_id,
        "category_id": 1 + number % 2,
        "bbox": box,
        "area": width * height,
        "iscrowd": 0,
        "segmentation": [[left, top, left + width, top, left + width, top + height, left, top + height]],
        "keypoints": [left + 1, top + 1, 2, left + 5, top + 5, 1],
        "num_keypoints": 2,
    }


def _each(change: Callable[[Content], object]) -> Spoil:
    return lambda _, content: [change(entry) for entry in content["annotations"]]


def _one(change: Callable[[random.Random, Content], object]) -> Spoil:
    return lambda rng, content: change(rng, rng.choice(content["annotations"]))


def _scaled(factor: float, *parts: str) -> Spoil:
    def change(entry: Content) -> None:
        if "bbox" in parts:
            entry["bbox"] = [factor * value for value in entry["bbox"]]
        if "segmentation" in parts:
            entry["segmentation"] = [[factor * value for value in polygon] for polygon in entry["segmentation"]]

    return _each(change)


def _polygon_value(rng: random.Random, entry: Content) -> None:
    polygon = entry["segmentation"][0]
    polygon[rng.randrange(len(polygon))] = rng.choice([None, "3", math.nan, math.inf, 2e8, -2e8, 10**400, True, [1, 2]])


def _keypoint_value(rng: random.Random, entry: Content) -> None:
    entry["keypoints"][rng.randrange(6)] = rng.choice([None, "3", [1], {}])


def _rle(*size: Any) -> Spoil:
    return _one(lambda rng, entry: entry.update(segmentation={"size": list(size), "counts": rng.choice(["o", [9]])}))


def _boxes(write: Callable[[float, float, float, float], list[float]]) -> Spoil:
    return _each(lambda entry: entry.update(bbox=write(*entry["bbox"])))


def _as_rle(rng: random.Random, entry: Content) -> None:
    """The mask of the box, somewhere else in the image, in one of both ways to write it."""
    left, top, width, height = entry["bbox"]
    bitmap = np.zeros((SIZE, SIZE), np.uint8, order="F")
    bitmap[: SIZE - top - height, : SIZE - left - width][:8, :8] = 1
    rle = coco_mask.encode(bitmap)
    counts = rle["counts"].decode()
    entry["segmentation"] = {"size": [SIZE, SIZE], "counts": rng.choice([counts, run_lengths(counts)])}


def _blank(rng: random.Random, entry: Content) -> None:
    left, top, width, _ = entry["bbox"]
    blanks = ({"size": [SIZE, SIZE], "counts": [SIZE**2]}, {"size": [SIZE, SIZE], "counts": "PP4"})
    entry["segmentation"] = rng.choice([*blanks, [[left, top, left + width, top, left, top]]])


def _copies(_: random.Random, content: Content) -> None:
    content["annotations"] += [{**entry, "id": 1000 + entry["id"]} for entry in content["annotations"]]


def _images_again(_: random.Random, content: Content) -> None:
    content["images"] += [{**image, "id": 100 + image["id"]} for image in content["images"]]


def _damaged_rle(rng: random.Random, entry: Content) -> None:
    entry["segmentation"] = {"size": [SIZE, SIZE], "counts": rng.choice(["o", "PP4o", "PP3", "PP", "PPPPPPPPP1"])}


def _any_leaf(rng: random.Random, content: Content) -> None:
    """Anything anywhere: nothing is expected but a sound answer."""
    where: Any = content
    while True:
        keys = list(where) if isinstance(where, dict) else list(range(len(where)))
        key = rng.choice(keys)
        if not isinstance(where[key], (dict, list)) or not where[key] or rng.random() < 0.1:
            where[key] = copy.deepcopy(rng.choice(ODD_VALUES))
            return
        where = where[key]


def _drop_key(rng: random.Random, content: Content) -> None:
    entry = rng.choice(content[rng.choice(list(content))])
    entry.pop(rng.choice(list(entry)))


def _more(rng: random.Random, content: Content) -> None:
    content["annotations"].append(copy.deepcopy(rng.choice(content["annotations"])))


KINDS = (
    Kind(name="fractions", spoil=_scaled(1 / SIZE, "bbox", "segmentation"), at_least=REFUSED),
    Kind(name="boxes as fractions", spoil=_scaled(1 / SIZE, "bbox"), at_least=REFUSED),
    Kind(name="corners", spoil=_boxes(lambda x, y, w, h: [x, y, x + w, y + h]), at_least=REFUSED),
    Kind(name="resized afterwards", spoil=_scaled(3, "bbox", "segmentation"), at_least=REFUSED),
    Kind(name="polygons times ten", spoil=_scaled(10, "segmentation"), at_least=REFUSED),
    Kind(name="map coordinates", spoil=_scaled(1e5, "segmentation"), at_least=REFUSED),
    Kind(name="a value of a polygon", spoil=_one(_polygon_value), at_least=REFUSED),
    Kind(name="a keypoint", spoil=_one(_keypoint_value), at_least=REFUSED),
    Kind(name="RLE of another size", spoil=_rle(SIZE, SIZE - 1), at_least=REFUSED),
    Kind(name="RLE of a million", spoil=_rle(10**6, 10**6), at_least=REFUSED),
    Kind(
        name="id beyond 64 bits",
        spoil=_one(lambda rng, entry: entry.update(id=2**63 + rng.randrange(9))),
        at_least=REFUSED,
    ),
    Kind(
        name="image_id is text",
        spoil=_one(lambda _, entry: entry.update(image_id=str(entry["image_id"]))),
        at_least=REFUSED,
    ),
    Kind(
        name="the same class twice",
        spoil=lambda _, content: content["categories"][1].update(name="class 1"),
        at_least=REFUSED,
    ),
    Kind(
        name="a class without objects",
        spoil=lambda _, content: content["categories"].append({"id": 9, "name": "none"}),
        at_least=NOTICED,
    ),
    Kind(name="centers", spoil=_boxes(lambda x, y, w, h: [x + w / 2, y + h / 2, w, h]), at_least=REFUSED),
    Kind(name="swapped corners", spoil=_boxes(lambda x, y, w, h: [y, x, y + h, x + w]), at_least=REFUSED),
    Kind(name="every object twice", spoil=_copies, at_least=NOTICED),
    Kind(name="every image twice", spoil=_images_again, at_least=REFUSED),
    Kind(name="blank masks", spoil=_one(_blank), at_least=NOTICED),
    Kind(name="an RLE elsewhere", spoil=_one(_as_rle), at_least=NOTICED),
    Kind(name="a damaged RLE", spoil=_one(_damaged_rle), at_least=REFUSED),
    Kind(name="only crowds", spoil=_each(lambda entry: entry.update(iscrowd=1)), at_least=NOTICED),
    Kind(name="an object twice", spoil=_more, at_least=REFUSED),
    Kind(name="one key less", spoil=_drop_key, at_least=SILENT),
    Kind(name="any value", spoil=_any_leaf, at_least=SILENT),
    Kind(name="any other value", spoil=_any_leaf, at_least=SILENT),
)
MASKS_ONLY = {
    "polygons times ten",
    "map coordinates",
    "a value of a polygon",
    "RLE of another size",
    "RLE of a million",
    "blank masks",
    "an RLE elsewhere",
}
"""Nobody reads these where no masks are learnt."""
EVALUATED_ONLY = {"id beyond 64 bits"}


def trials(number: int, seed: int, *, read: bool = True) -> Iterator[Trial]:
    """So many files, each spoiled in one or two ways."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder))
        for index in range(number):
            yield _try(index, rng, Path(folder), read=read)


def _try(index: int, rng: random.Random, folder: Path, *, read: bool) -> Trial:
    kinds = rng.sample(KINDS, rng.choice([1, 1, 2]))
    mask_on, split = rng.random() < 0.7, rng.choice(["train", "val", "val"])
    return try_kinds(kinds, rng, folder=folder, mask_on=mask_on, split=split, number=index, read=read)


def try_kinds(
    kinds: Sequence[Kind],
    rng: random.Random,
    *,
    folder: Path,
    mask_on: bool,
    split: str,
    number: int = 0,
    read: bool = True,
) -> Trial:
    """Spoil one of two sound files so, and look."""
    contents = {each: sound(rng) for each in ("train", "val")}
    is_whole = [_apply(kind, rng, contents[split]) for kind in kinds]
    for each, content in contents.items():
        (folder / f"{each}.json").write_text(json.dumps(content))
    got, wrong = _look(folder, mask_on=mask_on)
    if not wrong and len(kinds) == 1 and all(is_whole):  # of two ways in one file one may hide the other
        wrong = _said_too_little(kinds[0], got, split, mask_on=mask_on)
    if not wrong and got != REFUSED and read:
        wrong = _read_as_training_does(folder, mask_on=mask_on, is_silent=got == SILENT)
    return Trial(number=number, kinds=tuple(kind.name for kind in kinds), mask_on=mask_on, got=got, wrong=wrong)


def _apply(kind: Kind, rng: random.Random, content: Content) -> bool:
    """Whether it could be done; another way may have left nothing to spoil."""
    try:
        kind.spoil(rng, content)
    except (KeyError, TypeError, IndexError, AttributeError, OverflowError, ValueError):
        return False
    return True


def _said_too_little(kind: Kind, got: str, split: str, *, mask_on: bool) -> str:
    unread = (set() if mask_on else MASKS_ONLY) | (set() if split == "val" else EVALUATED_ONLY)
    order = (SILENT, NOTICED, REFUSED)
    too_little = kind.name not in unread and order.index(got) < order.index(kind.at_least)
    return f"{kind.name} is only {got}" if too_little else ""


def _look(folder: Path, *, mask_on: bool) -> tuple[str, str]:
    """What the checks say, or `traceback` or `hang` with the details."""
    dataset, keys = _dataset(folder), _keys(mask_on)

    def too_long(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(SECONDS)
    try:
        plan = plan_dataset(_request(dataset, keys), inspect_dataset(dataset, keys))
    except DataError as error:
        str(error).encode("utf-8")
        return REFUSED, ""
    except TimeoutError:
        return "hang", f"more than {SECONDS} s"
    except Exception:  # what the checks must never raise is what is looked for
        return "traceback", traceback.format_exc()
    finally:
        signal.alarm(0)
    "".join(plan.notices).encode("utf-8")
    return (NOTICED if plan.notices else SILENT), ""


def _dataset(folder: Path) -> DatasetRequest:
    train = SplitRequest(json=str(folder / "train.json"), images=str(folder / "train"))
    val = ValRequest(json=str(folder / "val.json"), images=str(folder / "val"))
    return DatasetRequest(kind=DatasetKind.coco_json, name="fuzz", root=str(folder), train=train, val=val)


def _keys(mask_on: bool) -> Keys:
    return Keys(
        {
            "DATASETS": {"TRAIN": ["fuzz_train"], "TEST": ["fuzz_val"]},
            "DATALOADER": {"FILTER_EMPTY_ANNOTATIONS": True},
            "INPUT": {"MASK_FORMAT": "polygon", "RANDOM_FLIP": "horizontal"},
            "MODEL": {
                "META_ARCHITECTURE": "GeneralizedRCNN",
                "MASK_ON": mask_on,
                "KEYPOINT_ON": not mask_on,
                "ROI_HEADS": {"NUM_CLASSES": 2},
                "RETINANET": {"NUM_CLASSES": 2},
                "ROI_KEYPOINT_HEAD": {"NUM_KEYPOINTS": 2},
            },
            "TEST": {"KEYPOINT_OKS_SIGMAS": [0.1, 0.1]},
        }
    )


def _request(dataset: DatasetRequest, keys: Keys) -> RunRequest:
    return a_request(keys, dataset=dataset)


def _read_as_training_does(folder: Path, *, mask_on: bool, is_silent: bool) -> str:
    """What stops detectron2 or pycocotools at a file that was accepted, or that the truth is not found to be true."""
    try:
        _train(folder, mask_on=mask_on)
        aps = _evaluate(folder / "val.json", mask_on=mask_on)
    except Exception:  # whatever it is, a user would meet it
        return "accepted, and then: " + traceback.format_exc()
    return f"accepted in silence, and the AP of the truth itself is {aps}" if is_silent and min(aps) < 0.99 else ""


def _train(folder: Path, *, mask_on: bool) -> None:
    from detectron2.data import detection_utils
    from detectron2.data.datasets.coco import load_coco_json
    from detectron2.data.transforms import HFlipTransform, TransformList

    unread = "keypoints" if mask_on else "segmentation"
    for record in load_coco_json(str(folder / "train.json"), str(folder), "fuzz_now"):
        shape = (record["height"], record["width"])
        objects = [
            detection_utils.transform_instance_annotations(
                {key: value for key, value in one.items() if key != unread},
                TransformList([HFlipTransform(record["width"])]),
                shape,
                keypoint_hflip_indices=np.asarray([1, 0]),
            )
            for one in record["annotations"]
            if one.get("iscrowd", 0) == 0
        ]
        detection_utils.annotations_to_instances(objects, shape, mask_format="bitmask")


def _evaluate(val: Path, *, mask_on: bool) -> list[float]:
    """The APs of the annotations themselves taken for detections."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth = COCO(str(val))
    known = [one for one in truth.dataset["annotations"] if one["image_id"] in truth.imgs]
    found = [{**{key: one[key] for key in ("image_id", "category_id", "bbox")}, "score": 0.5} for one in known]
    aps = []
    kinds = ("bbox", "segm") if mask_on else ("bbox", "keypoints")
    for kind in kinds:
        part = {"segm": "segmentation", "keypoints": "keypoints"}.get(kind)
        results = [{**each, **({part: one[part]} if part else {})} for each, one in zip(found, known, strict=True)]
        if part:
            results = [{key: value for key, value in each.items() if key != "bbox"} for each in results]
        if kind == "segm":
            results = [{**each, "segmentation": truth.annToRLE(one)} for each, one in zip(results, known, strict=True)]
        evaluation = COCOeval(truth, truth.loadRes(copy.deepcopy(results)), kind)
        if kind == "keypoints":
            evaluation.params.kpt_oks_sigmas = np.asarray([0.1, 0.1])
        evaluation.evaluate()
        evaluation.accumulate()
        precisions = evaluation.eval["precision"][:, :, :, 0, -1]
        aps.append(float(precisions[precisions > -1].mean()) if (precisions > -1).any() else -1.0)
    return aps


def main() -> None:
    """Try so many files, and say what was wrong."""
    number, seed = int(([*sys.argv[1:2], "300"])[0]), int(([*sys.argv[2:3], "0"])[0])
    done = list(trials(number, seed))
    for trial in done:
        if trial.wrong:
            print(f"{trial.number} {trial.kinds} mask_on={trial.mask_on} {trial.got}: {trial.wrong}\n")
    counts = Counter(trial.got for trial in done)
    wrong = sum(bool(trial.wrong) for trial in done)
    print(
        f"{number} files, seed {seed}: "
        + ", ".join(f"{got} {count}" for got, count in counts.items())
        + f"; {wrong} wrong"
    )
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
