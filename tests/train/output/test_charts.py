from __future__ import annotations

import numpy as np
import pytest

from launcher.train.evaluation.confusion import Confusion
from launcher.train.output.charts import MOST_CLASSES, _most_confused, _named


def test_of_many_classes_the_matrix_has_those_that_are_confused_before_those_that_are_missed():
    counts = np.zeros((101, 101), dtype=np.int64)
    counts[3, 70] = 1
    counts[:50, 100] = np.arange(50) * 10
    confusion = Confusion(names=tuple(f"c{number}" for number in range(100)), counts=counts, score=0.5)

    shown = _most_confused(confusion)

    assert len(shown) == MOST_CLASSES
    assert shown == sorted(shown)
    assert {3, 70, 49, 48} <= set(shown)
    assert 10 not in shown


@pytest.mark.parametrize(("number", "named"), [(12, 12), (13, 12), (0, 0)])
def test_of_many_classes_the_best_and_the_worst_curves_have_names(number: int, named: int):
    precisions = {index: np.full(101, index / 100) for index in range(number)}

    chosen = _named(precisions)

    assert len(chosen) == named
    if number:
        assert (chosen[0], chosen[-1]) == (number - 1, 0)
