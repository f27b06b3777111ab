"""When a checkpoint is to be saved: write it, here or in the background, and keep the folder in order.

A save that fails is not yet the end of a training; see `Saver`.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.config.request import CheckpointSettings
from launcher.config.values import read_json_if_valid, write_json
from launcher.errors import TrainingFailedError
from launcher.run.fence import Fence, check_fence
from launcher.run.manifest import Milestone
from launcher.run.paths import RunPaths
from launcher.run.resume import CHECKPOINT_NAME, ResumePoint, numbered_checkpoints
from launcher.run.retention import Best, better, checkpoints_to_remove
from launcher.train.average import averaged_model
from launcher.train.checkpoints.checkpoint import (
    SafeCheckpointer,
    clear_leftovers,
    has_same_content,
    link_or_copy,
    name_final,
    remove_checkpoint,
    write_checkpoint,
    write_weights,
)
from launcher.train.checkpoints.snapshot import Snapshot

MOST_FAILURES = 3  # in a row, that a training outlives
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, kw_only=True)
class _Save:
    """One checkpoint to write."""

    state: Mapping[str, Any]
    milestone: Milestone
    best: Best | None
    is_last: bool
    ends: bool
    already_saved: bool


@dataclass(frozen=True, kw_only=True)
class _Saved:
    """How a save went; without a failure the checkpoint is on the disk under its name."""

    failure: OSError | None = None
    remarks: tuple[str, ...] = ()
    """What went wrong without any harm to the checkpoint."""


class Saver:
    """Saves the checkpoints of one attempt. Only rank 0 has one.

    A failed save is reported and training continues, up to `MOST_FAILURES` in a row, as long as an older checkpoint is
    there to resume from. In the background a failure shows at the next `save` or `finish`. A checkpoint counts, for
    `keep_last`, as the best or as the final one, only once it is on the disk.
    """

    def __init__(
        self,
        checkpointer: SafeCheckpointer,
        paths: RunPaths,
        settings: CheckpointSettings,
        *,
        fence: Fence | None = None,
        resume: ResumePoint | None = None,
        report: Callable[[str], None] = print,
    ) -> None:
        self._checkpointer = checkpointer
        self._paths = paths
        self._settings = settings
        self._fence = fence
        self._report = report
        self._newest_complete = _iteration_in(paths, resume)
        self._failures_in_a_row = 0
        self._snapshot = Snapshot()
        self._background = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._under_way: tuple[Future[_Saved], _Save] | None = None
        clear_leftovers(paths.checkpoints)
        self._best = read_json_if_valid(paths.best, Best)
        self._finish_naming_best()

    def warm_up(self) -> None:
        """Set memory for the copies aside, which the first save of all would otherwise wait for.

        Useful after the first iteration, once the optimizer has state.
        """
        if self._settings.async_:
            self._snapshot.take(self._checkpointer.state())

    def improves(self, metrics: Mapping[str, float | None], iteration: int) -> bool:
        """Whether an evaluation after `iteration` makes its checkpoint the best, so that it is to be saved."""
        return better(metrics, iteration, self._settings, self._best) is not None

    def knows_as_best(self, iteration: int) -> bool:
        return self._best is not None and self._best.iteration == iteration

    def has_final_name(self, iteration: int) -> bool:
        """Whether the final weights are those after `iteration` and not of an earlier end, which has been moved."""
        return has_same_content(self._paths.checkpoint(iteration), self._paths.final_weights)

    @property
    def saved_iterations(self) -> int | None:
        """How many iterations a start would find done; None when it would find no checkpoint of this run."""
        return None if self._newest_complete is None else self._newest_complete + 1

    def save(
        self,
        milestone: Milestone,
        *,
        metrics: Mapping[str, float | None] | None = None,
        is_last: bool = False,
        ends: bool = False,
        already_saved: bool = False,
    ) -> None:
        """Save the state after `milestone.iteration`.

        `metrics` are those of an evaluation after this iteration. `is_last` also names the final weights and waits;
        `ends` says that the attempt, not the training, ends with this save. What is `already_saved` only gets the
        names that it is due.

        Raises:
            TrainingFailedError: this save, or the one before in the background, may not fail but did.
            FencedError: a later attempt trains in this folder.
        """
        self.finish()
        with contextlib.suppress(OSError):  # the writing asks again, and reports what is wrong
            self._ask_fence()
        best = better(metrics or {}, milestone.iteration, self._settings, self._best)
        state = self._checkpointer.state(iteration=milestone.iteration)
        if not self._settings.async_ or is_last:
            save = _Save(
                state=state, milestone=milestone, best=best, is_last=is_last, ends=ends, already_saved=already_saved
            )
            self._settle(self._write(save), save)
            return
        copied = self._snapshot.take(state)
        save = _Save(
            state=copied, milestone=milestone, best=best, is_last=False, ends=ends, already_saved=already_saved
        )
        self._under_way = self._background.submit(self._write, save), save

    def finish(self) -> None:
        """Wait until what is being saved is on the disk. To be called before the training ends, however it ends.

        Raises:
            TrainingFailedError, FencedError: as `save`.
        """
        if self._under_way is None:
            return
        (future, save), self._under_way = self._under_way, None
        self._settle(future.result(), save)

    def close(self) -> None:
        """Let the thread go; `finish` comes first."""
        self._background.shutdown(wait=True)

    def _settle(self, saved: _Saved, save: _Save) -> None:
        for remark in saved.remarks:
            self._report(remark)
        if saved.failure is None:
            self._failures_in_a_row = 0
            return
        self._failures_in_a_row += 1
        what = (
            f"The checkpoint of iteration {save.milestone.iteration + 1} could not be saved ({_reason(saved.failure)})"
        )
        way_out = (
            f"Make room in {self._paths.checkpoints} or make it writable, and run the command again; "
            "another place is run.root=FOLDER."
        )
        if save.is_last:
            raise TrainingFailedError(f"{what}, and it was the last one of the training. {way_out}")
        if self._newest_complete is None:
            raise TrainingFailedError(f"{what}, and there is no older one to resume from. {way_out}")
        if save.ends:
            newest = f"the checkpoint of iteration {self._newest_complete + 1}"
            self._report(f"{what}. The run can be resumed from {newest}. {way_out}")
            return
        if self._failures_in_a_row > MOST_FAILURES:
            raise TrainingFailedError(f"{what}, nor could the {MOST_FAILURES} before it. {way_out}")
        self._report(
            f"{what}. Training continues; the newest checkpoint is that of iteration {self._newest_complete + 1}. "
            f"Failed {self._failures_in_a_row} of at most {MOST_FAILURES} times in a row."
        )

    def _write(self, save: _Save) -> _Saved:
        """Write, then do what depends on the checkpoint being on the disk. Runs in the background too."""
        path = self._paths.checkpoint(save.milestone.iteration)
        try:
            if save.already_saved:
                self._ask_fence()
            else:
                self._write_making_room(save, path)
            self._newest_complete = save.milestone.iteration
            if save.is_last:
                _write_average(save.state, self._paths.final_average)  # first: a kill in between is made good
                name_final(path, self._paths)
        except OSError as error:
            return _Saved(failure=error)
        remarks = []
        try:
            if save.best is not None:
                _write_average(save.state, self._paths.best_average)
                self._keep_best(save.best, path)
        except OSError as error:
            remarks.append(f"The best checkpoint could not be kept as {self._paths.best_weights} ({_reason(error)}).")
        try:
            self._remove_old()
        except OSError as error:
            remarks.append(f"An old checkpoint could not be removed from {self._paths.checkpoints} ({_reason(error)}).")
        return _Saved(remarks=tuple(remarks))

    def _write_making_room(self, save: _Save, path: Path) -> None:
        try:
            write_checkpoint(save.state, path, save.milestone, self._ask_fence)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            self._ask_fence()
            # What this save would make superfluous may go before it, as long as the newest complete one stays.
            if not self._remove_old(save.milestone.iteration):
                raise
            write_checkpoint(save.state, path, save.milestone, self._ask_fence)

    def _remove_old(self, *coming: int) -> int:
        """Remove checkpoints beyond `keep_last`, `coming` ones counted, and return how many."""
        there = numbered_checkpoints(self._paths)
        needed = {*coming} if self._newest_complete is None else {*coming, self._newest_complete}
        old = checkpoints_to_remove({*there, *coming}, self._settings.keep_last, needed=needed)
        for iteration in old:
            remove_checkpoint(there[iteration])
        return len(old)

    def _keep_best(self, best: Best, path: Path) -> None:
        # First why, then the file: a kill in between is made good when the next attempt starts.
        write_json(self._paths.best, best)
        link_or_copy(path, self._paths.best_weights)
        self._best = best

    def _finish_naming_best(self) -> None:
        """Name the best of earlier attempts where a kill, or a full disk, prevented it."""
        path = self._paths.checkpoint(self._best.iteration) if self._best is not None else None
        weights = self._paths.best_weights
        if path is None or not path.exists() or has_same_content(path, weights):
            return
        try:
            link_or_copy(path, weights)
        except OSError as error:
            self._report(f"The best checkpoint could not be kept as {weights} ({_reason(error)}).")

    def _ask_fence(self) -> None:
        if self._fence is not None:
            check_fence(self._paths, self._fence)


def _write_average(state: Mapping[str, Any], target: Path) -> None:
    averaged = averaged_model(state)
    if averaged is not None:
        write_weights(averaged, target)


def _iteration_in(paths: RunPaths, resume: ResumePoint | None) -> int | None:
    """The iteration of the checkpoint that this attempt resumes from, when it is one of this run's own."""
    path = Path(resume.path) if resume is not None else None
    match = CHECKPOINT_NAME.fullmatch(path.name) if path is not None and path.parent == paths.checkpoints else None
    return int(match[1]) if match else None


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
