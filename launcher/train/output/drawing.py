"""Images of what a model gets and what it makes of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog, detection_utils

from launcher.train.evaluation.pairing import NONE, Detections, Pairs, Truth, pair
from launcher.train.output.canvas import FALSE, MISSED, Labelled, paint
from launcher.train.output.fonts import class_label
from launcher.train.output.shapes import Shape, shapes_of_annotations, shapes_of_result, shapes_of_targets
from launcher.train.output.sheet import Tile, captioned, headed, in_a_row, save_sheet
from launcher.train.samples.mapped import Mapper
from launcher.train.samples.readable import readable
from launcher.train.samples.samplers import read_records
from launcher.train.samples.spread import spread
from launcher.train.seeds import unchanged_randomness

TILE_WIDTH = 440  # pixels
TALLEST_TILE = 700
SCORE_SHOWN = 0.5
MOST_FALSE = 30
"""False positives that are drawn on an image: an untrained model has a hundred of them."""
LEGEND = "solid: right. dashed and red: missed, false positive, or taken for another class (boxes, IoU 0.5)"
NOT_DRAWN = "is not drawn"


@dataclass(frozen=True, kw_only=True)
class Names:
    """How the objects of a data set are called, and how their keypoints are joined."""

    things: Sequence[str]
    stuff: Sequence[str]
    skeleton: Sequence[tuple[int, int]]

    def of(self, shape: Shape) -> str:
        names = self.stuff if shape.is_stuff else self.things
        return names[shape.class_index] if 0 <= shape.class_index < len(names) else f"class {shape.class_index}"


def names_of(metadata: Any) -> Names:
    """From detectron2's MetadataCatalog."""
    keypoints = list(metadata.get("keypoint_names") or ())
    rules = metadata.get("keypoint_connection_rules") or ()
    joined = [
        (keypoints.index(one), keypoints.index(other)) for one, other, *_ in rules if {one, other} <= {*keypoints}
    ]
    things = [class_label(str(name), index) for index, name in enumerate(metadata.get("thing_classes") or ())]
    stuff = [class_label(str(name), index) for index, name in enumerate(metadata.get("stuff_classes") or ())]
    return Names(things=things, stuff=stuff, skeleton=joined)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The objects of an image and what was found on it, in comparison."""

    objects: Sequence[Labelled]
    detections: Sequence[Labelled]
    pairs: Pairs

    def __str__(self) -> str:
        crowds = sum(one.shape.is_crowd for one in self.objects)
        missed = sum(one.fault == MISSED for one in self.objects)
        found, confused, false = (
            int(np.count_nonzero(which))
            for which in (self.pairs.same_class != NONE, self.pairs.other_class != NONE, self.pairs.is_false)
        )
        return (
            f"{len(self.objects) - crowds} objects: {found} found, {missed} missed, {confused} as another class; "
            f"false positives: {false}"
        )


def draw(image: np.ndarray, result: Mapping[str, Any], names: Names, threshold: float) -> np.ndarray:
    """Draw what a model gave for one image: boxes, masks, keypoints, class names and scores, or a segmentation.

    Args:
        image: RGB, uint8, (height, width, 3); a copy of it is drawn on.
        result: detectron2's: `panoptic_seg`, `instances` or `sem_seg`, the first of them that is there.
        names: see `names_of`.
        threshold: the least score of an instance that is drawn.
    """
    shapes = shapes_of_result(result, threshold)
    return paint(image, [_plain(shape, names) for shape in shapes], skeleton=names.skeleton)


def _plain(shape: Shape, names: Names) -> Labelled:
    score = "" if shape.score is None or shape.is_stuff else f" {shape.score:.2f}"
    return Labelled(shape=shape, label=f"{names.of(shape)}{score}", fault="")


def draw_inputs(cfg: CfgNode, mapper: Mapper, count: int, file: Path) -> np.ndarray | None:
    """Draw training samples after augmentation, with their targets, as one PNG.

    Returns:
        The image, uint8 of shape (3, height, width) in RGB, or None for a data set without instances to draw.
    """
    names = names_of(MetadataCatalog.get(cfg.DATASETS.TRAIN[0]))
    return save_sheet(
        input_tiles(cfg, mapper, spread(read_records(cfg, cfg.DATASETS.TRAIN, training=True), count), names), file
    )


def input_tiles(cfg: CfgNode, mapper: Mapper, records: Sequence[dict[str, Any]], names: Names) -> list[Tile]:
    """What the mapper makes of records, each with its targets; those that cannot be read are left out."""
    with unchanged_randomness():  # drawing must not change a training
        samples = list(readable(mapper, records, otherwise=NOT_DRAWN))
    return list(readable(lambda sample: _draw_sample(sample, names, cfg), samples, otherwise=NOT_DRAWN))


def draw_predictions(
    cfg: CfgNode,
    model: torch.nn.Module,
    mapper: Mapper,
    count: int,
    file: Path,
    *,
    threshold: float = SCORE_SHOWN,
) -> np.ndarray | None:
    """Draw validation images, each with the truth and beside it what the model found, as one PNG.

    The same images every time, evenly spread over the first data set of DATASETS.TEST.

    Returns:
        The image, uint8 of shape (3, height, width) in RGB, or None without DATASETS.TEST.
    """
    if not cfg.DATASETS.TEST:
        return None
    names = names_of(MetadataCatalog.get(cfg.DATASETS.TEST[0]))
    model = getattr(model, "module", model)  # DistributedDataParallel would wait for the other ranks

    def draw_pair(sample: dict[str, Any]) -> Tile | None:
        image, mapped = detection_utils.read_image(sample["file_name"], "RGB"), mapper(dict(sample))
        if mapped is None:
            return None
        with _evaluating(model):
            result = model([mapped])[0]
        return _pair_of(image, sample, result, names, threshold)

    chosen = spread(read_records(cfg, (cfg.DATASETS.TEST[0],), training=False), count)
    with unchanged_randomness():
        pairs = list(readable(draw_pair, chosen, otherwise=NOT_DRAWN))
    return save_sheet(pairs, file, heading=LEGEND)


def _draw_sample(sample: dict[str, Any], names: Names, cfg: CfgNode) -> Tile:
    image = np.asarray(detection_utils.convert_image_to_rgb(sample["image"].permute(1, 2, 0), cfg.INPUT.FORMAT))
    targets = sample.get("instances")
    shapes = [] if targets is None else shapes_of_targets(targets)
    tile = _tile(image, [_plain(shape, names) for shape in shapes], names)
    return captioned(tile, f"{_file_name(sample)}: {_sizes(sample, image)}, {len(shapes)} objects")


def _sizes(sample: Mapping[str, Any], image: np.ndarray) -> str:
    """Of the image as listed, and as the model gets it."""
    height, width = image.shape[:2]
    listed = f"{sample['width']} x {sample['height']} to " if {"width", "height"} <= sample.keys() else ""
    return f"{listed}{width} x {height}"


def _pair_of(
    image: np.ndarray, sample: Mapping[str, Any], result: Mapping[str, Any], names: Names, threshold: float
) -> Tile:
    """The truth on the left, what was found on the right, and below them the file and how many of which."""
    truth = shapes_of_annotations(sample, image.shape[:2])
    found = shapes_of_result(result, threshold)
    if "instances" in result and "panoptic_seg" not in result:
        comparison = judged(truth, found, names)
        left, right, caption = comparison.objects, _not_too_many(comparison.detections), str(comparison)
    else:
        left, right = ([_plain(shape, names) for shape in shapes] for shapes in (truth, found))
        caption = "truth and prediction"
    sides = [_tile(image, left, names), _tile(image, right, names)]
    headings = (f"truth: {_file_name(sample)}", f"predicted, scores from {threshold:.2f}")
    pair = in_a_row([headed(side, heading) for side, heading in zip(sides, headings, strict=True)])
    return captioned(pair, caption)


def judged(truth: Sequence[Shape], found: Sequence[Shape], names: Names) -> Judged:
    """The objects and the detections of an image, each with what is wrong with it."""
    pairs = pair(
        Truth(boxes=_boxes(truth), classes=_classes(truth), is_crowd=np.array([one.is_crowd for one in truth], bool)),
        Detections(boxes=_boxes(found), classes=_classes(found)),
    )
    return Judged(
        objects=[
            replace(_plain(shape, names), fault=_fault_of_object(shape, found, pairs, index, names))
            for index, shape in enumerate(truth)
        ],
        detections=[
            replace(_plain(shape, names), fault=_fault_of_detection(truth, pairs, index, names))
            for index, shape in enumerate(found)
        ],
        pairs=pairs,
    )


def _fault_of_object(shape: Shape, found: Sequence[Shape], pairs: Pairs, index: int, names: Names) -> str:
    detection, is_same = pairs.of_object(index)
    if is_same or shape.is_crowd:
        return ""
    return MISSED if detection == NONE else f"as {names.of(found[detection])}"


def _fault_of_detection(truth: Sequence[Shape], pairs: Pairs, index: int, names: Names) -> str:
    if pairs.other_class[index] != NONE:
        return f"is {names.of(truth[pairs.other_class[index]])}"
    return FALSE if pairs.is_false[index] else ""


def _boxes(shapes: Sequence[Shape]) -> np.ndarray:
    bounds = np.array([shape.bounds for shape in shapes]).reshape(-1, 4)
    return np.hstack([bounds[:, :2], bounds[:, 2:] - bounds[:, :2]])


def _classes(shapes: Sequence[Shape]) -> np.ndarray:
    return np.array([shape.class_index for shape in shapes], dtype=int)


def _not_too_many(detections: Sequence[Labelled]) -> list[Labelled]:
    false = [one for one in detections if one.fault == FALSE]
    left_out = {id(one) for one in false[MOST_FALSE:]}
    return [one for one in detections if id(one) not in left_out]


def _tile(image: np.ndarray, objects: Sequence[Labelled], names: Names) -> np.ndarray:
    scale = min(TILE_WIDTH / image.shape[1], TALLEST_TILE / image.shape[0])
    return paint(image, objects, scale=scale, skeleton=names.skeleton)


def _file_name(sample: Mapping[str, Any]) -> str:
    return Path(str(sample.get("file_name", ""))).name


@contextlib.contextmanager
def _evaluating(model: torch.nn.Module) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)
