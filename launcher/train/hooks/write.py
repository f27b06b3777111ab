"""Writes metrics and draws inputs."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence

from detectron2.engine import HookBase
from detectron2.utils.events import EventWriter

from launcher.errors import LauncherError
from launcher.run.fence import Fence, check_fence
from launcher.run.paths import RunPaths
from launcher.train.output.drawing import draw_inputs
from launcher.train.state import TrainingState

ENOUGH_TO_JUDGE = 10
"""Iterations, before which one slow file says nothing about the rest."""
logger = logging.getLogger(__name__)


class Throughput(HookBase):
    """Puts speed, and the fraction of the time that went by until the batch was there, beside detectron2's scalars."""

    def __init__(self, images_per_iteration: int, state: TrainingState) -> None:
        self.images_per_iteration = images_per_iteration
        self.state = state
        self._iterations = 0
        self._seconds = 0.0
        self._waited_s = 0.0

    def after_step(self) -> None:
        storage = self.trainer.storage
        # Of the first iterations, in which everything starts, detectron2 gives no time.
        seconds, _ = storage.latest().get("time", (0.0, 0))
        if seconds <= 0:
            return
        waited_s, _ = storage.latest().get("data_time", (0.0, 0))
        storage.put_scalar("images_per_second", self.images_per_iteration / seconds)
        storage.put_scalar("data_wait", min(1.0, waited_s / seconds))
        self._count(seconds, waited_s)

    def _count(self, seconds: float, waited_s: float) -> None:
        self._iterations += 1
        self._seconds += seconds
        self._waited_s += waited_s
        if self._iterations >= ENOUGH_TO_JUDGE:
            self.state.data_wait = min(1.0, self._waited_s / self._seconds)


class DrawInputs(HookBase):
    """Draws training inputs as the model gets them, before training."""

    def __init__(self, paths: RunPaths, count: int) -> None:
        self.paths = paths
        self.count = count

    def before_train(self) -> None:
        cfg = self.trainer.cfg
        try:
            image = draw_inputs(cfg, self.trainer.build_mapper(cfg, True), self.count, self.paths.sample_inputs)
        except Exception:  # whatever a mapper of somebody's own gives, images end no training
            logger.warning("The inputs could not be drawn", exc_info=True)
            return
        if image is not None:
            self.trainer.storage.put_image("inputs", image)


class WriteEvents(HookBase):
    """Writes every `period` iterations, after every evaluation and when the training is finished.

    Not before a stop: what has not been written goes into the checkpoint, and the next attempt writes it where a
    training without a stop would have.
    """

    def __init__(
        self, writers: Sequence[EventWriter], period: int, state: TrainingState, *, paths: RunPaths, fence: Fence
    ) -> None:
        self.writers = writers
        self.period = period
        self.state = state
        self.paths = paths
        self.fence = fence

    def before_train(self) -> None:
        for writer in self.writers:
            writer._last_write = self.state.written_until
        if self._is_due():  # all but an evaluation was there already, and that has been made up for just now
            self._write()

    def after_step(self) -> None:
        if self._is_due():
            self._write()

    def _is_due(self) -> bool:
        state = self.state
        if state.evaluated.missing or state.written_until >= state.last_iteration:
            return False
        # An evaluation at once, or its line would come after those of later iterations.
        is_evaluated = state.evaluated.after == state.last_iteration
        return state.iterations_done % self.period == 0 or state.at_last_iteration or is_evaluated

    def after_train(self) -> None:
        if self.state.finished:
            try:
                self._write()
            except LauncherError:
                raise
            except Exception:  # whatever a writer of somebody's own does, a finished training is finished
                logger.warning("The last metrics could not be written", exc_info=True)

    def _write(self) -> None:
        # An attempt that was overtaken would write every line a second time.
        with contextlib.suppress(OSError):  # saving asks again, and reports what is wrong
            check_fence(self.paths, self.fence)
        for writer in self.writers:
            writer.write()
        latest = self.trainer.storage.latest().values()
        self.state.written_until = max([self.state.written_until, *(iteration for _, iteration in latest)])

    def close(self) -> None:
        for writer in self.writers:
            try:
                writer.close()
            except Exception:  # as above
                logger.warning("%s could not be closed", type(writer).__name__, exc_info=True)
