"""Saves checkpoints."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import replace

from detectron2.engine import HookBase

from launcher.config.request import CheckpointSettings
from launcher.errors import LauncherError
from launcher.run.heartbeat import SAVING, TRAINING, Heartbeat
from launcher.run.manifest import Milestone
from launcher.train.checkpoints.saver import Saver
from launcher.train.state import TrainingState


class SaveCheckpoint(HookBase):
    """Saves every so many iterations or minutes, what is the best so far, after the last iteration, before a stop.

    The last hook of all: everything of an iteration is in its checkpoint.
    """

    def __init__(
        self,
        saver: Saver,
        state: TrainingState,
        settings: CheckpointSettings,
        *,
        milestone: Milestone,
        heartbeat: Heartbeat,
    ) -> None:
        """`milestone` says what is the same for every checkpoint of this attempt."""
        self.saver = saver
        self.state = state
        self.settings = settings
        self.milestone = milestone
        self.heartbeat = heartbeat
        self._evaluated_before = state.evaluated.after
        self._last_time = time.monotonic()
        self._tried = -1
        """Iterations that were done when a save was last begun."""

    def before_train(self) -> None:
        """Give what was left without them the names that it is due: as the best so far, as the final weights."""
        done = self.state.last_iteration
        unnamed = self.state.at_end and not self.saver.has_final_name(done)
        unknown = self.saver.improves(self._metrics(), done) and not self.saver.knows_as_best(done)
        if unnamed or unknown:
            # What has been evaluated only now is to be in the checkpoint too.
            is_evaluated_now = self.state.evaluated.after > self._evaluated_before
            self._save(already_saved=not is_evaluated_now and self._is_saved())

    def after_step(self) -> None:
        if self.state.last_iteration == self.state.start:
            self.saver.warm_up()
        if self._is_due():
            self._save(ends=self.state.stopping)

    def _is_due(self) -> bool:
        period, by_clock = self.settings.period, self.settings.every_minutes * 60
        return (
            self.state.at_end
            or self.state.stopping
            or (period > 0 and self.state.iterations_done % period == 0)
            or (by_clock > 0 and time.monotonic() - self._last_time > by_clock)
            or self.saver.improves(self._metrics(), self.state.last_iteration)
        )

    def _metrics(self) -> Mapping[str, float]:
        return self.state.evaluated.metrics_after(self.state.last_iteration)

    def _is_saved(self) -> bool:
        return self.saver.saved_iterations == self.state.iterations_done

    def _save(self, *, ends: bool = False, already_saved: bool = False) -> None:
        milestone = replace(self.milestone, iteration=self.state.last_iteration, images_seen=self.state.images_seen)
        self.heartbeat.beat(SAVING)
        self._tried = self.state.iterations_done
        self.saver.save(
            milestone, metrics=self._metrics(), is_last=self.state.at_end, ends=ends, already_saved=already_saved
        )
        self._last_time = time.monotonic()
        self.heartbeat.beat(TRAINING)

    def after_train(self) -> None:
        if self.state.stopping and self.state.iterations_done not in (self.state.start, self._tried):
            self._save(ends=True)  # the stop came while a batch was waited for
        self.saver.finish()
        saved = self.saver.saved_iterations
        if saved is not None and not self.state.at_end:
            self.state.iterations_done = saved  # what a failed save leaves out is not done

    def close(self) -> None:
        # A training that failed still gets what it was saving onto the disk; its own failure is the one to report.
        with contextlib.suppress(LauncherError):
            self.saver.finish()
        self._rescue()
        self.saver.close()

    def _rescue(self) -> None:
        """Save what an evaluation that failed would otherwise cost, if that can still be done."""
        is_new = self.state.iterations_done > self.state.start and not self._is_saved()
        if self.state.evaluated.missing and is_new:
            with contextlib.suppress(Exception):
                self._save(ends=True)
                self.saver.finish()
