from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from launcher.train.evaluation.pairing import NONE, Detections, Pairs, Truth, pair

BOX = (0.0, 0.0, 10.0, 10.0)
NEAR = (1.0, 0.0, 10.0, 10.0)  # IoU 0.82 with BOX
HALF = (4.0, 0.0, 10.0, 10.0)  # IoU 0.43 with BOX
FAR = (50.0, 50.0, 10.0, 10.0)

Object = tuple[tuple[float, float, float, float], int]


def paired(truth: Sequence[Object], found: Sequence[Object], crowd: Sequence[int] = ()) -> Pairs:
    return pair(
        Truth(
            boxes=np.array([box for box, _ in truth]).reshape(-1, 4),
            classes=np.array([one for _, one in truth], dtype=int),
            is_crowd=np.isin(np.arange(len(truth)), crowd),
        ),
        Detections(
            boxes=np.array([box for box, _ in found]).reshape(-1, 4),
            classes=np.array([one for _, one in found], dtype=int),
        ),
    )


@pytest.mark.parametrize(
    ("truth", "found", "same", "other", "false"),
    [
        ([(BOX, 0)], [(NEAR, 0)], [0], [NONE], [False]),
        ([(BOX, 0)], [(HALF, 0)], [NONE], [NONE], [True]),
        ([(BOX, 0)], [(NEAR, 1)], [NONE], [0], [False]),
        # A detection of the class gets the object, also when one of another class has the better score.
        ([(BOX, 0)], [(BOX, 1), (NEAR, 0)], [NONE, 0], [NONE, NONE], [True, False]),
        # An object is found once.
        ([(BOX, 0)], [(NEAR, 0), (BOX, 0)], [0, NONE], [NONE, NONE], [False, True]),
        # Of two objects the one that is overlapped most.
        ([(NEAR, 0), (BOX, 0)], [(BOX, 0)], [1], [NONE], [False]),
        ([], [(BOX, 0)], [NONE], [NONE], [True]),
        ([(BOX, 0)], [], [], [], []),
    ],
)
def test_detections_take_the_objects_that_they_overlap_first_of_their_own_class(
    truth: list[Object], found: list[Object], same: list[int], other: list[int], false: list[bool]
):
    pairs = paired(truth, found)

    assert (pairs.same_class.tolist(), pairs.other_class.tolist(), pairs.is_false.tolist()) == (same, other, false)


def test_what_lies_in_a_crowd_of_its_class_counts_neither_way():
    small = (2.0, 2.0, 3.0, 3.0)

    pairs = paired([(BOX, 0)], [(small, 0), (small, 0), (small, 1), (FAR, 0)], crowd=[0])

    assert pairs.in_crowd.tolist() == [True, True, False, False]
    assert pairs.is_false.tolist() == [False, False, True, True]
    assert (pairs.same_class == NONE).all()


def test_an_object_knows_what_it_was_taken_for():
    pairs = paired([(BOX, 0), (FAR, 1), ((90.0, 0.0, 5.0, 5.0), 2)], [(NEAR, 0), (FAR, 2)])

    assert [pairs.of_object(index) for index in range(3)] == [(0, True), (1, False), (NONE, False)]
