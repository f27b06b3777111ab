"""Images of what a model gets and what it makes of it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog, detection_utils
from detectron2.utils.visualizer import Visualizer
from PIL import Image, ImageDraw

from launcher.files import beside
from launcher.train.samples.blame import is_about_the_image, reason_of
from launcher.train.samples.mapped import Mapper
from launcher.train.samples.samplers import read_records
from launcher.train.seeds import unchanged_randomness

logger = logging.getLogger(__name__)

TILE_WIDTH = 384  # pixels
TALLEST_TILE = 768
COLUMNS = 4
SCORE_SHOWN = 0.5
CAPTION_HEIGHT = 16
GAP = 4


def draw_inputs(cfg: CfgNode, mapper: Mapper, count: int, file: Path) -> np.ndarray | None:
    """Draw training samples after augmentation, with their targets, as one PNG.

    Returns:
        The image, uint8 of shape (3, height, width) in RGB, or None for a data set without instances to draw.
    """
    metadata = MetadataCatalog.get(cfg.DATASETS.TRAIN[0])
    with unchanged_randomness():  # drawing must not change a training
        samples = list(_drawable(mapper, _spread(read_records(cfg, cfg.DATASETS.TRAIN, training=True), count)))
    tiles = _drawable(lambda sample: _draw_sample(sample, metadata, cfg), [sample for sample in samples if sample])
    return _save_grid(list(tiles), file)


def draw_predictions(cfg: CfgNode, model: torch.nn.Module, mapper: Mapper, count: int, file: Path) -> np.ndarray | None:
    """Draw validation images, each as truth and beside it the predictions scored 0.5 or more, as one PNG.

    Returns:
        The image, uint8 of shape (3, height, width) in RGB, or None without DATASETS.TEST.
    """
    if not cfg.DATASETS.TEST:
        return None
    name = cfg.DATASETS.TEST[0]
    metadata = MetadataCatalog.get(name)
    model = getattr(model, "module", model)  # DistributedDataParallel would wait for the other ranks

    def draw(sample: dict[str, Any]) -> list[np.ndarray]:
        image, mapped = detection_utils.read_image(sample["file_name"], "RGB"), mapper(dict(sample))
        if mapped is None:
            return []
        with _evaluating(model):
            prediction = model([mapped])[0]
        predicted = _draw_prediction(image, prediction, metadata)
        return [
            _captioned(_draw_truth(image, sample, metadata), "truth"),
            _captioned(predicted, f"predicted, scores from {SCORE_SHOWN}"),
        ]

    chosen = _spread(read_records(cfg, (name,), training=False), count)
    return _save_grid([tile for tiles in _drawable(draw, chosen) for tile in tiles], file)


def _drawable(draw: Callable[[dict[str, Any]], Any], samples: Sequence[dict[str, Any]]) -> Iterator[Any]:
    """What `draw` gives for each sample, but for those that cannot be read or drawn."""
    for sample in samples:
        try:
            drawn = draw(sample)
        except Exception as error:  # what unreadable bytes and odd annotations raise has no common ground
            if not is_about_the_image(error):
                raise
            logger.info("%s is not drawn (%s)", sample.get("file_name"), reason_of(error))
        else:
            yield drawn


def _spread(items: Sequence[Any], count: int) -> list[Any]:
    """`count` items evenly spread over all of them, always the same ones."""
    if len(items) <= count:
        return list(items)
    return [items[index * len(items) // count] for index in range(count)]


def _draw_sample(sample: dict[str, Any], metadata: Any, cfg: CfgNode) -> np.ndarray:
    image = detection_utils.convert_image_to_rgb(sample["image"].permute(1, 2, 0), cfg.INPUT.FORMAT)
    targets = sample.get("instances")
    canvas = _canvas(image, metadata)
    if targets is None or len(targets) == 0:
        return canvas.output.get_image()
    names = metadata.get("thing_classes") or []
    labels = [names[index] if index < len(names) else str(index) for index in targets.gt_classes.tolist()]
    return canvas.overlay_instances(
        labels=labels,
        boxes=targets.gt_boxes.tensor.numpy(),
        masks=targets.get("gt_masks") if targets.has("gt_masks") else None,
    ).get_image()


def _draw_truth(image: np.ndarray, sample: dict[str, Any], metadata: Any) -> np.ndarray:
    canvas = _canvas(image, metadata)
    annotations = sample.get("annotations") or []
    canvas.draw_dataset_dict({**sample, "annotations": []})
    # detectron2 goes by what the first object of an image has; another may be without a mask or keypoints.
    for kind in sorted({_kind_of(annotation) for annotation in annotations}):
        canvas.draw_dataset_dict({"annotations": [one for one in annotations if _kind_of(one) == kind]})
    return canvas.output.get_image()


def _kind_of(annotation: dict[str, Any]) -> tuple[bool, bool]:
    return "segmentation" in annotation, "keypoints" in annotation


def _draw_prediction(image: np.ndarray, prediction: dict[str, Any], metadata: Any) -> np.ndarray:
    canvas = _canvas(image, metadata)
    instances = prediction.get("instances")
    if instances is not None:
        instances = instances.to("cpu")
        return canvas.draw_instance_predictions(instances[instances.scores >= SCORE_SHOWN]).get_image()
    if "sem_seg" in prediction:
        return canvas.draw_sem_seg(prediction["sem_seg"].argmax(dim=0).to("cpu")).get_image()
    return canvas.output.get_image()


def _canvas(image: np.ndarray, metadata: Any) -> Visualizer:
    """A visualizer whose result is about `TILE_WIDTH` wide; coordinates stay those of `image`."""
    return Visualizer(image, metadata, scale=min(TILE_WIDTH / image.shape[1], TALLEST_TILE / image.shape[0]))


def _captioned(image: np.ndarray, text: str) -> np.ndarray:
    framed = Image.new("RGB", (image.shape[1], image.shape[0] + CAPTION_HEIGHT), "white")
    framed.paste(Image.fromarray(image), (0, CAPTION_HEIGHT))
    ImageDraw.Draw(framed).text((2, 2), text, fill="black")
    return np.asarray(framed)


def _save_grid(tiles: Sequence[np.ndarray], file: Path) -> np.ndarray | None:
    """Put tiles of different sizes in rows of `COLUMNS`, save them as a PNG and return them as (3, height, width).

    A disk that does not take the file is no reason to end a training.
    """
    if not tiles:
        return None
    rows = [tiles[start : start + COLUMNS] for start in range(0, len(tiles), COLUMNS)]
    width = max(sum(tile.shape[1] + GAP for tile in row) for row in rows)
    height = sum(max(tile.shape[0] for tile in row) + GAP for row in rows)
    grid = Image.new("RGB", (width, height), "white")
    top = 0
    for row in rows:
        left = 0
        for tile in row:
            grid.paste(Image.fromarray(tile), (left, top))
            left += tile.shape[1] + GAP
        top += max(tile.shape[0] for tile in row) + GAP
    try:
        with beside(file) as draft:
            grid.save(draft, format="PNG")
            draft.replace(file)
    except OSError as error:
        logger.warning("%s could not be written (%s)", file, error.strerror or error)
    return np.asarray(grid).transpose(2, 0, 1)


@contextlib.contextmanager
def _evaluating(model: torch.nn.Module) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)
