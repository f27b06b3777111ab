from __future__ import annotations

import pytest

from launcher.errors import RequestError
from launcher.sweep.problems import refuse_problems


def test_a_problem_of_all_jobs_is_said_once_and_one_of_some_with_their_names():
    found = [("A=1", ["x is wrong."]), ("A=2", ["x is wrong.", "y is wrong."]), ("A=3", ["x is wrong."])]

    with pytest.raises(RequestError) as refused:
        refuse_problems(found)

    assert str(refused.value).splitlines() == ["x is wrong.", "A=2: y is wrong.", "No job was started."]


def test_of_many_jobs_some_are_named():
    found = [(f"A={number}", ["wrong."] if number else []) for number in range(9)]

    with pytest.raises(RequestError, match=r"^A=1, A=2, A=3 and 5 more: wrong\."):
        refuse_problems(found)


def test_nothing_wrong_passes():
    refuse_problems([("A=1", []), ("A=2", [])])
