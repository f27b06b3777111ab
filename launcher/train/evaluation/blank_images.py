"""Blank images in place of validation images that cannot be read, so that an evaluation comes to its end."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from detectron2.evaluation import DatasetEvaluator

from launcher.train.samples.blame import is_about_the_image, reason_of, refusal_of
from launcher.train.samples.blank import with_blank_image
from launcher.train.samples.mapped import Mapper
from launcher.train.samples.pixels import NOTES, take_notes, told_once

logger = logging.getLogger(__name__)

BLANK_FOR = "blank_for"
"""The key under which a sample says that its image is blank, and why."""
DETECTIONS = ("instances", "proposals")
REFUSED = "refused"
"""The key under which a sample that nothing else is in says why no image can be mapped."""


class MapperWithBlanks:
    """A test mapper that, for an image which cannot be used, maps a blank one of the recorded size."""

    def __init__(self, mapper: Mapper) -> None:
        self._mapper = mapper

    def __call__(self, record: dict[str, Any]) -> dict[str, Any] | None:
        try:
            sample = self._mapper(record)
            notes = take_notes()
            return {**sample, NOTES: notes} if sample and notes else sample
        except Exception as error:  # what unreadable bytes raise in image libraries has no common ground
            if not is_about_the_image(error):
                raise
            reason = reason_of(error)
            with with_blank_image(record) as blank:
                sample = self._map_blank(blank, error)
        recorded: dict[str, Any] = {side: record[side] for side in ("width", "height") if side in record}
        return sample and {**sample, **recorded, "file_name": record["file_name"], BLANK_FOR: reason}

    def _map_blank(self, blank: dict[str, Any], first: Exception) -> dict[str, Any] | None:
        try:
            return self._mapper(blank)
        except Exception as error:  # so it was not the image's
            if not is_about_the_image(error) or type(error) is not type(first):
                raise
            return {REFUSED: refusal_of(error)}


class EvaluatorWithBlanks(DatasetEvaluator):
    """Takes away what was detected on blank images before another evaluator looks, and reports them."""

    def __init__(self, evaluator: DatasetEvaluator, report: Callable[[str, str], None]) -> None:
        """`report` is called with the file and what is wrong with it."""
        self._evaluator = evaluator
        self._report = report
        self._told: set[str] = set()

    def reset(self) -> None:
        self._evaluator.reset()

    def process(self, inputs: Any, outputs: Any) -> None:
        for sample, predicted in zip(inputs, outputs, strict=True):
            for note in told_once(sample.get(NOTES, {}), self._told):
                logger.warning("%s is a %s", sample["file_name"], note)
            if BLANK_FOR in sample:
                self._report(sample["file_name"], sample[BLANK_FOR])
                predicted.update({kind: found[:0] for kind, found in predicted.items() if kind in DETECTIONS})
        self._evaluator.process(inputs, outputs)

    def evaluate(self) -> Any:
        return self._evaluator.evaluate()
