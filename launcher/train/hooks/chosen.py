"""Which hooks a training runs, and in which order.

Timing and the learning rate first, then what changes the weights to be evaluated, the evaluation, and what follows from
it; then hooks of a user's own; then, on rank 0 alone, metrics and images, and saving last of all.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import detectron2
import torch
from detectron2.engine import HookBase, hooks
from detectron2.utils.events import EventWriter
from fvcore.nn.precise_bn import get_bn_modules

from launcher.config.request import CheckpointSettings, EarlyStoppingSettings, LoggingSettings
from launcher.run.fence import Fence
from launcher.run.manifest import Milestone
from launcher.run.resume import ResumePoint
from launcher.train.build import own_hooks
from launcher.train.checkpoints.saver import Saver
from launcher.train.hooks.average import KeepAverage
from launcher.train.hooks.early_stopping import EarlyStopping
from launcher.train.hooks.evaluate import Evaluate, SteadyPreciseBN
from launcher.train.hooks.report import ReportEvaluations
from launcher.train.hooks.save import SaveCheckpoint
from launcher.train.hooks.validation_loss import ValidationLoss
from launcher.train.hooks.write import DrawInputs, Throughput, WriteEvents
from launcher.train.output.progress import Progress
from launcher.train.trainer import Trainer


def every_rank(
    trainer: Trainer, early_stopping: EarlyStoppingSettings, *, validation_images: int = 0
) -> list[HookBase]:
    """Hooks in which all ranks take part. They have state, so they are registered before a checkpoint is loaded."""
    cfg = trainer.cfg
    chosen: list[HookBase] = [hooks.IterationTimer(), hooks.LRScheduler()]
    if trainer.average is not None:
        chosen.append(KeepAverage(trainer.average))
    if cfg.TEST.PRECISE_BN.ENABLED and get_bn_modules(trainer.model):
        chosen.append(_precise_bn(trainer))
    if cfg.DATASETS.TEST:
        losses = ValidationLoss(trainer, validation_images) if validation_images > 0 else dict
        chosen.append(Evaluate(cfg.TEST.EVAL_PERIOD, trainer.state, trainer.evaluate, losses))
    if early_stopping.metric:
        chosen.append(EarlyStopping(early_stopping, trainer.state))
    return [*chosen, *own_hooks(trainer)]


def _precise_bn(trainer: Trainer) -> HookBase:
    cfg = trainer.cfg.clone()
    cfg.defrost()
    cfg.DATALOADER.NUM_WORKERS = 0
    loader = trainer.make_train_loader(cfg)
    return SteadyPreciseBN(cfg.TEST.EVAL_PERIOD, trainer.model, loader, cfg.TEST.PRECISE_BN.NUM_ITER)


def rank_zero(
    trainer: Trainer, logging_settings: LoggingSettings, writers: Sequence[EventWriter], fence: Fence, saving: HookBase
) -> list[HookBase]:
    """Hooks of rank 0 alone."""
    images = trainer.cfg.SOLVER.IMS_PER_BATCH
    period, count = logging_settings.period, logging_settings.images
    chosen: list[HookBase] = [Throughput(images, trainer.state)]
    if count > 0:
        chosen.append(DrawInputs(trainer.paths, count))
    chosen.append(ReportEvaluations(trainer.paths, count, trainer.state))
    chosen.append(WriteEvents(writers, period, trainer.state, paths=trainer.paths, fence=fence))
    chosen.append(Progress(period, trainer.state, images))
    return [*chosen, saving]


def saving(
    trainer: Trainer, settings: CheckpointSettings, *, fence: Fence, resume: ResumePoint | None, fingerprint: str
) -> SaveCheckpoint:
    """The hook that saves; `fingerprint` is that of the run's identity."""
    settings = replace(settings, period=settings.period or trainer.cfg.SOLVER.CHECKPOINT_PERIOD)
    report = logging.getLogger(__name__).warning
    milestone = Milestone(
        iteration=trainer.state.last_iteration,
        world_size=trainer.setup.num_processes,
        config_fingerprint=fingerprint,
        versions={"torch": torch.__version__, "detectron2": detectron2.__version__},
    )
    saver = Saver(trainer.checkpointer, trainer.paths, settings, fence=fence, resume=resume, report=report)
    return SaveCheckpoint(saver, trainer.state, settings, milestone=milestone, heartbeat=trainer.heartbeat)
