"""A model that is asked for its training losses without being trained: afterwards it is as it was before."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from detectron2.utils.events import EventStorage
from torch.nn import Module
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from launcher.train.seeds import unchanged_randomness

PLAIN = (bool, int, float, str, torch.Tensor, type(None))


@contextlib.contextmanager
def giving_losses(model: Module) -> Iterator[None]:
    """Meanwhile the model gives losses, as in training but with its running statistics and without dropout.

    Modes, buffers, running means that detectors hold as plain numbers, randomness and logged scalars stay as they are.
    """
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    plain = [(module, _plain_values(module)) for module in model.modules()]
    try:
        model.train()
        for module in model.modules():
            if isinstance(module, _BatchNorm | _DropoutNd):
                module.eval()
        # One of its own: in training models log what they count, and draw.
        with unchanged_randomness(), _unchanged_on_gpu(), EventStorage(1), torch.no_grad():
            yield
    finally:
        _put_back(buffers, plain)


def _plain_values(module: Module) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if isinstance(value, PLAIN)}


def _put_back(buffers: list[tuple[torch.Tensor, torch.Tensor]], plain: list[tuple[Module, dict[str, Any]]]) -> None:
    with torch.no_grad():
        for buffer, before in buffers:
            buffer.copy_(before)
    for module, values in plain:
        for name in _plain_values(module).keys() - values.keys():
            del vars(module)[name]
        vars(module).update(values)


def _unchanged_on_gpu() -> contextlib.AbstractContextManager[None]:
    if not torch.cuda.is_initialized():
        return contextlib.nullcontext()
    return torch.random.fork_rng(devices=[torch.cuda.current_device()])
