"""What happens around the iterations: timing, evaluation, pictures, writing, saving."""

from __future__ import annotations

from collections.abc import Sequence

from detectron2.engine import HookBase, hooks
from detectron2.utils.events import EventWriter
from fvcore.nn.precise_bn import get_bn_modules

from launcher.config.request import LoggingSettings
from launcher.run.paths import RunPaths
from launcher.train.checkpoint import name_final, save_iteration
from launcher.train.drawing import draw_inputs, draw_predictions
from launcher.train.progress import Progress
from launcher.train.trainer import Trainer


def every_rank(trainer: Trainer) -> list[HookBase]:
    """Hooks in which all ranks take part, in the order in which they run."""
    cfg = trainer.cfg
    chosen: list[HookBase] = [hooks.IterationTimer(), hooks.LRScheduler()]
    if cfg.TEST.PRECISE_BN.ENABLED and get_bn_modules(trainer.model):
        own_loader = cfg.clone()
        own_loader.defrost()
        own_loader.DATALOADER.NUM_WORKERS = 0
        loader = trainer.build_train_loader(own_loader)
        chosen.append(hooks.PreciseBN(cfg.TEST.EVAL_PERIOD, trainer.model, loader, cfg.TEST.PRECISE_BN.NUM_ITER))
    if cfg.DATASETS.TEST:
        chosen.append(hooks.EvalHook(cfg.TEST.EVAL_PERIOD, trainer.evaluate))
    return chosen


def rank_zero(
    trainer: Trainer, paths: RunPaths, logging: LoggingSettings, writers: Sequence[EventWriter]
) -> list[HookBase]:
    """Hooks of rank 0 alone; saving comes last, when everything of an iteration has been written."""
    chosen: list[HookBase] = [Throughput(trainer.cfg.SOLVER.IMS_PER_BATCH)]
    if logging.images > 0:
        chosen.append(Pictures(paths, logging.images))
    chosen.append(WriteEvents(writers, logging.period))
    chosen.append(Progress(logging.period))
    chosen.append(SaveCheckpoint(paths, trainer.cfg.SOLVER.CHECKPOINT_PERIOD))
    return chosen


class Throughput(HookBase):
    """Puts `images_per_second` beside detectron2's scalars."""

    def __init__(self, images_per_iteration: int) -> None:
        self.images_per_iteration = images_per_iteration

    def after_step(self) -> None:
        latest = self.trainer.storage.latest().get("time")
        if latest is not None and latest[0] > 0:
            self.trainer.storage.put_scalar("images_per_second", self.images_per_iteration / latest[0])


class Pictures(HookBase):
    """Draws training inputs as the model gets them before training, and predictions beside the truth after it."""

    def __init__(self, paths: RunPaths, count: int) -> None:
        self.paths = paths
        self.count = count

    def before_train(self) -> None:
        picture = draw_inputs(self.trainer.cfg, self.count, self.paths.sample_inputs)
        if picture is not None:
            self.trainer.storage.put_image("inputs", picture)

    def after_train(self) -> None:
        if not self.trainer.finished:
            return
        picture = draw_predictions(self.trainer.cfg, self.trainer.model, self.count, self.paths.predictions)
        if picture is not None:
            self.trainer.storage.put_image("predictions", picture)


class WriteEvents(hooks.PeriodicWriter):
    """Writes every `period` iterations, at the end, and before a stop, so that nothing of a window is lost."""

    def __init__(self, writers: Sequence[EventWriter], period: int) -> None:
        super().__init__(list(writers), period)

    def after_step(self) -> None:
        super().after_step()
        if self.trainer.stopping:
            for writer in self._writers:
                writer.write()

    def after_train(self) -> None:
        for writer in self._writers:
            writer.write()

    def close(self) -> None:
        for writer in self._writers:
            writer.close()


class SaveCheckpoint(HookBase):
    """Saves every `period` iterations, after the last one, and before a stop."""

    def __init__(self, paths: RunPaths, period: int) -> None:
        self.paths = paths
        self.period = period

    def before_train(self) -> None:
        """Save what a former attempt, or another run, left at the last iteration without its final name."""
        trainer = self.trainer
        if trainer.iterations_done < trainer.max_iter or self.paths.final_weights.exists():
            return
        trainer.iter = trainer.iterations_done - 1
        name_final(save_iteration(trainer.checkpointer, self.paths, trainer.iter), self.paths)
        trainer.iter = trainer.start_iter

    def after_step(self) -> None:
        done = self.trainer.iterations_done
        is_last = done >= self.trainer.max_iter
        if not (is_last or self.trainer.stopping or (self.period > 0 and done % self.period == 0)):
            return
        path = save_iteration(self.trainer.checkpointer, self.paths, self.trainer.iter)
        if is_last:
            name_final(path, self.paths)
