"""Evaluating a model on DATASETS.TEST. Needs no trainer: a bare model will do."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.config import CfgNode
from detectron2.evaluation import DatasetEvaluator, DatasetEvaluators, inference_on_dataset
from detectron2.evaluation.testing import flatten_results_dict
from detectron2.utils import comm
from torch.distributed import broadcast
from torch.nn import Module

from launcher.config.request import EvaluationSettings
from launcher.errors import RequestError
from launcher.run.heartbeat import EVALUATION, Heartbeat
from launcher.train.evaluation.blank_images import REFUSED, EvaluatorWithBlanks
from launcher.train.evaluation.coco import SturdyCOCOEvaluator, coco_evaluators_in
from launcher.train.evaluation.evaluators import quietly
from launcher.train.evaluation.pace import Pace
from launcher.train.evaluation.unfinished import ImageResults, fingerprint_of, images_in
from launcher.train.samples.loader import undisturbed
from launcher.train.stop import Stop

logger = logging.getLogger(__name__)

BuildTestLoader = Callable[[CfgNode, str], Any]
BuildEvaluator = Callable[[CfgNode, str], "DatasetEvaluator | Sequence[DatasetEvaluator] | None"]


class EvaluationStoppedError(Exception):
    """All ranks agreed to stop in the middle of an evaluation."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What came of an evaluation on DATASETS.TEST."""

    results: Mapping[str, Any]
    """As the evaluators gave them: by task, with several data sets by data set first. Rank 0 has them."""
    metrics: Mapping[str, float]
    """The numbers among them, flat: `bbox/AP` and the like. Every rank has them."""
    unreadable: Mapping[str, str]
    """Images that could not be read and count as images without detections, by file, and why."""
    stopped: bool = False
    """It was asked to stop before its end: there are no results."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to evaluate, as far as detectron2's configuration does not say it."""

    settings: EvaluationSettings = field(default_factory=EvaluationSettings)
    kept_in: Path | None = None
    """Where results are kept image by image, so that an interrupted evaluation continues; None keeps none."""
    attempt: int = 0


def evaluate(
    model: Module,
    cfg: CfgNode,
    *,
    build_test_loader: BuildTestLoader,
    build_evaluator: BuildEvaluator,
    stop: Stop | None = None,
    heartbeat: Heartbeat | None = None,
    options: Options | None = None,
) -> Evaluation:
    """Evaluate the model, as it is, on every data set of DATASETS.TEST.

    Every rank calls this at the same point. It can be stopped between two batches: an evaluation can take longer than
    the grace time of a scheduler.
    """
    if comm.get_world_size() > 1:
        _take_buffers_of_rank_zero(model)
    run = _Run(
        model=model, cfg=cfg, stop=stop or Stop(), heartbeat=heartbeat or Heartbeat(None), options=options or Options()
    )
    results: dict[str, Any] = {}
    stopped = False
    try:
        with quietly():
            for name in cfg.DATASETS.TEST:
                results[name] = run.on(name, build_test_loader(cfg, name), _as_one(build_evaluator(cfg, name)))
    except EvaluationStoppedError:
        results, stopped = {}, True
    by_task = next(iter(results.values())) if len(results) == 1 else results
    return Evaluation(
        results=by_task, metrics=_metrics_in(by_task), unreadable=run.unreadable.of_all_ranks(), stopped=stopped
    )


@dataclass(frozen=True, kw_only=True)
class _Run:
    """One model on its data sets."""

    model: Module
    cfg: CfgNode
    stop: Stop
    heartbeat: Heartbeat
    options: Options
    unreadable: _Unreadable = field(default_factory=lambda: _Unreadable())

    def on(self, name: str, loader: Any, evaluator: DatasetEvaluator) -> Any:
        for measuring in coco_evaluators_in(evaluator):
            measuring.backend = self.options.settings.backend
        kept = self._keep(name, loader, evaluator)
        try:
            batches = StoppableBatches(loader if kept is None else kept.left(loader), self.stop, self.heartbeat)
            return inference_on_dataset(self.model, batches, EvaluatorWithBlanks(evaluator, self.unreadable.note))
        except EvaluationStoppedError:
            if kept is None:
                why = _why_nothing_kept(evaluator)
                logger.warning("The evaluation on %s was stopped; it will start over: %s", name, why)
            raise
        finally:
            if kept is not None:
                kept.close()

    def _keep(self, name: str, loader: Any, evaluator: DatasetEvaluator) -> ImageResults | None:
        """Have the evaluator keep what it gets, and know what it got before; None where it cannot."""
        images = images_in(loader)
        if self.options.kept_in is None or images is None or type(evaluator) is not SturdyCOCOEvaluator:
            return None
        own = fingerprint_of(self.model, self.cfg, name, images) if comm.is_main_process() else ""
        kept = ImageResults(
            self.options.kept_in / name, list(images), attempt=self.options.attempt, fingerprint=comm.all_gather(own)[0]
        )
        if kept.done:
            logger.info("The evaluation on %s continues: %d of %d images are done", name, len(kept.done), len(images))
        for file, reason in (entry["blank"] for entry in kept.earlier.values() if "blank" in entry):
            self.unreadable.note(file, reason)
        evaluator.kept = kept
        return kept


def _why_nothing_kept(evaluator: DatasetEvaluator) -> str:
    if type(evaluator) is SturdyCOCOEvaluator:
        return "its loader is not one of detectron2's, or image ids are missing or occur twice"
    several = evaluator._evaluators if isinstance(evaluator, DatasetEvaluators) else [evaluator]
    return f"{', '.join(type(one).__name__ for one in several) or 'no evaluator'} keeps no results image by image"


def _take_buffers_of_rank_zero(model: Module) -> None:
    """Evaluate on every rank what is saved: rank 0's running statistics of batch normalisation.

    Those of the other ranks follow from their own images, and a resumed training would not have them.
    """
    for buffer in model.buffers():
        broadcast(buffer, src=0)


def _as_one(built: DatasetEvaluator | Sequence[DatasetEvaluator] | None) -> DatasetEvaluator:
    """Whatever detectron2's `inference_on_dataset` takes for an evaluator."""
    return built if isinstance(built, DatasetEvaluator) else DatasetEvaluators(list(built or ()))


def _metrics_in(results: Mapping[str, Any]) -> Mapping[str, float]:
    """Evaluators give their results to rank 0 alone; what follows from them is to be the same everywhere."""
    own = {
        key: float(value)
        for key, value in flatten_results_dict(results).items()
        if isinstance(value, int | float | np.number)
    }
    of_rank_zero: dict[str, float] = comm.all_gather(own)[0]
    return of_rank_zero


class _Unreadable:
    """Images that could not be read, each reported once."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}

    def note(self, file: str, reason: str) -> None:
        if file not in self._reasons:
            logger.warning("%s cannot be read and counts as an image without detections (%s)", file, reason)
        self._reasons[file] = reason

    def of_all_ranks(self) -> dict[str, str]:
        return {file: reason for reasons in comm.all_gather(self._reasons) for file, reason in reasons.items()}


class StoppableBatches:
    """A loader's batches until the ranks agree to stop.

    Ranks may have one batch more or less than others, so they ask each other only for those that all of them have.
    """

    def __init__(self, loader: Any, stop: Stop, heartbeat: Heartbeat) -> None:
        self._loader = loader
        self._stop = stop
        self._num_processes = comm.get_world_size()
        self._num_shared = min(comm.all_gather(len(loader)))
        self._heartbeat = heartbeat

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        pace = Pace(len(self))
        for index, batch in enumerate(undisturbed(self._loader)):
            pace.note(index)
            if index < self._num_shared and self._stop.agreed(self._num_processes):
                raise EvaluationStoppedError
            self._heartbeat.beat(EVALUATION)
            if refusal := next((sample[REFUSED] for sample in batch if REFUSED in sample), ""):
                raise RequestError(refusal)
            yield batch
