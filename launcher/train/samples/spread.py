"""The same few samples of a data set every time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def spread(items: Sequence[Any], count: int) -> list[Any]:
    """`count` items evenly spread over all of them, always the same ones."""
    if len(items) <= count:
        return list(items)
    return [items[index * len(items) // count] for index in range(count)]
