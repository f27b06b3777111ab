"""What is searched, from Hydra's override grammar."""

from __future__ import annotations

import pytest

from launcher.errors import RequestError
from launcher.search.space import Choice, Dimension, Interval, Space, parse, space_of


def of(*overrides: str) -> Space:
    return space_of(parse(overrides, None))


@pytest.mark.parametrize(
    ("typed", "values"),
    [
        ("interval(1, 10)", Interval(low=1, high=10, is_whole=False, is_log=False)),
        ("int(interval(1, 10))", Interval(low=1, high=10, is_whole=True, is_log=False)),
        ("tag(log, interval(1e-4, 1e-1))", Interval(low=1e-4, high=1e-1, is_whole=False, is_log=True)),
        ("tag(log, int(interval(1, 64)))", Interval(low=1, high=64, is_whole=True, is_log=True)),
        ("int(tag(log, interval(1, 64)))", Interval(low=1, high=64, is_whole=True, is_log=True)),
        ("range(1, 10, 3)", Choice(values=("1", "4", "7"), is_ordered=True)),
        ("range(0, 1, 0.25)", Choice(values=("0.0", "0.25", "0.5", "0.75"), is_ordered=True)),
        ("choice(a, 'b c', [1, 2])", Choice(values=("a", "b\\ c", "[1,2]"), is_ordered=False)),
        ("4,8,16", Choice(values=("4", "8", "16"), is_ordered=False)),
        ("true,false", Choice(values=("True", "False"), is_ordered=False)),
    ],
)
def test_a_space_is_written_in_hydras_grammar(typed: str, values: Interval | Choice):
    assert of(f"key={typed}", "fixed=1").dimensions == (Dimension(key="key", values=values),)


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("interval(5, 1)", "the interval is empty, because 5 is not below 1"),
        ("interval(1, 1)", "is empty"),
        ("int(interval(0.2, 0.8))", "is empty"),
        ("tag(log, interval(0, 1))", "numbers above 0, and the interval begins at 0"),
        ("interval(1, inf)", "a finite number at each end"),
        ("interval(nan, 1)", "a finite number at each end"),
        ("tag(logarithmic, interval(1, 2))", "the tag 'logarithmic' means nothing here"),
        ("tag(log, range(1, 9))", "log takes an interval"),
        ("shuffle(1, 2, 3)", "a search has an order of its own"),
        ("range(5, 1)", "there is no value in it"),
    ],
)
def test_what_cannot_be_searched_is_refused_with_the_text_that_was_typed(typed: str, says: str):
    with pytest.raises(RequestError, match=says) as refused:
        of(f"key={typed}", "other=interval(3, 2)")

    assert f"key={typed}" in str(refused.value)
    assert "other=interval(3, 2)" in str(refused.value)


def test_a_command_without_anything_to_search_is_refused_with_an_example():
    with pytest.raises(RequestError, match=r"SOLVER\.BASE_LR=tag\(log, interval"):
        of("SOLVER.BASE_LR=0.1")


def test_of_a_key_typed_twice_the_last_counts():
    assert of("key=1,2", "key=3,4").size == 2


@pytest.mark.parametrize(
    ("typed", "size"),
    [
        (("a=1,2,3", "b=range(0,4)"), 12),
        (("a=int(interval(1,5))",), 5),
        (("a=int(interval(1,1000000000))", "b=1,2"), None),
        (("a=1,2", "b=interval(0,1)"), None),
    ],
)
def test_a_space_of_lists_has_a_size(typed: tuple[str, ...], size: int | None):
    space = of(*typed)

    assert space.size == size
    assert size is None or len(set(space.points())) == size


@pytest.mark.parametrize(
    ("overrides", "point"),
    [
        (("lr=0.01", "b=8", "n=3"), ("lr=0.01", "b=8", "n=3")),
        (("n=3", "fixed=1", "lr=1e-2", "b=8.0"), ("lr=0.01", "b=8", "n=3")),
        (("lr=0.2", "b=8", "n=3"), None),
        (("lr=0.01", "b=9", "n=3"), None),
        (("lr=0.01", "b=8", "n=3.5"), None),
        (("lr=nan", "b=8", "n=3"), None),
        (("lr=0.01", "b=8"), None),
    ],
)
def test_a_job_is_a_point_of_the_space_however_its_numbers_are_spelled(overrides, point):
    space = of("lr=interval(0.001, 0.1)", "b=4,8", "n=int(interval(1,5))")

    assert space.point_in(overrides) == point


def test_the_defaults_are_a_point_where_they_lie_inside():
    space = of("lr=interval(0.001, 0.1)", "+model=a,b")

    assert space.point_of_defaults({"lr": "0.02", "model": "b"}) == ("lr=0.02", "+model=b")
    assert space.point_of_defaults({"lr": "0.2", "model": "b"}) is None
    assert space.point_of_defaults({"lr": "0.02"}) is None


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.00123456789, "0.00123457"), (0.1, "0.1"), (1 / 3, "0.333333"), (0.99999999, "0.99999"), (1e-9, "1e-06")],
)
def test_a_number_of_an_interval_has_few_digits_and_lies_within(number: float, text: str):
    assert Interval(low=1e-6, high=0.99999, is_whole=False, is_log=False).text_of(number) == text
