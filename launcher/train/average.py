"""An exponential moving average of a model's weights, and the files that hold it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn


class AveragedWeights:
    """The average of a model's parameters over the updates so far, in float32 on their device.

    Equal parameters make equal averages, so every rank has the same without talking. Buffers, such as the statistics
    of batch norm, are averages by themselves or constant, and are taken from the model as they are.
    """

    def __init__(self, model: torch.nn.Module, decay: float) -> None:
        # Without the wrapper of DistributedDataParallel, as checkpoints name the weights.
        self._model = getattr(model, "module", model)
        self._decay = decay
        self._weights: dict[str, torch.Tensor] = {}
        self.updates = 0

    def start(self) -> None:
        """Take the model's present parameters for the average."""
        self._weights = {
            name: parameter.detach().to(torch.float32, copy=True) for name, parameter in self._parameters().items()
        }
        self.updates = 0

    def update(self) -> None:
        """Move the average towards the parameters; to be called after each step of the optimizer."""
        present = [parameter.detach().float() for parameter in self._parameters().values()]
        average = get_ema_multi_avg_fn(decay_after(self.updates, self._decay))
        average(list(self._weights.values()), present, self.updates)
        self.updates += 1

    @contextlib.contextmanager
    def swapped_in(self) -> Iterator[None]:
        """The model has the averages for weights meanwhile, and the very same parameters as before afterwards."""
        parameters = self._parameters()
        # All of them before the first is changed: a parameter may have two names.
        trained = {name: parameter.data for name, parameter in parameters.items()}
        try:
            for name, parameter in parameters.items():
                parameter.data = self._weights[name].to(parameter.dtype)
            yield
        finally:
            for name, parameter in parameters.items():
                parameter.data = trained[name]

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self.updates, "weights": self._weights}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.start()
        for name, weights in self._weights.items():
            weights.copy_(state["weights"][name])
        self.updates = state["updates"]

    def _parameters(self) -> dict[str, torch.nn.Parameter]:
        return dict(self._model.named_parameters(remove_duplicate=False))


def decay_after(updates: int, decay: float) -> float:
    """How much of the average stays in the next update.

    Little at first, or the weights that a training started with would weigh for thousands of iterations. The formula,
    min(decay, (1 + n) / (10 + n)), is that of TensorFlow's `ExponentialMovingAverage` with `num_updates`.
    """
    return min(decay, (1 + updates) / (10 + updates))


def averaged_model(state: Mapping[str, Any]) -> dict[str, Any] | None:
    """Of a checkpoint's state a model with the averages for weights, as `DefaultPredictor` loads it; None without."""
    if "ema" not in state:
        return None
    model = dict(state["model"])
    for name, weights in state["ema"]["weights"].items():
        model[name] = weights.to(model[name].dtype)
    return {"model": model}
