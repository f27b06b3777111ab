from __future__ import annotations

import pytest

from launcher.train.compat.key_meanings import key_meanings, meanings_in

SOURCE = """
# ---------------------------------------------------------------------------- #
# Solver
# ---------------------------------------------------------------------------- #
_C.SOLVER = CN()
# Options: A, B.
# See the code.
_C.SOLVER.NAME = "A"

_C.SOLVER.BASE_LR = 0.001
_C.SOLVER.SIGN = "#"  # alternative: "%"
# About nothing that follows at once

_C.SOLVER.GAMMA = 0.1
"""


@pytest.mark.parametrize(
    ("key", "meaning"),
    [
        ("SOLVER.NAME", "Options: A, B. See the code."),
        ("SOLVER.SIGN", 'alternative: "%"'),
        ("SOLVER", None),
        ("SOLVER.BASE_LR", None),
        ("SOLVER.GAMMA", None),
    ],
)
def test_a_comment_belongs_to_the_key_right_below_it(key: str, meaning: str | None):
    assert meanings_in(SOURCE).get(key) == meaning


def test_the_installed_detectron2_comments_most_of_its_keys():
    found = key_meanings()

    assert len(found) > 100
    assert "checkpoint" in found["MODEL.WEIGHTS"]
