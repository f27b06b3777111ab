"""Trains a model, as a plan says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from detectron2.config import CfgNode

from launcher.config.request import CheckpointSettings, EarlyStoppingSettings, LoggingSettings
from launcher.files import write_text
from launcher.run.fence import Fence, take_fence
from launcher.run.heartbeat import TRAINING, Heartbeat
from launcher.run.outcome import Work, WorkerResult
from launcher.run.plan import Resume, RunPlan, Train
from launcher.run.resume import ResumePoint
from launcher.train.build import is_overridden, own_writers
from launcher.train.evaluation.evaluate import Options
from launcher.train.evaluation.evaluators import check_test_sets
from launcher.train.evaluation.unfinished import forget
from launcher.train.hooks import chosen
from launcher.train.output.texts import as_code, texts_of
from launcher.train.output.writers import UNWRITTEN, Unwritten, build_writers, write_as_text
from launcher.train.prediction.classes import write_classes
from launcher.train.stop import STOP, Stop
from launcher.train.tasks.prepare import prepare
from launcher.train.trainer import Setup, Trainer


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What one rank does in one attempt, beside detectron2's configuration."""

    number: int
    setup: Setup
    resume: ResumePoint | None
    early_stopping: EarlyStoppingSettings
    checkpoint: CheckpointSettings
    logging: LoggingSettings
    fingerprint: str = ""
    """Of the run's identity."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """What TensorBoard shows of it, in Markdown by name."""


def perform(plan: RunPlan, rank: int, heartbeat: Heartbeat) -> WorkerResult:
    """Train as the plan says, to the end or until asked to stop."""
    assert isinstance(plan.task, Train)
    trainer_class, cfg = prepare(plan, heartbeat)
    return train(cfg, _attempt_of(plan, plan.task, rank), trainer_class, stop=STOP, heartbeat=heartbeat)


def _attempt_of(plan: RunPlan, training: Train, rank: int) -> Attempt:
    setup = Setup(
        rank=rank,
        num_processes=plan.num_processes,
        micro_batches=training.accumulate,
        precision=plan.devices.precision,
        max_bad=training.max_bad,
        ema_decay=training.ema.decay,
        evaluation=Options(
            settings=training.evaluation, kept_in=plan.paths.unfinished_evaluation, attempt=plan.attempt
        ),
        may_reorder=isinstance(plan.start, Resume) and plan.start.may_reorder,
    )
    return Attempt(
        number=plan.attempt,
        setup=setup,
        resume=plan.resume,
        early_stopping=training.early_stopping,
        checkpoint=training.checkpoint,
        logging=training.logging,
        fingerprint=plan.fingerprint,
        texts=texts_of(plan) if rank == 0 and training.logging.tensorboard else {},
    )


def train(
    cfg: CfgNode, attempt: Attempt, trainer_class: type[Trainer], *, stop: Stop, heartbeat: Heartbeat
) -> WorkerResult:
    """Train in this process, which is ready for it."""
    heartbeat.beat("building model and data loader")
    check_test_sets(cfg, own_evaluators=is_overridden(trainer_class, "build_evaluator"))
    trainer = trainer_class(cfg, attempt.setup, stop=stop, heartbeat=heartbeat)
    unwritten = Unwritten()
    trainer.checkpointer.add_checkpointable(UNWRITTEN, unwritten)
    # Before loading: hooks carry state of their own, the learning rate schedule's among it.
    images = attempt.logging.validation_loss
    trainer.register_hooks(chosen.every_rank(trainer, attempt.early_stopping, validation_images=images))
    # Before loading: from here on no earlier attempt replaces or removes what is being read.
    fence = take_fence(trainer.paths, attempt.number) if attempt.setup.rank == 0 else None
    heartbeat.beat("loading weights")
    with stop.interrupting("the weights were loaded"):
        trainer.continue_from(attempt.resume)
    heartbeat.beat(TRAINING, trainer.state.iterations_done)
    if fence is not None:
        _equip(trainer, attempt, fence, unwritten)
    trainer.train()
    if fence is not None and trainer.state.finished:
        forget(trainer.paths.unfinished_evaluation)
    return _result_of(trainer)


def _equip(trainer: Trainer, attempt: Attempt, fence: Fence, unwritten: Unwritten) -> None:
    """Give rank 0 its hooks and writers."""
    paths, config = trainer.paths, trainer.cfg.dump()
    write_text(paths.config, config)
    write_classes(trainer.cfg.DATASETS.TRAIN[0], paths.classes)
    writers = build_writers(paths, attempt.logging, written_until=trainer.state.written_until, unwritten=unwritten)
    write_as_text(writers, {**attempt.texts, "4 config": as_code(config, "yaml")}, attempt.number)
    writers += own_writers(trainer)
    saving = chosen.saving(
        trainer, attempt.checkpoint, fence=fence, resume=attempt.resume, fingerprint=attempt.fingerprint
    )
    trainer.register_hooks(chosen.rank_zero(trainer, attempt.logging, writers, fence, saving))


def _result_of(trainer: Trainer) -> WorkerResult:
    state, stop = trainer.state, trainer.stop
    return WorkerResult(
        finished=state.finished,
        stopped_by=stop.stopped_by(),
        work=Work(
            iterations=state.iterations_done,
            metrics={key: value if math.isfinite(value) else None for key, value in state.evaluated.metrics.items()},
            stopped_early=state.stopped_early,
            bad_images=trainer.count_bad_images(),
            bad_test_images=len(state.unreadable),
            data_wait=state.data_wait,
        ),
    )
