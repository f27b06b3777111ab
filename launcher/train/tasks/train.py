"""Trains a model, as a plan says."""

from __future__ import annotations

import math
from pathlib import Path

import yaml
from detectron2.config import CfgNode

from launcher.config.values import to_plain
from launcher.files import write_text
from launcher.run.fence import Fence, take_fence
from launcher.run.heartbeat import SMOKE, TRAINING, Heartbeat
from launcher.run.outcome import WorkerResult
from launcher.run.paths import RunPaths
from launcher.run.plan import RunPlan
from launcher.train.build import check_overrides, own_writers
from launcher.train.compat.cfg_node import to_cfg_node
from launcher.train.compat.smoke import compute_on_cpu
from launcher.train.evaluation.evaluators import check_test_sets
from launcher.train.hooks import chosen
from launcher.train.output.writers import UNWRITTEN, Unwritten, build_writers, write_as_text
from launcher.train.process import prepare_process
from launcher.train.samples.register import register_datasets
from launcher.train.stop import STOP
from launcher.train.trainer import Setup, Trainer


def perform(plan: RunPlan, rank: int, heartbeat: Heartbeat, *, trainer_class: type[Trainer] = Trainer) -> WorkerResult:
    """Train to the end, or until asked to stop."""
    STOP.at = plan.stop_at
    check_overrides(trainer_class)
    cfg = _prepare(plan, heartbeat)
    heartbeat.beat("building model and data loader")
    check_test_sets(cfg)
    trainer = trainer_class(cfg, _setup_of(plan, rank), stop=STOP, heartbeat=heartbeat)
    unwritten = Unwritten()
    trainer.checkpointer.add_checkpointable(UNWRITTEN, unwritten)
    # Before loading: hooks carry state of their own, the learning rate schedule's among it.
    trainer.register_hooks(chosen.every_rank(trainer, plan.early_stopping))
    # Before loading: from here on no earlier attempt replaces or removes what is being read.
    fence = take_fence(trainer.paths, plan.attempt) if rank == 0 else None
    heartbeat.beat("loading weights")
    trainer.continue_from(plan.resume)
    heartbeat.beat(TRAINING, trainer.state.iterations_done)
    if fence is not None:
        _equip(trainer, plan, fence, unwritten)
    trainer.train()
    return _result_of(trainer)


def _prepare(plan: RunPlan, heartbeat: Heartbeat) -> CfgNode:
    """Make this process ready for the configuration, which is returned."""
    cfg = to_cfg_node(plan.detectron2, plan.config_extensions)
    cfg.freeze()
    register_datasets(plan.splits)
    prepare_process(cfg, plan.devices)
    if plan.devices.kind == "cpu":
        heartbeat.beat(SMOKE)
        compute_on_cpu()
    return cfg


def _setup_of(plan: RunPlan, rank: int) -> Setup:
    return Setup(
        rank=rank,
        num_processes=plan.devices.num_processes,
        micro_batches=plan.accumulate,
        precision=plan.devices.precision,
        max_bad=plan.max_bad,
        ema_decay=plan.ema.decay,
        may_reorder=plan.may_reorder,
    )


def _equip(trainer: Trainer, plan: RunPlan, fence: Fence, unwritten: Unwritten) -> None:
    """Give rank 0 its hooks and writers."""
    paths = RunPaths(Path(plan.folder))
    config = trainer.cfg.dump()
    writers = build_writers(paths, plan.logging, written_until=trainer.state.written_until, unwritten=unwritten)
    described = yaml.safe_dump({**to_plain(plan), "detectron2": "see config"}, sort_keys=False)
    write_as_text(writers, {"config": config, "plan": described}, plan.attempt)
    write_text(paths.config, config)
    saving = chosen.saving(trainer, plan.checkpoint, fence=fence, resume=plan.resume, fingerprint=plan.fingerprint)
    writers += own_writers(trainer)
    trainer.register_hooks(chosen.rank_zero(trainer, plan.logging, writers, fence, saving))


def _result_of(trainer: Trainer) -> WorkerResult:
    state = trainer.state
    return WorkerResult(
        finished=state.finished,
        iterations=state.iterations_done,
        stopped_by="the time limit" if STOP.is_late() and not STOP.asked else "",
        metrics={key: value if math.isfinite(value) else None for key, value in state.evaluated.metrics.items()},
        stopped_early=state.stopped_early,
        bad_images=trainer.count_bad_images(),
        bad_test_images=len(state.unreadable),
    )
