"""How far a training is: one live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass

from detectron2.engine import HookBase
from detectron2.utils.events import EventStorage
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn
from rich.progress import Progress as RichProgress

from launcher.run.outcome import headlines
from launcher.train.output.logs import CONSOLE
from launcher.train.output.scalars import VALIDATION
from launcher.train.state import TrainingState

SMOOTHED_OVER = 20  # iterations, as detectron2's own printer does
STEADY_OVER = 200  # iterations
WIDE = 110  # columns, from which there is room for a longer bar and for its name
TERMS_SHOWN = 8
UNKNOWN = "-:--:--"


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """What a progress line says beside the iteration, each as text, or empty where it is not known yet."""

    loss: str
    terms: str
    lr: str
    speed: str
    metric: str
    """Of the latest evaluation."""

    def fitting(self, room: int) -> str:
        """As much as has room in one line; what a reader misses least is left out first."""
        left_out: tuple[str, ...] = ()
        for name in ("", "terms", "lr", "metric", "speed", "loss"):
            left_out += (name,)
            text = " ".join(value for part, value in vars(self).items() if value and part not in left_out)
            if len(text) <= room:
                break
        return text

    def __str__(self) -> str:
        loss = f"{self.loss} {self.terms}".strip()
        return "  ".join(value for value in (loss, self.lr, self.speed, self.metric) if value)


class Progress(HookBase):
    """Shows iteration, losses, learning rate, speed, the latest AP and the time left."""

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
        if not self.console.is_interactive or self.console.quiet or start >= end:
            return
        is_wide = self.console.width >= WIDE
        columns = (
            *([TextColumn("training")] if is_wide else []),
            BarColumn(bar_width=20 if is_wide else 10),
            MofNCompleteColumn(),
            TextColumn("{task.fields[numbers]}"),
            TextColumn("eta {task.fields[eta]}"),
        )
        self.live = RichProgress(*columns, console=self.console, refresh_per_second=4)
        self.task = self.live.add_task("training", total=end, completed=start, numbers="", eta=UNKNOWN)
        self.live.start()

    def after_step(self) -> None:
        done = self.state.iterations_done
        if self.live is not None and self.task is not None:
            eta = self._time_left()
            numbers = self._numbers().fitting(self._room(eta))
            self.live.update(self.task, completed=done, numbers=numbers, eta=eta)
        elif done % self.period == 0 or self.state.at_last_iteration or self.state.stopping:
            line = f"iteration {done}/{self.state.max_iter}  {self._numbers()}  eta {self._time_left()}"
            self.console.print(line, highlight=False, markup=False)

    def after_train(self) -> None:
        self.close()

    def close(self) -> None:
        if self.live is not None:
            self.live.stop()
            self.live = None

    def _room(self, eta: str) -> int:
        """Columns between the iteration and the time left, with a space on either side."""
        bar = len("training ") + 20 if self.console.width >= WIDE else 10
        counts = 2 * len(str(self.state.max_iter)) + len("/")
        return self.console.width - bar - 1 - counts - 1 - 1 - len(f"eta {eta}")

    def _numbers(self) -> Numbers:
        storage = self.trainer.storage
        seconds = _seconds_per_iteration(storage)
        total, terms = losses_in(storage, TERMS_SHOWN)
        lr, _ = storage.latest().get("lr", (None, 0))
        return Numbers(
            loss=total,
            terms=terms,
            lr="" if lr is None else f"lr {lr:.3g}",
            speed=f"{self.images_per_iteration / seconds:.3g} img/s" if seconds else "",
            metric=self._metric(),
        )

    def _metric(self) -> str:
        found = headlines(self.state.evaluated.metrics).items()
        return next((f"{name} {value:.1f}" for name, value in found if math.isfinite(value)), "")

    def _time_left(self) -> str:
        seconds = _seconds_per_iteration(self.trainer.storage)
        if seconds is None:
            return UNKNOWN
        return str(datetime.timedelta(seconds=round(seconds * (self.state.max_iter - self.state.iterations_done))))


def _seconds_per_iteration(storage: EventStorage) -> float | None:
    """The median, so that neither the slow start nor an evaluation counts; None in the first iterations."""
    if "time" not in storage.histories():
        return None
    return float(storage.history("time").median(STEADY_OVER))


def losses_in(storage: EventStorage, most: int) -> tuple[str, str]:
    """The total loss and its terms, each the median of the last iterations: `loss 1.23`, `(cls 0.40, box_reg 0.33)`."""
    medians = {
        name: history.median(storage.count_samples(name, SMOOTHED_OVER))
        for name, history in storage.histories().items()
        if "loss" in name and not name.startswith(VALIDATION)
    }
    total = medians.pop("total_loss", None)
    terms = ", ".join(f"{name.removeprefix('loss_')} {value:.3g}" for name, value in list(medians.items())[:most])
    return (f"loss {total:.3g}" if total is not None else ""), (f"({terms})" if terms else "")
