"""Two evaluations on the same data, compared; each leaves beside its detections what they are to be compared with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog

from launcher.config.values import read_json_if_valid, write_json
from launcher.data.portion import Portion
from launcher.data.truth import read_truth
from launcher.errors import RequestError
from launcher.run.evaluation import Comparison
from launcher.run.paths import RunPaths
from launcher.train.evaluation.coco import RESULTS_FILE
from launcher.train.evaluation.compare import compare
from launcher.train.evaluation.matches import tasks_in

TRUTH = "truth.json"
COMPARISON = "comparison.json"


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What the detections beside it were measured against."""

    annotations: str
    """A file in COCO's format."""
    sigmas: list[float]
    """Of keypoints, where they are not COCO's."""
    portion: Portion | None = None
    """The part of that file; None for all of it."""


def note_truth(cfg: CfgNode, paths: RunPaths) -> None:
    """Leave beside the detections of each data set what they were measured against."""
    for name in cfg.DATASETS.TEST:
        metadata, sigmas = MetadataCatalog.get(name), list(cfg.TEST.KEYPOINT_OKS_SIGMAS)
        split, annotations = metadata.get("launcher_split", None), metadata.get("json_file", None)
        if not annotations or not (paths.evaluation / name / RESULTS_FILE).exists():
            continue
        if split is not None and split.portion is not None:  # two evaluations have files of their own for that part
            truth = Truth(annotations=split.json, sigmas=sigmas, portion=split.portion)
        else:
            truth = Truth(annotations=str(Path(annotations).absolute()), sigmas=sigmas)
        write_json(paths.evaluation / name / TRUTH, truth)


def compare_evaluations(a: Path, b: Path) -> Iterator[Comparison]:
    """Compare the detections of two evaluations, each named by its folder, task by task; written into the second.

    Raises:
        RequestError: they are not on the same data, or not measured as COCO does.
    """
    of_a, of_b = _truths_in(a), _truths_in(b)
    if not of_a or of_a != of_b:
        raise RequestError(
            f"There is nothing to compare: {a} has {_said(of_a)}, {b} has {_said(of_b)}. Name one data set for both, "
            "one that is measured as COCO does: dataset.val.json=FILE dataset.val.images=FOLDER"
        )
    for name, truth in of_a.items():
        folders = [RunPaths(folder).evaluation / name for folder in (a, b)]
        comparisons = list(_compare(truth, *folders))
        write_json(folders[1] / COMPARISON, {"a": str(a), "b": str(b), "tasks": comparisons})
        yield from comparisons


def _truths_in(folder: Path) -> dict[str, Truth]:
    files = sorted(RunPaths(folder).evaluation.glob(f"*/{TRUTH}"))
    found = {file.parent.name: read_json_if_valid(file, Truth) for file in files}
    return {name: truth for name, truth in found.items() if truth is not None}


def _said(truths: dict[str, Truth]) -> str:
    return ", ".join(f"{name} ({truth.annotations})" for name, truth in truths.items()) or "no detections"


def _compare(truth: Truth, a: Path, b: Path) -> Iterator[Comparison]:
    known = read_truth(Path(truth.annotations), truth.portion)
    of_a, of_b = (json.loads((folder / RESULTS_FILE).read_text(encoding="utf-8")) for folder in (a, b))
    for task in tasks_in(of_a):
        if task in tasks_in(of_b):
            yield compare(known, of_a, of_b, task=task, sigmas=truth.sigmas)
