"""The values of a swept setting, as numbers where they are that. Data only."""

from __future__ import annotations

import math
from collections.abc import Sequence

SPREAD = 30.0
"""Between the smallest and the largest of positive numbers, from which on an axis is logarithmic."""


def as_numbers(texts: Sequence[str]) -> list[float] | None:
    """All of them as numbers; None where one is something else."""
    try:
        numbers = [float(text) for text in texts]
    except ValueError:
        return None
    return numbers if all(math.isfinite(number) for number in numbers) else None


def is_logarithmic(numbers: Sequence[float]) -> bool:
    """Whether they are better told apart by their logarithms."""
    return min(numbers) > 0 and max(numbers) / min(numbers) >= SPREAD
