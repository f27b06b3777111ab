"""Signal handlers for the length of a block."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import FrameType

Handler = Callable[[int, FrameType | None], object] | int
"""What `signal.signal` takes: a function, `signal.SIG_IGN` or `signal.SIG_DFL`."""


@contextlib.contextmanager
def handling(handlers: Mapping[int, Handler]) -> Iterator[None]:
    """Have these handlers meanwhile, and those of before afterwards; in the main thread only, as Python has it."""
    before: dict[int, Handler | None] = {}
    try:
        for number, handler in handlers.items():
            before[number] = signal.signal(number, handler)
        yield
    finally:
        for number, former in before.items():
            # None: not set from Python, and Python cannot put it back.
            if former is not None:
                signal.signal(number, former)


@contextlib.contextmanager
def blocking(numbers: Iterable[int]) -> Iterator[None]:
    """Have these signals wait meanwhile, as far as this thread gets them; what it starts inside inherits that."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
