"""Evaluates a model on DATASETS.TEST, as a plan says."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import Metadata
from detectron2.evaluation import DatasetEvaluator
from torch.nn import Module

from launcher.run.fence import take_fence
from launcher.run.heartbeat import Heartbeat
from launcher.run.outcome import Work, WorkerResult
from launcher.run.plan import Evaluate, RunPlan
from launcher.train.build import is_overridden
from launcher.train.evaluation.coco import coco_evaluators_in
from launcher.train.evaluation.comparing import note_truth
from launcher.train.evaluation.evaluate import BuildEvaluator, Evaluation, Options, evaluate
from launcher.train.evaluation.evaluators import check_test_sets
from launcher.train.output.evaluations import draw_evaluated, report_evaluation
from launcher.train.prediction.batches import mixed_precision
from launcher.train.prediction.classes import check_same_classes, read_classes
from launcher.train.stop import STOP
from launcher.train.tasks.prepare import load_model, prepare
from launcher.train.trainer import Trainer

logger = logging.getLogger(__name__)


def perform(plan: RunPlan, rank: int, heartbeat: Heartbeat) -> WorkerResult:
    """Evaluate to the end or until asked to stop."""
    task = plan.task
    assert isinstance(task, Evaluate)
    trainer_class, cfg = prepare(plan, heartbeat)
    check_test_sets(cfg, own_evaluators=is_overridden(trainer_class, "build_evaluator"))
    if rank == 0:
        take_fence(plan.paths, plan.attempt)
        plan.paths.results.mkdir(exist_ok=True)  # it tells an evaluation from a run, also where nothing is kept
    model = load_model(trainer_class, cfg, heartbeat, averaged=task.model.averaged)
    with mixed_precision(plan.devices.precision):
        evaluation = evaluate(
            model,
            cfg,
            build_test_loader=trainer_class.build_test_loader,
            build_evaluator=_on_the_same_classes(task.model.classes, trainer_class.build_evaluator),
            options=Options(settings=task.evaluation, kept_in=plan.paths.results, attempt=plan.attempt),
            stop=STOP,
            heartbeat=heartbeat,
        )
    if rank == 0 and not evaluation.stopped:
        _report(evaluation, plan, task, trainer_class, cfg, model)
    return _result_of(evaluation)


def _on_the_same_classes(classes: str, build: BuildEvaluator) -> BuildEvaluator:
    """Once a data set is loaded its classes are known. What evaluators of somebody's own do with them is their own."""
    trained_on = read_classes(Path(classes)) if classes else Metadata()

    def build_checked(cfg: CfgNode, name: str) -> Any:
        built = build(cfg, name)
        if isinstance(built, DatasetEvaluator) and any(coco_evaluators_in(built)):
            check_same_classes(trained_on, name)
        return built

    return build_checked


def _report(
    evaluation: Evaluation, plan: RunPlan, task: Evaluate, trainer_class: type[Trainer], cfg: CfgNode, model: Module
) -> None:
    """Nothing of this costs an evaluation its numbers."""
    try:
        note_truth(cfg, plan.paths)
        summaries = report_evaluation(evaluation.results, cfg, plan.paths, iteration=None, draws=task.images > 0)
        draw_evaluated(summaries, cfg, model, trainer_class.build_mapper(cfg, False), task.images, plan.paths)
    except Exception:  # whatever evaluators, data or models of somebody's own give
        logger.warning("The evaluation could not be reported", exc_info=True)


def _result_of(evaluation: Evaluation) -> WorkerResult:
    work = Work(
        iterations=None,
        metrics={name: value if math.isfinite(value) else None for name, value in evaluation.metrics.items()},
        stopped_early=None,
        bad_images=0,
        bad_test_images=len(evaluation.unreadable),
    )
    stopped_by = STOP.stopped_by() if evaluation.stopped else ""
    return WorkerResult(finished=not evaluation.stopped, stopped_by=stopped_by, work=work)
