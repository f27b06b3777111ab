from __future__ import annotations

import pytest

from launcher.train.samples.spread import spread


@pytest.mark.parametrize(
    ("count", "chosen"), [(1, [0]), (2, [0, 5]), (3, [0, 3, 6]), (10, list(range(10))), (99, list(range(10)))]
)
def test_items_are_spread_over_all_of_them(count: int, chosen: list[int]):
    assert spread(range(10), count) == chosen
