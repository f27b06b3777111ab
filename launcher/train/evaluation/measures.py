"""COCO's measures of detections: hotcoco's where they are pycocotools' to the last bit, otherwise pycocotools'."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from launcher.config.request import EvaluationBackend
from launcher.errors import RequestError

try:
    import hotcoco
except ImportError:  # it has no wheel for every machine
    hotcoco = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

Result = dict[str, Any]
"""One detection in COCO's results format."""

LARGEST_EXACT = 2**53
"""Up to here a float is every whole number."""

_first_used_in: int | None = None
"""The process that first used hotcoco: its threads are not in a process forked from that one, which would wait for
them without end."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was measured for one task, in the shape that pycocotools' COCOeval has after `summarize`."""

    stats: NDArray[np.float64]
    eval: Mapping[str, NDArray[np.float64]]
    """`precision` by IoU threshold, recall, category, area and number of detections; `scores` likewise; `recall`."""


def measure(
    truth: COCO,
    results: Sequence[Result],
    task: str,
    *,
    backend: EvaluationBackend,
    sigmas: Sequence[float] = (),
    image_ids: Sequence[int] | None = None,
) -> Measured:
    """Measure detections against the truth. `task` is bbox, segm or keypoints; `sigmas` are for the last.

    Raises:
        RequestError: hotcoco is insisted on and not installed.
    """
    if task == "segm":
        # With a box pycocotools would take the area of the box for that of the mask.
        results = [{key: value for key, value in result.items() if key != "bbox"} for result in results]
    chosen = backend_for(truth, backend)
    if chosen is EvaluationBackend.hotcoco:
        try:
            return _summarized(_by_hotcoco(truth, results, task, sigmas, image_ids), task)
        except Exception as error:
            if backend is EvaluationBackend.hotcoco:
                raise
            logger.warning("hotcoco does not measure these results (%s); pycocotools does", error)
    return _summarized(_by_pycocotools(truth, results, task, sigmas, image_ids), task)


def backend_for(truth: COCO, asked: EvaluationBackend) -> EvaluationBackend:
    """Which of the two measures.

    Raises:
        RequestError: hotcoco is insisted on and not installed.
    """
    if asked is EvaluationBackend.pycocotools:
        return asked
    if asked is EvaluationBackend.hotcoco:
        if hotcoco is None:
            raise RequestError(
                "evaluation.backend=hotcoco, but hotcoco is not installed. Install it with pip install 'hotcoco>=1.3', "
                "or let pycocotools measure the same numbers: evaluation.backend=auto."
            )
        return asked
    if reason := "hotcoco is not installed" if hotcoco is None else _reason_against_hotcoco(truth):
        logger.info("evaluation.backend=auto: pycocotools, because %s", reason)
        return EvaluationBackend.pycocotools
    return EvaluationBackend.hotcoco


def _reason_against_hotcoco(truth: COCO) -> str:
    if _first_used_in not in (None, os.getpid()):
        return "hotcoco was used in the process that this one was forked from"
    numbers = [annotation["id"] for annotation in truth.dataset.get("annotations", [])]
    if not all(isinstance(number, int) and number > 0 for number in numbers):
        return "of annotation ids that are no positive whole numbers: to pycocotools, 0 means missed"
    if len(set(numbers)) < len(numbers):
        return "of annotation ids that occur twice, which pycocotools counts in its own way"
    return ""


Arrays = Mapping[str, NDArray[np.float64]]


def _by_hotcoco(
    truth: COCO, results: Sequence[Result], task: str, sigmas: Sequence[float], image_ids: Sequence[int] | None
) -> Arrays:
    global _first_used_in
    _first_used_in = _first_used_in or os.getpid()
    known = hotcoco.COCO(truth.dataset)
    is_array = task == "bbox" and _are_exact_as_floats(results)
    found = known.load_res(_as_array(results) if is_array else list(results))
    evaluation = hotcoco.COCOeval(known, found, task)
    # Its parameters are read as copies: only an assignment of a whole value is one.
    if image_ids is not None:
        evaluation.params.img_ids = [int(image) for image in image_ids]
    if task == "keypoints" and sigmas:
        evaluation.params.kpt_oks_sigmas = [float(sigma) for sigma in sigmas]
    evaluation.evaluate()
    evaluation.accumulate()
    measured = evaluation.eval
    assert measured is not None
    return measured


def _are_exact_as_floats(results: Sequence[Result]) -> bool:
    """Whether no id is rounded in an array of floats: timestamps and hashes would be, and match no image."""
    return all(result[name] <= LARGEST_EXACT for result in results for name in ("image_id", "category_id"))


def _as_array(results: Sequence[Result]) -> NDArray[np.float64]:
    rows = [(result["image_id"], *result["bbox"], result["score"], result["category_id"]) for result in results]
    return np.array(rows, dtype=np.float64).reshape(-1, 7)


def _by_pycocotools(
    truth: COCO, results: Sequence[Result], task: str, sigmas: Sequence[float], image_ids: Sequence[int] | None
) -> Arrays:
    # It writes areas and ids into them.
    evaluation = COCOeval(truth, truth.loadRes([dict(result) for result in results]), task)
    if image_ids is not None:
        evaluation.params.imgIds = list(image_ids)
    if task == "keypoints" and sigmas:
        evaluation.params.kpt_oks_sigmas = np.array(sigmas)
    evaluation.evaluate()
    evaluation.accumulate()
    measured: Arrays = evaluation.eval
    return measured


def _summarized(arrays: Arrays, task: str) -> Measured:
    """The twelve numbers (ten of keypoints) of these arrays, by pycocotools' own arithmetic, which prints them too."""
    summary = COCOeval(iouType=task)
    summary.eval = arrays
    summary.summarize()
    return Measured(stats=summary.stats, eval={name: arrays[name] for name in ("precision", "recall", "scores")})
