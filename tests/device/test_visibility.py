"""What is wrong with a value of CUDA_VISIBLE_DEVICES."""

from __future__ import annotations

import pytest

from launcher.device.visibility import hides_everything, problem_with_list

UUIDS = ("GPU-11112222", "GPU-11113333", "GPU-44445555")


@pytest.mark.parametrize("listed", ["0", "2,1", "0,1,2", " 1 , 0", "GPU-44", "GPU-11112222,GPU-11113333", "MIG-abc"])
def test_a_list_of_gpus_that_are_there_is_fine(listed: str):
    assert problem_with_list(listed, UUIDS) == ""


@pytest.mark.parametrize(
    ("listed", "explained"),
    [
        ("7", "`7` is not the index"),
        ("0,7", "only the 1 before it count"),
        ("0,0", "second time"),
        ("0,GPU-11112222", "second time"),
        ("GPU-11", "fits 2 GPUs"),
        ("GPU-dead", "not the UUID"),
        ("abc", "neither an index nor a UUID"),
        ("0,-1,1", "only the 1 before it count"),
        ("0,,1", "neither"),
    ],
)
def test_the_first_bad_entry_is_explained(listed: str, explained: str):
    assert explained in problem_with_list(listed, UUIDS)


@pytest.mark.parametrize(
    ("listed", "hides"), [("", True), ("-1", True), ("NoDevFiles", True), ("0", False), ("7", False)]
)
def test_the_usual_ways_to_hide_all_gpus_are_known(listed: str, hides: bool):
    assert hides_everything(listed) is hides
