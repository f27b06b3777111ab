"""Evaluates a model on DATASETS.TEST, as a plan says."""

from __future__ import annotations

import math

from launcher.run.fence import take_fence
from launcher.run.heartbeat import Heartbeat
from launcher.run.outcome import Work, WorkerResult
from launcher.run.plan import Evaluate, RunPlan
from launcher.train.build import is_overridden
from launcher.train.evaluation.evaluate import Options, evaluate
from launcher.train.evaluation.evaluators import check_test_sets
from launcher.train.prediction.model import build_for_inference
from launcher.train.stop import STOP
from launcher.train.tasks.prepare import prepare


def perform(plan: RunPlan, rank: int, heartbeat: Heartbeat) -> WorkerResult:
    """Evaluate to the end or until asked to stop."""
    assert isinstance(plan.task, Evaluate)
    trainer_class, cfg = prepare(plan, heartbeat)
    check_test_sets(cfg, own_evaluators=is_overridden(trainer_class, "build_evaluator"))
    if rank == 0:
        take_fence(plan.paths, plan.attempt)
    heartbeat.beat("loading weights")
    model = build_for_inference(trainer_class, cfg, averaged=plan.task.model.averaged)
    evaluation = evaluate(
        model,
        cfg,
        build_test_loader=trainer_class.build_test_loader,
        build_evaluator=trainer_class.build_evaluator,
        options=Options(settings=plan.task.evaluation, kept_in=plan.paths.results, attempt=plan.attempt),
        stop=STOP,
        heartbeat=heartbeat,
    )
    metrics = {name: value if math.isfinite(value) else None for name, value in evaluation.metrics.items()}
    work = Work(
        iterations=None,
        metrics=metrics,
        stopped_early=None,
        bad_images=0,
        bad_test_images=len(evaluation.unreadable),
    )
    return WorkerResult(finished=not evaluation.stopped, stopped_by="", work=work)
