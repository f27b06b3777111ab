"""Which numbers a setting may have, declared on its field."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import Field, dataclass, field, fields, is_dataclass
from typing import Any, TypeVar

Number = TypeVar("Number", int, float)
_RANGE = "range"


@dataclass(frozen=True, kw_only=True)
class Range:
    """An interval of numbers. It holds neither NaN nor infinity."""

    at_least: float = -math.inf
    above: float = -math.inf
    at_most: float = math.inf
    below: float = math.inf
    note: str = ""
    """What a special value means, such as `0 disables the check`."""

    def __contains__(self, number: float) -> bool:
        # NaN compares false with everything, and infinity is not below infinity.
        return self.at_least <= number <= self.at_most and self.above < number < self.below

    @property
    def is_bounded_above(self) -> bool:
        return min(self.at_most, self.below) < math.inf

    @property
    def with_note(self) -> str:
        """`>= 0 (0 disables the check)`."""
        return f"{self} ({self.note})" if self.note else str(self)

    def __str__(self) -> str:
        """`>= 0`, `> 0` or `in [0, 1)`."""
        low, is_closed = max(self.at_least, self.above), self.at_least > self.above
        high = min(self.at_most, self.below)
        if not self.is_bounded_above:
            return f"{'>=' if is_closed else '>'} {low:.10g}"
        return f"in {'[' if is_closed else '('}{low:.10g}, {high:.10g}{']' if self.at_most < self.below else ')'}"


def ranged(default: Number, *, note: str = "", **limits: float) -> Number:
    """A dataclass field for a number within `limits`, which are those of `Range`."""
    made: Number = field(default=default, metadata={_RANGE: Range(note=note, **limits)})
    return made


def range_of(setting: Field[Any]) -> Range | None:
    """What `ranged` declared."""
    return setting.metadata.get(_RANGE)


def numbers_of(settings: Any, prefix: str) -> Iterator[tuple[str, float, Range]]:
    """Dotted name, value and range of every number in a dataclass, also in the dataclasses inside of it."""
    for setting in fields(settings):
        name, value, allowed = f"{prefix}.{setting.name}", getattr(settings, setting.name), range_of(setting)
        if is_dataclass(value):
            yield from numbers_of(value, name)
        elif allowed is not None:
            yield name, value, allowed


def problem_with(name: str, value: float, allowed: Range) -> str:
    """`run.retries=-1: must be >= 0.`; empty where the value is allowed."""
    if value in allowed:
        return ""
    finite = "finite and " if math.isinf(value) and not allowed.is_bounded_above else ""
    return f"{name}={str(value).removesuffix('.0')}: must be {finite}{allowed.with_note}."
