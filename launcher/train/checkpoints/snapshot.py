"""A training's state as plain values, and a copy of it in memory that training does not change."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

_COPIERS = 2  # threads; memory is no faster for many more
_PLAIN = (type(None), bool, int, float, complex, str, bytes)


def as_plain(value: Any, take: Callable[[torch.Tensor], torch.Tensor] = lambda t: t, name: str = "checkpoint") -> Any:
    """The value in new containers, with what `take` makes of each tensor.

    Raises:
        TypeError: something in it could be saved, but not loaded again without running code.
    """
    if isinstance(value, torch.Tensor):
        return take(value.detach())
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, OrderedDict):
        copy = OrderedDict((key, as_plain(inner, take, f"{name}.{key}")) for key, inner in value.items())
        copy.__dict__.update(value.__dict__)  # torch keeps the versions of a model's modules there
        return copy
    if isinstance(value, dict):
        return {key: as_plain(inner, take, f"{name}.{key}") for key, inner in value.items()}
    if type(value) in (list, tuple, set):
        return type(value)(as_plain(inner, take, f"{name}[{index}]") for index, inner in enumerate(value))
    raise TypeError(f"{name} is a {type(value).__name__}, which a checkpoint cannot hold: make it of plain values")


class Snapshot:
    """Copies state into the same memory again and again: allocating it each time takes ten times as long as copying."""

    def __init__(self) -> None:
        self._buffers: list[torch.Tensor] = []
        self._copiers = ThreadPoolExecutor(max_workers=_COPIERS, thread_name_prefix="snapshot")

    def take(self, state: Any) -> Any:
        """A copy of the state, valid until the next one is taken."""
        before, self._buffers = self._buffers, []
        copies: dict[tuple[object, ...], torch.Tensor] = {}
        pairs: list[tuple[torch.Tensor, torch.Tensor]] = []

        def copy(tensor: torch.Tensor) -> torch.Tensor:
            same = _identity(tensor)
            if same not in copies:
                index = len(self._buffers)
                buffer = _buffer_for(tensor, before[index] if index < len(before) else None)
                self._buffers.append(buffer)
                pairs.append((buffer, tensor))
                copies[same] = buffer
            return copies[same]

        copied = as_plain(state, copy)
        self._copy([(buffer, tensor) for buffer, tensor in pairs if not tensor.is_cuda])
        on_gpu = [(buffer, tensor) for buffer, tensor in pairs if tensor.is_cuda]
        if on_gpu:
            _copy_all(on_gpu)  # in this thread, whose stream has the training's work in it
            torch.cuda.synchronize()
        return copied

    def _copy(self, pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
        pairs.sort(key=lambda pair: pair[0].numel(), reverse=True)
        with _one_thread():
            list(self._copiers.map(_copy_all, [pairs[start::_COPIERS] for start in range(_COPIERS)]))


def _copy_all(pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    for buffer, tensor in pairs:
        buffer.copy_(tensor, non_blocking=tensor.is_cuda)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    # torch would share each of hundreds of copies among its threads and wait for the slowest, which where others use
    # the cores too was measured to take five times as long.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _identity(tensor: torch.Tensor) -> tuple[object, ...]:
    """Alike for two views of the same memory, such as weights that a model uses twice."""
    return tensor.device, tensor.data_ptr() or id(tensor), tensor.dtype, tensor.shape, tensor.stride()


def _buffer_for(tensor: torch.Tensor, former: torch.Tensor | None) -> torch.Tensor:
    fits = former is not None and former.dtype == tensor.dtype and former.shape == tensor.shape
    if former is not None and fits and former.is_pinned() == tensor.is_cuda:
        return former
    # Only from page-locked memory does a GPU copy without the processor.
    return torch.empty_like(tensor, device="cpu", pin_memory=tensor.is_cuda)
