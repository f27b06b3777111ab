"""How far a training is: one live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import datetime

from detectron2.engine import HookBase
from detectron2.utils.events import EventStorage
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn
from rich.progress import Progress as RichProgress

from launcher.train.output.logs import CONSOLE
from launcher.train.state import TrainingState

SMOOTHED_OVER = 20  # iterations, as detectron2's own printer does
STEADY_OVER = 200  # iterations
WIDE = 110  # columns, from which the terms of the loss fit beside the total


class Progress(HookBase):
    """Shows iteration, losses, speed and the time left, and each evaluation's headline."""

    def __init__(
        self, period: int, state: TrainingState, images_per_iteration: int, console: Console = CONSOLE
    ) -> None:
        self.period = period
        self.state = state
        self.images_per_iteration = images_per_iteration
        self.console = console
        self.live: RichProgress | None = None
        self.task: TaskID | None = None

    def before_train(self) -> None:
        start, end = self.state.start, self.state.max_iter
        if not self.console.is_terminal or start >= end:
            return
        columns = (
            TextColumn("training"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[numbers]}"),
            TextColumn("eta {task.fields[eta]}"),
        )
        self.live = RichProgress(*columns, console=self.console, refresh_per_second=4)
        self.task = self.live.add_task("training", total=end, completed=start, numbers="", eta="-:--:--")
        self.live.start()

    def after_step(self) -> None:
        done = self.state.iterations_done
        storage = self.trainer.storage
        if self.live is not None and self.task is not None:
            numbers = losses_in(storage, 3 if self.console.width >= WIDE else 0)
            self.live.update(self.task, completed=done, numbers=numbers, eta=self._time_left())
        elif done % self.period == 0 or self.state.at_last_iteration or self.state.stopping:
            self.console.print(self._line(done, storage), highlight=False, markup=False)

    def after_train(self) -> None:
        self.close()

    def close(self) -> None:
        if self.live is not None:
            self.live.stop()
            self.live = None

    def _line(self, done: int, storage: EventStorage) -> str:
        seconds = _seconds_per_iteration(storage)
        speed = f"  {self.images_per_iteration / seconds:.3g} img/s" if seconds else ""
        latest = storage.latest()
        lr = f"  lr {latest['lr'][0]:.3g}" if "lr" in latest else ""
        return f"iteration {done}/{self.state.max_iter}  {losses_in(storage, 8)}{lr}{speed}  eta {self._time_left()}"

    def _time_left(self) -> str:
        seconds = _seconds_per_iteration(self.trainer.storage)
        if seconds is None:
            return "-:--:--"
        return str(datetime.timedelta(seconds=round(seconds * (self.state.max_iter - self.state.iterations_done))))


def _seconds_per_iteration(storage: EventStorage) -> float | None:
    """The median, so that neither the slow start nor an evaluation counts; None in the first iterations."""
    if "time" not in storage.histories():
        return None
    return float(storage.history("time").median(STEADY_OVER))


def losses_in(storage: EventStorage, most: int) -> str:
    """The total loss and its terms, each the median of the last iterations: `loss 1.23 (cls 0.40, box_reg 0.33)`."""
    medians = {
        name: history.median(storage.count_samples(name, SMOOTHED_OVER))
        for name, history in storage.histories().items()
        if "loss" in name
    }
    total = medians.pop("total_loss", None)
    terms = ", ".join(f"{name.removeprefix('loss_')} {value:.3g}" for name, value in list(medians.items())[:most])
    return (f"loss {total:.3g}" if total is not None else "") + (f" ({terms})" if terms else "")
