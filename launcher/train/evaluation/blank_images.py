"""Blank images in place of validation images that cannot be read, so that an evaluation comes to its end."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from typing import Any

from detectron2.evaluation import DatasetEvaluator
from PIL import Image

from launcher.train.samples.mapped import Mapper, is_about_the_image, reason_of

BLANK_FOR = "blank_for"
"""The key under which a sample says that its image is blank, and why."""
DETECTIONS = ("instances", "proposals")
OTHER_IMAGES = ("sem_seg_file_name", "pan_seg_file_name")
"""Under which a record names images of the same size; evaluators look up the true ones themselves."""
MOST_PIXELS = 1 << 22  # of a blank image; a larger one is a smaller one of the same shape
UNKNOWN_SIZE = 64  # pixels, for data sets that do not say how large their images are


class MapperWithBlanks:
    """A test mapper that, for an image which cannot be used, maps a blank one of the recorded size."""

    def __init__(self, mapper: Mapper) -> None:
        self._mapper = mapper

    def __call__(self, record: dict[str, Any]) -> dict[str, Any] | None:
        try:
            return self._mapper(record)
        except Exception as error:  # what unreadable bytes raise in image libraries has no common ground
            if not is_about_the_image(error):
                raise
            reason = reason_of(error)
        sample = self._map_blank(record)
        recorded = {side: record[side] for side in ("width", "height") if side in record}
        return sample and {**sample, **recorded, "file_name": record["file_name"], BLANK_FOR: reason}

    def _map_blank(self, record: dict[str, Any]) -> dict[str, Any] | None:
        width, height = record.get("width", UNKNOWN_SIZE), record.get("height", UNKNOWN_SIZE)
        replaced: dict[str, Any] = {}
        if width * height > MOST_PIXELS:  # what is too large to be read would be so as a blank image too
            scale = math.sqrt(MOST_PIXELS / (width * height))
            width, height = max(1, int(width * scale)), max(1, int(height * scale))
            replaced = {"width": width, "height": height}
            record = {key: value for key, value in record.items() if key not in OTHER_IMAGES}
        # A file, because mappers read files; what else of the record they read, they get.
        with tempfile.NamedTemporaryFile(suffix=".png") as file:
            Image.new("RGB", (width, height)).save(file, "PNG")
            file.flush()
            return self._mapper({**record, **replaced, "file_name": file.name})


class EvaluatorWithBlanks(DatasetEvaluator):
    """Takes away what was detected on blank images before another evaluator looks, and reports them."""

    def __init__(self, evaluator: DatasetEvaluator, report: Callable[[str, str], None]) -> None:
        """`report` is called with the file and what is wrong with it."""
        self._evaluator = evaluator
        self._report = report

    def reset(self) -> None:
        self._evaluator.reset()

    def process(self, inputs: Any, outputs: Any) -> None:
        for sample, predicted in zip(inputs, outputs, strict=True):
            if BLANK_FOR in sample:
                self._report(sample["file_name"], sample[BLANK_FOR])
                predicted.update({kind: found[:0] for kind, found in predicted.items() if kind in DETECTIONS})
        self._evaluator.process(inputs, outputs)

    def evaluate(self) -> Any:
        return self._evaluator.evaluate()
