"""What is searched: the settings with more than one value of a command line, as values. No optuna, no job."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException

from launcher.errors import RequestError

Point = tuple[str, ...]
"""One override for each dimension, in their order: what a job gets."""
DIGITS = 6
"""Significant digits of a number from an interval: it is read, typed and part of a folder's name."""
MOST_POINTS = 10_000
"""A space with more counts as one without an end."""
LOG = "log"


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Numbers from a lowest to a highest one, both included."""

    low: float
    high: float
    is_whole: bool
    is_log: bool

    def text_of(self, number: float) -> str:
        """As it is set, with few digits and within the interval."""
        if self.is_whole:
            return str(int(number))
        return repr(min(max(float(f"{number:.{DIGITS}g}"), self.low), self.high))

    def holds(self, text: str) -> bool:
        """Whether the text is one of these numbers."""
        number = number_of(text)
        is_of_type = number is not None and (not self.is_whole or number.is_integer())
        return is_of_type and self.low <= number <= self.high  # type: ignore[operator]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Values that are listed."""

    values: tuple[str, ...]
    is_ordered: bool
    """They are equally far apart, so that a sampler learns of one from its neighbours."""

    def place_of(self, text: str) -> int | None:
        """Of the value that is spelled so, or otherwise and means the same number; None where there is none."""
        if text in self.values:
            return self.values.index(text)
        number = number_of(text)
        same = (place for place, value in enumerate(self.values) if number is not None and number_of(value) == number)
        return next(same, None)


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """One setting, or one group, that is searched."""

    key: str
    """As Hydra has it, with its plus where one is needed."""
    values: Interval | Choice


@dataclass(frozen=True, kw_only=True)
class Space:
    """Everything that is searched."""

    dimensions: tuple[Dimension, ...]

    @property
    def size(self) -> int | None:
        """The number of its points; None where there are more than anybody tries."""
        size = math.prod(_count(one.values) for one in self.dimensions)
        return int(size) if size <= MOST_POINTS else None

    def points(self) -> Iterator[Point]:
        """All points of a space that has a size."""
        for values in product(*(_listed(one.values) for one in self.dimensions)):
            yield self.point(values)

    def point(self, values: Sequence[str]) -> Point:
        """The point with these values, one for each dimension."""
        return tuple(f"{one.key}={value}" for one, value in zip(self.dimensions, values, strict=True))

    def point_in(self, overrides: Sequence[str]) -> Point | None:
        """The point that a job of these overrides is; None where it lies outside."""
        typed = {key.lstrip("+"): value for key, _, value in (text.partition("=") for text in overrides)}
        found = [spelled(one.values, typed.get(one.key.lstrip("+"), "")) for one in self.dimensions]
        return None if any(value is None for value in found) else self.point([value or "" for value in found])

    def point_of_defaults(self, defaults: Mapping[str, str]) -> Point | None:
        """The point that the configuration itself is, by what it has under each key; None where that lies outside."""
        return self.point_in([f"{key}={value}" for key, value in defaults.items()])


def spelled(values: Interval | Choice, text: str) -> str | None:
    """The value as it is spelled here; None where it is not among them."""
    if isinstance(values, Choice):
        place = values.place_of(text)
        return None if place is None else values.values[place]
    if not values.holds(text):
        return None
    return str(int(float(text))) if values.is_whole else repr(float(text))


def number_of(text: str) -> float | None:
    """The number that is spelled so; None where it is none."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def space_of(overrides: Sequence[Override]) -> Space:
    """The space of a command line, of a key typed twice the last.

    Raises:
        RequestError: nothing is searched, or not in a way that can be meant; every problem is named.
    """
    swept = {one.get_key_element(): one for one in overrides if one.is_sweep_override()}
    if not swept:
        raise RequestError(
            "hydra/sweeper=search, but no setting has several values to search. "
            'Give one an interval or choices: "SOLVER.BASE_LR=tag(log, interval(0.0001, 0.1))".'
        )
    problems = [f"{one.input_line}: {problem}" for one in swept.values() if (problem := _problem_with(one))]
    if problems:
        raise RequestError("\n".join(problems))
    return Space(dimensions=tuple(Dimension(key=key, values=_values_of(one)) for key, one in swept.items()))


def parse(overrides: Sequence[str], loader: Any) -> list[Override]:
    """The overrides of a command line; `loader` is Hydra's, which knows the options of groups.

    Raises:
        RequestError: one is not in Hydra's grammar.
    """
    try:
        return OverridesParser.create(config_loader=loader).parse_overrides(list(overrides))
    except HydraException as error:
        raise RequestError(str(error)) from error


def _problem_with(override: Override) -> str:
    value = override.value()
    if isinstance(value, IntervalSweep):
        return _problem_with_interval(value.start, value.end, value.tags)
    if unknown := sorted(_tags_of(value) - ({LOG} if isinstance(value, RangeSweep) else set())):
        return f"the tag {unknown[0]!r} means nothing here; only log does, with an interval"
    if getattr(value, "shuffle", False):
        return "shuffle orders the jobs of a grid; a search has an order of its own"
    if isinstance(value, RangeSweep) and LOG in value.tags:
        return "log takes an interval, such as tag(log, int(interval(1, 64))), or a list of values"
    return "" if _texts_of(override) else "there is no value in it"


def _tags_of(value: Any) -> set[str]:
    return set(getattr(value, "tags", ()))


def _problem_with_interval(low: float | None, high: float | None, tags: set[str]) -> str:
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return "an interval needs a finite number at each end"
    if low >= high:
        return f"the interval is empty, because {low:g} is not below {high:g}"
    if LOG in tags and low <= 0:
        return f"a logarithm needs numbers above 0, and the interval begins at {low:g}"
    unknown = sorted(tags - {LOG})
    return f"the tag {unknown[0]!r} means nothing here; only log does" if unknown else ""


def _values_of(override: Override) -> Interval | Choice:
    value = override.value()
    if isinstance(value, IntervalSweep):
        low, high = value.start, value.end
        is_whole = isinstance(low, int) and isinstance(high, int)
        return Interval(low=low or 0, high=high or 0, is_whole=is_whole, is_log=LOG in value.tags)
    return Choice(values=_texts_of(override), is_ordered=isinstance(value, RangeSweep))


def _texts_of(override: Override) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(text) for text in override.sweep_string_iterator()))


def _count(values: Interval | Choice) -> float:
    if isinstance(values, Choice):
        return len(values.values)
    return values.high - values.low + 1 if values.is_whole else math.inf


def _listed(values: Interval | Choice) -> Sequence[str]:
    if isinstance(values, Choice):
        return values.values
    return [str(one) for one in range(int(values.low), int(values.high) + 1)]
