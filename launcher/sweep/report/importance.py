"""How much of a metric each setting explains by itself. A plain statistic of what was measured; fits no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, quantiles

from launcher.sweep.report.settings import as_numbers

GROUPS = 4
"""Into which the values of a setting with many numbers are put, all of about the same size."""
FEWEST = 6
"""Jobs with a value, below which nothing is said."""
NAME = "epsilon squared"
MEANING = (
    "the fraction of the metric's variance that the groups of a setting's values explain, corrected for what as many "
    "groups explain by chance; numbers with more than four values are put into quarters. Settings that matter only "
    "together with others get little."
)


def importance_of(settings: Mapping[str, Sequence[str]], values: Sequence[float]) -> dict[str, float]:
    """By setting, the largest first; empty of too few jobs. `settings` are those of the jobs with these values."""
    if len(values) < FEWEST:
        return {}
    found = {key: epsilon_squared(_groups_of(texts), values) for key, texts in settings.items()}
    return dict(sorted(found.items(), key=lambda one: -one[1]))


def epsilon_squared(groups: Sequence[object], values: Sequence[float]) -> float:
    """From 0 to 1; 0 also where there is nothing to explain, or nothing to explain it by."""
    by_group: dict[object, list[float]] = {}
    for group, value in zip(groups, values, strict=True):
        by_group.setdefault(group, []).append(value)
    middle, degrees = mean(values), len(values) - len(by_group)
    total = sum((value - middle) ** 2 for value in values)
    within = sum((value - mean(ones)) ** 2 for ones in by_group.values() for value in ones)
    if total == 0 or degrees <= 0 or len(by_group) < 2:
        return 0.0
    return max(0.0, 1 - (within / degrees) / (total / (len(values) - 1)))


def _groups_of(texts: Sequence[str]) -> list[object]:
    """The group of each value."""
    numbers = as_numbers(texts)
    if numbers is None or len(set(numbers)) <= GROUPS:
        return list(texts)
    bounds = quantiles(numbers, n=GROUPS)
    return [sum(number > bound for bound in bounds) for number in numbers]
