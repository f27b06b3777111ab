"""Learning rate, momentum and weight decay over a resume: the configuration's hold, not the checkpoint's."""

from __future__ import annotations

from typing import Any

from detectron2.solver import LRMultiplier
from torch.optim import Optimizer


class Hyperparameters:
    """What was asked for, noted before a checkpoint brings its own learning rate, momentum and weight decay."""

    def __init__(self, optimizer: Optimizer, scheduler: Any) -> None:
        self._optimizer = optimizer
        self._scheduler = scheduler
        self._asked = [
            {key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups
        ]
        self._base_lrs: list[float] = list(getattr(scheduler, "base_lrs", ()))

    def put_back(self) -> None:
        """Have them again, at the place in the schedule where the checkpoint is."""
        loaded = [group["lr"] for group in self._optimizer.param_groups]
        former_base_lrs = list(getattr(self._scheduler, "base_lrs", ()))
        if self._base_lrs:
            self._scheduler.base_lrs = self._base_lrs
        rates = self._rates(loaded, former_base_lrs)
        for group, asked, rate in zip(self._optimizer.param_groups, self._asked, rates, strict=True):
            group.update({**asked, "lr": rate})

    def _rates(self, loaded: list[float], former_base_lrs: list[float]) -> list[float]:
        if isinstance(self._scheduler, LRMultiplier):
            rates: list[float] = self._scheduler.get_lr()
            return rates
        # torch's own schedulers go from rate to rate: asked out of turn, they would give one step too many.
        if len(former_base_lrs) != len(loaded):
            return loaded
        pairs = zip(loaded, former_base_lrs, self._base_lrs, strict=True)
        return [rate if former in (base, 0) else rate * base / former for rate, former, base in pairs]
