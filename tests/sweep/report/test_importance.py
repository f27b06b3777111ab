"""How much of a metric a setting explains by itself."""

from __future__ import annotations

import random

import pytest

from launcher.sweep.report.importance import epsilon_squared, importance_of

DRAW = random.Random(1)


def test_a_setting_that_decides_everything_explains_everything_and_noise_nothing():
    values = [1.0, 2.0, 3.0] * 8
    settings = {"decides": ["a", "b", "c"] * 8, "noise": [str(at % 2) for at in range(24)]}

    found = importance_of(settings, values)

    assert list(found) == ["decides", "noise"]
    assert found["decides"] == pytest.approx(1.0)
    assert found["noise"] < 0.1


def test_numbers_are_grouped_so_that_a_best_value_in_the_middle_counts():
    numbers = [DRAW.uniform(-1, 1) for _ in range(40)]

    found = importance_of({"middle": [str(number) for number in numbers]}, [-abs(number) for number in numbers])

    assert found["middle"] > 0.5


def test_chance_is_taken_off():
    values = [DRAW.random() for _ in range(1000)]
    groups = [str(DRAW.randrange(100)) for _ in values]

    assert epsilon_squared(groups, values) < 0.05


@pytest.mark.parametrize(
    ("groups", "values"),
    [
        ("ab", [1.0, 2.0]),
        ("aaaa", [1.0, 2.0, 3.0, 4.0]),
        ("abab", [1.0, 1.0, 1.0, 1.0]),
        ("abcd", [1.0, 2.0, 3.0, 4.0]),
    ],
)
def test_what_cannot_be_told_is_nothing(groups, values):
    assert epsilon_squared(groups, values) == 0.0


def test_too_few_jobs_say_nothing():
    assert importance_of({"a": ["1", "2"] * 2}, [1.0, 2.0] * 2) == {}
