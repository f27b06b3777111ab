"""Which of detectron2's evaluators measures a data set."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.evaluation import (
    CityscapesInstanceEvaluator,
    CityscapesSemSegEvaluator,
    COCOEvaluator,
    COCOPanopticEvaluator,
    DatasetEvaluator,
    DatasetEvaluators,
    LVISEvaluator,
    PascalVOCDetectionEvaluator,
    SemSegEvaluator,
)

from launcher.errors import DataError
from launcher.run.paths import RunPaths


def evaluator_for(cfg: CfgNode, dataset_name: str) -> DatasetEvaluator:
    """The evaluator for the data set's `evaluator_type` (from detectron2's MetadataCatalog).

    Raises:
        DataError: detectron2 has no evaluator of that type.
    """
    kind = MetadataCatalog.get(dataset_name).get("evaluator_type", None)
    folder = str(RunPaths(Path(cfg.OUTPUT_DIR)).evaluation / dataset_name)
    makers = {
        "coco": lambda: [COCOEvaluator(dataset_name, output_dir=folder)],
        "coco_panoptic_seg": lambda: [
            SemSegEvaluator(dataset_name, distributed=True, output_dir=folder),
            COCOEvaluator(dataset_name, output_dir=folder),
            COCOPanopticEvaluator(dataset_name, folder),
        ],
        "sem_seg": lambda: [SemSegEvaluator(dataset_name, distributed=True, output_dir=folder)],
        "lvis": lambda: [LVISEvaluator(dataset_name, output_dir=folder)],
        "pascal_voc": lambda: [PascalVOCDetectionEvaluator(dataset_name)],
        "cityscapes_instance": lambda: [CityscapesInstanceEvaluator(dataset_name)],
        "cityscapes_sem_seg": lambda: [CityscapesSemSegEvaluator(dataset_name)],
    }
    if kind not in makers:
        raise DataError(
            f"DATASETS.TEST names {dataset_name}, whose evaluator_type is {kind}, but there are evaluators for "
            f"{', '.join(makers)} only. Train without evaluation: DATASETS.TEST=[]."
        )
    evaluators = makers[kind]()
    return evaluators[0] if len(evaluators) == 1 else DatasetEvaluators(evaluators)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Send what pycocotools prints to the log file instead of the console."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            yield
    finally:
        logging.getLogger(__name__).info("printed during evaluation:\n%s", printed.getvalue())
