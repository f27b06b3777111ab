"""Keeps the averaged weights up to date."""

from __future__ import annotations

from detectron2.engine import HookBase

from launcher.train.average import AveragedWeights


class KeepAverage(HookBase):
    """Updates the average after each iteration, before the hooks that look at it."""

    def __init__(self, average: AveragedWeights) -> None:
        self.average = average

    def before_train(self) -> None:
        if self.average.updates == 0:  # no checkpoint has brought one, and by now the weights to start from are loaded
            self.average.start()

    def after_step(self) -> None:
        self.average.update()
