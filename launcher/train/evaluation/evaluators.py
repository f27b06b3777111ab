"""Which of detectron2's evaluators measures a data set."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import (
    CityscapesInstanceEvaluator,
    CityscapesSemSegEvaluator,
    COCOPanopticEvaluator,
    DatasetEvaluator,
    DatasetEvaluators,
    LVISEvaluator,
    PascalVOCDetectionEvaluator,
    SemSegEvaluator,
)

from launcher.errors import DataError
from launcher.run.paths import RunPaths
from launcher.train.evaluation.coco import SturdyCOCOEvaluator

logger = logging.getLogger(__name__)


def _coco(cfg: CfgNode, name: str, folder: str) -> DatasetEvaluator:
    return SturdyCOCOEvaluator(name, output_dir=folder, kpt_oks_sigmas=list(cfg.TEST.KEYPOINT_OKS_SIGMAS))


# Of the configuration, a data set's name and the folder for results, for each `evaluator_type` of detectron2's
# MetadataCatalog.
MAKERS: dict[str, Callable[[CfgNode, str, str], list[DatasetEvaluator]]] = {
    "coco": lambda cfg, name, folder: [_coco(cfg, name, folder)],
    "coco_panoptic_seg": lambda cfg, name, folder: [
        SemSegEvaluator(name, distributed=True, output_dir=folder),
        _coco(cfg, name, folder),
        COCOPanopticEvaluator(name, folder),
    ],
    "sem_seg": lambda _, name, folder: [SemSegEvaluator(name, distributed=True, output_dir=folder)],
    "lvis": lambda _, name, folder: [LVISEvaluator(name, output_dir=folder)],
    "pascal_voc": lambda _, name, __: [PascalVOCDetectionEvaluator(name)],
    "cityscapes_instance": lambda _, name, __: [CityscapesInstanceEvaluator(name)],
    "cityscapes_sem_seg": lambda _, name, __: [CityscapesSemSegEvaluator(name)],
}


def check_test_sets(cfg: CfgNode, *, own_evaluators: bool = False) -> None:
    """Find out before training what the evaluation would stumble over after it.

    With `own_evaluators`, evaluators of a user's own serve whatever the data sets are.

    Raises:
        DataError: DATASETS.TEST names what is not registered, or what detectron2 has no evaluator for.
    """
    for name in cfg.DATASETS.TEST:
        if name not in DatasetCatalog.list():
            near = get_close_matches(name, DatasetCatalog.list(), n=3)
            raise DataError(
                f"DATASETS.TEST names {name}, but no such data set is registered; "
                f"nearest: {', '.join(near) or 'none'}. "
                "Name one that is, or train without evaluation: DATASETS.TEST=[]."
            )
        if not own_evaluators:
            _check_evaluator(name)


def _check_evaluator(dataset_name: str) -> str:
    kind = MetadataCatalog.get(dataset_name).get("evaluator_type", None)
    if kind not in MAKERS:
        raise DataError(
            f"DATASETS.TEST names {dataset_name}, whose evaluator_type is {kind}, but there are evaluators for "
            f"{', '.join(MAKERS)} only. Train without evaluation (DATASETS.TEST=[]), or with a trainer of "
            "your own that has build_evaluator."
        )
    return str(kind)


def evaluator_for(cfg: CfgNode, dataset_name: str) -> DatasetEvaluator:
    """The evaluator for the data set's `evaluator_type` (from detectron2's MetadataCatalog).

    Raises:
        DataError: detectron2 has no evaluator of that type.
    """
    kind = _check_evaluator(dataset_name)
    folder = str(RunPaths(Path(cfg.OUTPUT_DIR)).evaluation / dataset_name)
    evaluators = MAKERS[kind](cfg, dataset_name, folder)
    return evaluators[0] if len(evaluators) == 1 else DatasetEvaluators(evaluators)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Send what pycocotools prints to the log file instead of the console."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            yield
    finally:
        logger.info("printed during evaluation:\n%s", printed.getvalue())
