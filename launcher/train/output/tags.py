"""What a metric is called in TensorBoard, which sorts groups by name and opens the first two."""

from __future__ import annotations

import re

from launcher.run.outcome import HEADLINE_METRICS
from launcher.train.output.scalars import VALIDATION

OVERVIEW, LOSSES, METRICS, CLASSES, DETAILS = "1 overview", "2 losses", "3 AP", "4 AP per class", "5 details"
MEMORY = f"{OVERVIEW}/memory, GiB at most"
ON_VALIDATION = ", validation"
FIRST = {
    "total_loss": "loss",
    f"{VALIDATION}total_loss": f"loss{ON_VALIDATION}",
    "lr": "lr",
    "images_per_second": "speed, images per s",
    "data_wait": "waiting for data",
}
OF_CLASSES = ("AP-", "IoU-", "BoundaryIoU-", "ACC-")
"""With which detectron2's evaluators begin the names of the metrics of one class."""
DETECTRON2S = frozenset({"time", "data_time", "rank_data_time", "eta_seconds", "num_pos_anchors", "num_neg_anchors"})
DETECTRON2S_GROUPS = ("fast_rcnn/", "mask_rcnn/", "keypoint_head/", "kpts_", "roi_head/", "rpn/", "stage", "[metric]")
METRIC = re.compile(r"(?:(.+?)/)?(box_proposals|bbox|segm|keypoints|panoptic_seg|sem_seg)/(.+)")
"""Of an evaluation: `[data set/]task/metric`."""


def tag_of(name: str) -> str:
    """The tag of a metric; one that is nobody's here keeps its name, and so a group of its own."""
    if name in FIRST:
        return f"{OVERVIEW}/{FIRST[name]}"
    if name.startswith(VALIDATION):
        return f"{LOSSES}/{name.removeprefix(VALIDATION)}{ON_VALIDATION}"
    if name.startswith("loss_"):
        return f"{LOSSES}/{name}"
    if name in DETECTRON2S or name.startswith(DETECTRON2S_GROUPS):
        return f"{DETAILS}/{name}"
    return _tag_of_metric(name)


def _tag_of_metric(name: str) -> str:
    found = METRIC.fullmatch(name)
    if found is None:
        return name
    dataset, task, metric = found.groups()
    where = f" on {dataset}" if dataset else ""
    if f"{task}/{metric}" in HEADLINE_METRICS:
        return f"{OVERVIEW}/{metric} {task}{where}"
    if metric.startswith(OF_CLASSES):
        kind, _, of_class = metric.partition("-")
        return f"{CLASSES}/{task} {of_class}{'' if kind == 'AP' else f', {kind}'}{where}"
    return f"{METRICS}/{task} {metric}{where}"
