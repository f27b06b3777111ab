from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import Field, fields, is_dataclass
from typing import Any

import pytest

from launcher.config.ranges import Range, numbers_of, problem_with, range_of
from launcher.config.schema import OWN_NODES


@pytest.mark.parametrize(
    ("allowed", "shown", "inside", "outside"),
    [
        (Range(at_least=0), ">= 0", [0, 1e9], [-1e-9]),
        (Range(above=0), "> 0", [1e-9, 3], [0, -1]),
        (Range(at_least=0, at_most=1), "in [0, 1]", [0, 1, 0.5], [-0.1, 1.1]),
        (Range(at_least=0, below=1), "in [0, 1)", [0, 0.999], [1, -0.1]),
        (Range(above=0, at_most=1), "in (0, 1]", [0.1, 1], [0, 2]),
    ],
)
def test_a_range_holds_what_it_says(allowed: Range, shown: str, inside: list[float], outside: list[float]):
    assert str(allowed) == shown
    assert all(number in allowed for number in inside)
    assert not any(number in allowed for number in (*outside, math.nan, math.inf, -math.inf))


@pytest.mark.parametrize(
    ("value", "allowed", "message"),
    [
        (-1, Range(at_least=0), "a.b=-1: must be >= 0."),
        (2.0, Range(at_least=0, at_most=1), "a.b=2: must be in [0, 1]."),
        (math.inf, Range(at_least=0, at_most=1), "a.b=inf: must be in [0, 1]."),
        (math.inf, Range(at_least=0), "a.b=inf: must be finite and >= 0."),
        (math.nan, Range(at_least=0, note="0 is off"), "a.b=nan: must be >= 0 (0 is off)."),
        (0, Range(at_least=0), ""),
    ],
)
def test_a_number_out_of_range_is_named_with_its_range(value: float, allowed: Range, message: str):
    assert problem_with("a.b", value, allowed) == message


def numeric_fields(kind: type, prefix: str) -> Iterator[tuple[str, Field[Any]]]:
    for field in fields(kind):
        inner = field.default_factory
        if isinstance(inner, type) and is_dataclass(inner):
            yield from numeric_fields(inner, f"{prefix}.{field.name}")
        elif field.type in ("int", "float"):
            yield f"{prefix}.{field.name}", field


NUMERIC = {name: field for node, kind in OWN_NODES.items() for name, field in numeric_fields(kind, node)}


@pytest.mark.parametrize("name", NUMERIC)
def test_every_numeric_setting_declares_a_range_that_holds_its_default(name: str):
    allowed = range_of(NUMERIC[name])

    assert allowed is not None
    assert NUMERIC[name].default in allowed


def test_every_numeric_setting_is_found_in_the_values():
    found = {name for node, kind in OWN_NODES.items() for name, _, _ in numbers_of(kind(), node)}

    assert found == set(NUMERIC)
    assert {"run.retries", "device.max_used", "ema.decay"} <= found
