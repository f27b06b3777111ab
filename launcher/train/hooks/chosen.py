"""What happens around the iterations: timing, evaluation, pictures, writing, saving."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Sequence

import detectron2
import torch
from detectron2.engine import HookBase, hooks
from detectron2.utils import comm
from detectron2.utils.events import EventWriter
from fvcore.nn.precise_bn import get_bn_modules

from launcher.config.request import CheckpointSettings
from launcher.errors import LauncherError
from launcher.run.fence import Fence, check_fence
from launcher.run.manifest import Milestone
from launcher.run.paths import RunPaths
from launcher.run.plan import RunPlan
from launcher.train.average import KeepAverage
from launcher.train.checkpoints.saver import Saver
from launcher.train.hooks.early_stopping import EarlyStopping
from launcher.train.output.drawing import draw_inputs, draw_predictions
from launcher.train.output.progress import Progress
from launcher.train.output.writers import UNWRITTEN, Unwritten
from launcher.train.samples.loader import TrainLoader, build_train_loader
from launcher.train.trainer import Trainer


def every_rank(trainer: Trainer, plan: RunPlan) -> list[HookBase]:
    """Hooks in which all ranks take part, in the order in which they run."""
    cfg = trainer.cfg
    trainer.checkpointer.add_checkpointable(UNWRITTEN, Unwritten())
    chosen: list[HookBase] = [hooks.IterationTimer(), hooks.LRScheduler()]
    if trainer.average is not None:
        chosen.append(KeepAverage(trainer.average))
    if cfg.TEST.PRECISE_BN.ENABLED and get_bn_modules(trainer.model):
        chosen.append(_precise_bn(trainer, plan))
    if cfg.DATASETS.TEST:
        chosen.append(Evaluate(cfg.TEST.EVAL_PERIOD))
    if plan.training.early_stopping.metric:
        chosen.append(EarlyStopping(plan.training.early_stopping))
    return chosen


def rank_zero(trainer: Trainer, plan: RunPlan, writers: Sequence[EventWriter], fence: Fence) -> list[HookBase]:
    """Hooks of rank 0 alone; saving comes last, when everything of an iteration has been written."""
    paths = trainer.paths
    chosen: list[HookBase] = [Throughput(trainer.cfg.SOLVER.IMS_PER_BATCH)]
    if plan.training.logging.images > 0:
        chosen.append(Pictures(paths, plan.training.logging.images))
    chosen.append(WriteEvents(writers, plan.training.logging.period, paths, fence))
    chosen.append(Progress(plan.training.logging.period))
    say = logging.getLogger(__name__).warning
    saver = Saver(trainer.checkpointer, paths, plan.training.checkpoint, fence=fence, resume=plan.resume, say=say)
    saving = SaveCheckpoint(saver, plan, paths, evaluated_before=trainer.evaluated_after)
    trainer.rescue = saving.rescue
    chosen.append(saving)
    return chosen


def _precise_bn(trainer: Trainer, plan: RunPlan) -> HookBase:
    own = trainer.cfg.clone()
    own.defrost()
    own.DATALOADER.NUM_WORKERS = 0
    loader = build_train_loader(
        own, seed=own.SEED, rank=trainer.rank, num_processes=trainer.num_processes, max_bad=plan.training.max_bad
    )
    return SteadyPreciseBN(own.TEST.EVAL_PERIOD, trainer.model, loader, own.TEST.PRECISE_BN.NUM_ITER)


class SteadyPreciseBN(hooks.PreciseBN):
    """Takes the same images every time, so that it does not matter how often it has run in this attempt."""

    def update_stats(self) -> None:
        if isinstance(self._data_loader, TrainLoader):
            self._data_loader.skip_to(0)
            self._data_iter = None
        super().update_stats()


class Evaluate(HookBase):
    """Evaluates every `period` iterations and after the last one, and catches up with what an earlier attempt missed.

    The numbers belong to the iteration after which they were due, whenever they came about.
    """

    def __init__(self, period: int) -> None:
        self.period = period

    def before_train(self) -> None:
        trainer = self.trainer
        at_its_end = trainer.iterations_done >= trainer.max_iter
        if trainer.evaluation_missing or (at_its_end and trainer.evaluated_after < trainer.iterations_done - 1):
            self._evaluate()

    def after_step(self) -> None:
        done = self.trainer.iterations_done
        if done >= self.trainer.max_iter or (self.period > 0 and done % self.period == 0):
            self._evaluate()

    def _evaluate(self) -> None:
        try:
            self.trainer.evaluate()
        except Exception:
            self.trainer.evaluation_missing = True  # the next attempt begins with it
            self.trainer.rescue()
            raise
        if not self.trainer.evaluation_missing:
            after = self.trainer.iterations_done - 1
            self.trainer.storage.put_scalars(**self.trainer.latest_metrics, smoothing_hint=False, cur_iter=after)
        # Evaluation takes its time on rank 0; the others wait here and not in the next iteration's collectives.
        comm.synchronize()


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
        with self.trainer.judged_weights():
            picture = draw_predictions(self.trainer.cfg, self.trainer.model, self.count, self.paths.predictions)
        if picture is not None:
            self.trainer.storage.put_image("predictions", picture)


class WriteEvents(HookBase):
    """Writes every `period` iterations, after every evaluation and when the training is finished.

    Not before a stop: what has not been written goes into the checkpoint, and the next attempt writes it where a
    training without a stop would have.
    """

    def __init__(self, writers: Sequence[EventWriter], period: int, paths: RunPaths, fence: Fence) -> None:
        self.writers = writers
        self.period = period
        self.paths = paths
        self.fence = fence

    def before_train(self) -> None:
        for writer in self.writers:
            writer._last_write = self.trainer.written_until
        if self._is_due():  # all but an evaluation was there already, and that has been made up for just now
            self._write()

    def after_step(self) -> None:
        if self._is_due():
            self._write()

    def _is_due(self) -> bool:
        done, trainer = self.trainer.iterations_done, self.trainer
        if trainer.evaluation_missing or trainer.written_until >= done - 1:
            return False
        # An evaluation at once, or its line would come after those of later iterations.
        return done % self.period == 0 or done >= trainer.max_iter or trainer.evaluated_after == done - 1

    def after_train(self) -> None:
        if self.trainer.finished:
            self._write()

    def _write(self) -> None:
        # An attempt that was overtaken would write every line a second time.
        with contextlib.suppress(OSError):  # saving asks again, and tells what is wrong
            check_fence(self.paths, self.fence)
        for writer in self.writers:
            writer.write()
        self.trainer.written_until = max(
            [self.trainer.written_until, *(iteration for _, iteration in self.trainer.storage.latest().values())]
        )

    def close(self) -> None:
        for writer in self.writers:
            writer.close()


class SaveCheckpoint(HookBase):
    """Saves every so many iterations or minutes, what is the best so far, after the last iteration, before a stop."""

    def __init__(self, saver: Saver, plan: RunPlan, paths: RunPaths, *, evaluated_before: int) -> None:
        self.saver = saver
        self.plan = plan
        self.paths = paths
        self.evaluated_before = evaluated_before
        self.last_time = time.monotonic()

    @property
    def settings(self) -> CheckpointSettings:
        return self.plan.training.checkpoint

    def before_train(self) -> None:
        """Give what was left without them the names that it is due: as the best so far, as the final weights."""
        trainer = self.trainer
        trainer.iter = trainer.iterations_done - 1
        unnamed = trainer.at_end and not self.saver.has_final_name(trainer.iter)
        unknown = self.saver.improves(self._metrics(), trainer.iter) and not self.saver.knows_as_best(trainer.iter)
        if unnamed or unknown:
            # What has been evaluated only now is to be in the checkpoint too.
            self._save(already_saved=not self._is_evaluated_now() and self._has_checkpoint())

    def _is_evaluated_now(self) -> bool:
        return self.trainer.evaluated_after > self.evaluated_before

    def _has_checkpoint(self) -> bool:
        return self.saver.saved_iterations == self.trainer.iterations_done

    def after_step(self) -> None:
        if self.trainer.iter == self.trainer.start_iter:
            self.saver.warm_up()
        if self._is_due():
            self._save(ends=self.trainer.stopping)

    def _is_due(self) -> bool:
        done, period = self.trainer.iterations_done, self.settings.period or self.trainer.cfg.SOLVER.CHECKPOINT_PERIOD
        by_clock = self.settings.every_minutes * 60
        return (
            self.trainer.at_end
            or self.trainer.stopping
            or (period > 0 and done % period == 0)
            or (by_clock > 0 and time.monotonic() - self.last_time > by_clock)
            or self.saver.improves(self._metrics(), self.trainer.iter)
        )

    def _metrics(self) -> dict[str, float]:
        """Those of an evaluation after this very iteration."""
        return self.trainer.latest_metrics if self.trainer.evaluated_after == self.trainer.iter else {}

    def _save(self, *, ends: bool = False, already_saved: bool = False) -> None:
        trainer = self.trainer
        milestone = Milestone(
            iteration=trainer.iter,
            images_seen=trainer.images_seen,
            world_size=trainer.num_processes,
            config_fingerprint=self.plan.fingerprint,
            versions={"torch": torch.__version__, "detectron2": detectron2.__version__},
        )
        trainer.heartbeat.beat("saving")
        self.saver.save(
            milestone, metrics=self._metrics(), is_last=trainer.at_end, ends=ends, already_saved=already_saved
        )
        self.last_time = time.monotonic()

    def rescue(self) -> None:
        """Save, if that can still be done; what went wrong before is the one to tell."""
        if self.trainer.iterations_done > self.trainer.start_iter:
            with contextlib.suppress(Exception):
                self._save(ends=True)

    def after_train(self) -> None:
        self.saver.finish()
        saved = self.saver.saved_iterations
        if saved is not None and not self.trainer.at_end:
            self.trainer.iterations_done = saved  # what a failed save leaves out is not done

    def close(self) -> None:
        # A training that failed still gets what it was saving onto the disk; its own failure is the one to tell.
        with contextlib.suppress(LauncherError):
            self.saver.finish()
        self.saver.close()
