"""detectron2's evaluator of boxes, masks and keypoints, with a faster measure and no need of room on the disk."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from detectron2.evaluation import COCOEvaluator, DatasetEvaluator, DatasetEvaluators
from detectron2.utils import comm

from launcher.config.request import EvaluationBackend
from launcher.data.truth import number_zero
from launcher.errors import DataError
from launcher.files import write_text
from launcher.train.evaluation.blank_images import BLANK_FOR
from launcher.train.evaluation.matches import complete_keypoints
from launcher.train.evaluation.measures import Measured, Result, measure
from launcher.train.evaluation.truth import give_truth
from launcher.train.evaluation.unfinished import ImageId, ImageResults

logger = logging.getLogger(__name__)

NUM_COCO_KEYPOINTS = 17
RESULTS_FILE = "coco_instances_results.json"
"""All detections of a data set in COCO's results format, named as detectron2 does."""


class SturdyCOCOEvaluator(COCOEvaluator):
    """detectron2's, with its numbers by pycocotools whatever measures them.

    Where its files cannot be written it evaluates without them.
    """

    _output_dir: str | None
    _predictions: list[dict[str, Any]]
    _results: dict[str, Any]
    _coco_api: Any

    def __init__(self, dataset_name: str, **options: Any) -> None:
        give_truth(dataset_name, options.get("output_dir"))
        super().__init__(dataset_name, **options, use_fast_impl=False)
        if number_zero(self._coco_api.dataset.get("annotations", [])):
            with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints
                self._coco_api.createIndex()
        self.backend = EvaluationBackend.auto
        self.kept: ImageResults | None = None
        """What earlier attempts measured, and where this one keeps what it measures."""
        # Without it detectron2 does not write all detections a second time, as pickled Python objects.
        self._folder, self._output_dir = self._output_dir, None
        numbers = getattr(self._metadata, "thing_dataset_id_to_contiguous_id", {})
        self._category_of = {class_index: number for number, class_index in numbers.items()}
        complete_keypoints(self._coco_api.dataset.get("annotations", []))

    def process(self, inputs: Any, outputs: Any) -> None:
        """Also gives detections the numbers that the categories have in the file."""
        for sample, output in zip(inputs, outputs, strict=True):
            first = len(self._predictions)
            super().process([sample], [output])
            for prediction in self._predictions[first:]:
                self._finish(prediction, sample)

    def _finish(self, prediction: dict[str, Any], sample: Mapping[str, Any]) -> None:
        for result in prediction.get("instances", []) if self._category_of else []:
            result["category_id"] = self._category(result["category_id"])
        if self.kept is not None and "proposals" not in prediction:  # those are no plain numbers
            blank = {"blank": [sample["file_name"], sample[BLANK_FOR]]} if BLANK_FOR in sample else {}
            self.kept.add(prediction["image_id"], {"instances": prediction["instances"], **blank})

    def _category(self, class_index: int) -> int:
        assert class_index in self._category_of, (
            f"A prediction has class={class_index}, but the data set only has {len(self._category_of)} classes."
        )
        return self._category_of[class_index]

    def evaluate(self, img_ids: Any = None) -> Any:
        if self.kept is not None and comm.is_main_process():
            earlier = self.kept.earlier.items()
            self._predictions += [{"image_id": image, "instances": entry["instances"]} for image, entry in earlier]
        return super().evaluate(img_ids)

    def _eval_predictions(self, predictions: Sequence[dict[str, Any]], img_ids: Any = None) -> None:
        ordered = predictions if self.kept is None else _in_order(predictions, self.kept.ids)
        results = list(itertools.chain.from_iterable(prediction["instances"] for prediction in ordered))
        self._write(results)
        if not self._do_evaluation:
            logger.warning("%s has no annotations: results are written, nothing is measured", self._metadata.name)
            return
        names = self._metadata.get("thing_classes")
        for task in self._tasks or self._tasks_from_predictions(results):
            measured = self._measure(results, task, img_ids) if results else None
            self._results[task] = self._derive_coco_results(measured, task, class_names=names)

    def _measure(self, results: Sequence[Result], task: str, image_ids: Any) -> Measured:
        if task == "keypoints":
            _check_keypoints(self._coco_api, results, self._kpt_oks_sigmas)
        return measure(
            self._coco_api,
            results,
            task,
            backend=self.backend,
            sigmas=self._kpt_oks_sigmas if task == "keypoints" else (),
            image_ids=image_ids,
        )

    def _write(self, results: Sequence[Result]) -> None:
        if self._folder is None:
            return
        try:
            write_text(Path(self._folder, RESULTS_FILE), json.dumps(results))
        except OSError as error:
            self._give_up_files(error)

    def _eval_box_proposals(self, predictions: Sequence[dict[str, Any]]) -> None:
        self._output_dir = self._folder  # for box_proposals.pkl, which trainings read
        try:
            super()._eval_box_proposals(predictions)
        except OSError as error:
            self._give_up_files(error)
            super()._eval_box_proposals(predictions)

    def _give_up_files(self, error: Exception) -> None:
        logger.warning("Results of the evaluation could not be written to %s (%s)", self._folder, error)
        self._folder = self._output_dir = None


def coco_evaluators_in(evaluator: DatasetEvaluator) -> Iterator[SturdyCOCOEvaluator]:
    """This one, or those among several that are asked together."""
    if isinstance(evaluator, DatasetEvaluators):
        for one in evaluator._evaluators:
            yield from coco_evaluators_in(one)
    elif isinstance(evaluator, SturdyCOCOEvaluator):
        yield evaluator


def _in_order(predictions: Sequence[dict[str, Any]], ids: Sequence[ImageId]) -> list[dict[str, Any]]:
    """One for each image, in the order of the data set, whenever and in whichever process they came about."""
    by_image = {prediction["image_id"]: prediction for prediction in predictions}
    return [by_image[image] for image in ids if image in by_image]


def _check_keypoints(truth: Any, results: Sequence[Result], sigmas: Sequence[float]) -> None:
    predicted = len(results[0]["keypoints"]) // 3
    true = len(next(iter(truth.anns.values()))["keypoints"]) // 3
    given = len(sigmas) or NUM_COCO_KEYPOINTS
    if not predicted == true == given:
        raise DataError(
            f"The model predicts {predicted} keypoints and the data set has {true}, but TEST.KEYPOINT_OKS_SIGMAS has "
            f"{len(sigmas)} values ({NUM_COCO_KEYPOINTS} of COCO's own where it is empty). Give one for each keypoint."
        )
