"""What launchers of two nodes say to each other, each in a thread of its own."""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from launcher.config.values import read_json_if_valid
from launcher.device.job import NodeFacts
from launcher.errors import ExitCode
from launcher.launch import board as board_module
from launcher.launch.board import Board, NodeError, Stage
from launcher.launch.pulse import SILENCE_S, Pulse
from launcher.run.plan import RunPlan
from tests.cluster.real_slurm import wait_for
from tests.launch.boards import a_board, together
from tests.values import a_plan

PLAN = a_plan({"SOLVER": {"MAX_ITER": 3}})


def follow(board: Board) -> tuple[Stage, int, RunPlan]:
    board.say(Stage.here)
    word = board.wait_for_plan(last=0)
    plan = board.read_plan(word.plan)
    board.say(Stage.ready, plan=word.plan)
    return board.wait_until_begun(word.plan).stage, word.plan, plan


def lead(board: Board) -> None:
    board.open()
    board.publish(PLAN)
    board.begin()


def test_a_node_begins_with_the_plan_of_the_first_one(tmp_path: Path):
    first, second = a_board(tmp_path, 0), a_board(tmp_path, 1)

    _, followed = together(lambda: lead(first), lambda: follow(second))

    assert followed == (Stage.working, 1, PLAN)


def test_a_plan_of_an_earlier_start_is_not_taken_even_under_the_same_name(tmp_path: Path):
    earlier = a_board(tmp_path, 0), a_board(tmp_path, 1)
    together(lambda: lead(earlier[0]), lambda: follow(earlier[1]))
    second = a_board(tmp_path, 1, patience_s=0.2)
    earlier[0].say(Stage.left)

    second.say(Stage.here)
    with pytest.raises(NodeError, match="n2 has heard nothing of the first node, n1, in"):
        second.wait_for_plan(last=0)


def test_a_node_that_came_before_the_first_one_began_anew_comes_again(tmp_path: Path):
    first, second = a_board(tmp_path, 0), a_board(tmp_path, 1)

    def lead_late() -> None:
        while not list(tmp_path.glob(".nodes/*/node1.json")):
            time.sleep(0.01)
        lead(first)  # which begins with an empty board

    _, followed = together(lead_late, lambda: follow(second))

    assert followed == (Stage.working, 1, PLAN)


def test_a_node_that_does_not_come_is_missed_with_the_folder_that_it_does_not_see(tmp_path: Path):
    first, elsewhere = a_board(tmp_path, 0, patience_s=0.2), a_board(tmp_path / "local", 1)
    elsewhere.say(Stage.here)

    with pytest.raises(
        NodeError, match=rf"1 of 2 nodes did not come to {tmp_path} within 0.2 s \(here: n1\)"
    ) as missed:
        lead(first)

    assert missed.value.exit_code is ExitCode.resumable
    assert "set run.root to one that is" in str(missed.value)


def test_a_sick_node_is_named_and_hears_of_the_end_before_it_leaves(tmp_path: Path):
    first, second = a_board(tmp_path, 0), a_board(tmp_path, 1)

    def be_sick() -> bool:
        second.say(Stage.here)
        second.refuse(second.wait_for_plan(last=0).plan, "2 GPUs here, 8 on the first node")
        word = second.word_of(0)
        return word is None or word.stage is Stage.left

    def lead_in_vain() -> str:
        with pytest.raises(NodeError) as refused:
            lead(first)
        first.leave(75)
        return str(refused.value)

    said, has_heard = together(lead_in_vain, be_sick)

    assert said == "n2: 2 GPUs here, 8 on the first node"
    assert has_heard


def test_the_exit_code_of_the_first_node_is_heard_by_all_and_nothing_stays(tmp_path: Path):
    first, second = a_board(tmp_path, 0), a_board(tmp_path, 1)

    def hear() -> int:
        follow(second)
        word = second.wait_until_over(1, was_stopped=False)
        assert word is not None
        second.leave(word.exit_code)
        return word.exit_code

    def lead_to_the_end() -> None:
        lead(first)
        first.leave(3)

    assert together(lead_to_the_end, hear)[1] == 3
    assert not (tmp_path / ".nodes").exists()


def test_processes_that_ended_elsewhere_are_those_of_this_attempt(tmp_path: Path):
    first, second = a_board(tmp_path, 0), a_board(tmp_path, 1)
    together(lambda: lead(first), lambda: follow(second))
    second.say(Stage.working)

    before = first.ended_elsewhere()
    second.say_ended()

    assert (before, first.ended_elsewhere(), second.ended_elsewhere()) == ("", "n2", "")


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The words that boards read, in their order."""
    names: list[str] = []

    def read(path: Path, kind: type[Any]) -> Any:
        names.append(path.name)
        return read_json_if_valid(path, kind)

    monkeypatch.setattr(board_module, "read_json_if_valid", read)
    return names


def working(folder: Path, count: int) -> list[Board]:
    """The boards of as many nodes, whose processes run."""
    boards = [a_board(folder, rank, count=count) for rank in range(count)]
    together(lambda: lead(boards[0]), *(partial(follow, board) for board in boards[1:]))
    for board in boards:
        board.say(Stage.working)
    return boards


def test_of_many_nodes_only_the_first_one_reads_what_all_say(tmp_path: Path, looked_at: list[str]):
    boards = working(tmp_path, 4)
    looked_at.clear()

    for board in boards:
        board.ended_elsewhere()

    assert sorted(looked_at) == ["node0.json"] * 3 + ["node1.json", "node2.json", "node3.json"]


def test_the_first_node_passes_on_which_others_have_ended(tmp_path: Path):
    first, second, third = working(tmp_path, 3)

    second.say_ended()
    before = third.ended_elsewhere()
    first.ended_elsewhere()

    assert (before, third.ended_elsewhere()) == ("", "n2")


def test_those_who_ended_in_an_attempt_have_not_ended_in_the_next_one(tmp_path: Path):
    first, second, third = working(tmp_path, 3)
    second.say_ended()
    first.ended_elsewhere()

    first.say(Stage.working, plan=2)
    third.say(Stage.working, plan=2)

    assert third.ended_elsewhere() == ""


def test_another_node_waits_for_the_end_of_the_first_one_alone(tmp_path: Path, looked_at: list[str]):
    first, _, third = working(tmp_path, 3)
    first.say_ended()
    looked_at.clear()

    third.wait_until_ended()

    assert set(looked_at) == {"node0.json"}


def test_the_first_node_waits_for_the_end_of_all(tmp_path: Path):
    first, second, third = working(tmp_path, 3)
    for board in (first, second):
        board.say_ended()
    ended = []

    def wait() -> list[str]:
        first.wait_until_ended()
        return [*ended]

    def end_late() -> None:
        time.sleep(0.2)
        ended.append("n3")
        third.say_ended()

    seen, _ = together(wait, end_late)

    assert (seen, first.ended_elsewhere()) == (["n3"], "n2, n3")


def test_a_second_launch_leaves_alone_what_the_first_one_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """It has not the run's folder: the first one is at work there."""
    monkeypatch.setattr(board_module, "FAREWELL_S", 0.1)
    boards = working(tmp_path, 2)
    another = a_board(tmp_path, 0, start="18-0-0")

    another.open()
    another.leave(5, "it is being trained")

    assert [board.word_of(rank) is not None for board in boards for rank in (0, 1)] == [True] * 4
    assert boards[1].heard_last() is None


def test_who_holds_the_folder_forgets_what_earlier_starts_have_left(tmp_path: Path):
    working(tmp_path, 2)
    later = a_board(tmp_path, 0, start="17-0-1")
    later.open()

    later.forget_other_starts()

    assert [folder.name for folder in (tmp_path / ".nodes").iterdir()] == ["17-0-1"]


def test_a_first_node_that_was_killed_is_not_waited_for_without_a_limit(tmp_path: Path):
    first, second = working(tmp_path, 2)
    clock = itertools.count(0, 30.0)
    second = a_board(tmp_path, 1, patience_s=100.0, now=lambda: float(next(clock)))
    first.say(Stage.here)

    second.say(Stage.here)
    with pytest.raises(NodeError, match="n2 has heard nothing of the first node, n1"):
        second.wait_for_plan(last=0)

    assert 100 + SILENCE_S < next(clock) < 100 + SILENCE_S + 200


def test_a_pulse_is_there_until_the_last_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(board_module, "FAREWELL_S", 0.1)
    node = NodeFacts(count=2, rank=0, name="n1", head="n1", start="17-0-0")
    threads = set(threading.enumerate())
    first = Board(tmp_path / ".nodes", node, patience_s=1.0, now=time.monotonic, sleep=time.sleep, pulse=Pulse())

    first.open()
    wait_for((tmp_path / ".nodes/17-0-0/pulse").exists, patience_s=20)
    first.leave(1)

    assert set(threading.enumerate()) == threads


def test_one_node_alone_writes_nothing_and_waits_for_nobody(tmp_path: Path):
    board = a_board(tmp_path, 0, count=1, patience_s=0.0)

    lead(board)
    board.say_ended()
    board.wait_until_ended()
    board.leave(0)

    assert not list(tmp_path.iterdir())


def test_a_first_node_that_looks_at_data_for_longer_than_others_wait_is_waited_for(tmp_path: Path):
    first, second = a_board(tmp_path, 0), a_board(tmp_path, 1, patience_s=0.1)

    def lead_slowly() -> None:
        first.open()
        time.sleep(0.5)
        first.publish(PLAN)
        first.begin()

    _, followed = together(lead_slowly, lambda: follow(second))

    assert followed == (Stage.working, 1, PLAN)


def test_the_plan_of_a_retry_is_another_file_than_that_of_the_attempt_before(tmp_path: Path):
    """On a network disk the content of a file that was replaced may still be seen."""
    first, second = a_board(tmp_path, 0), a_board(tmp_path, 1)
    later = replace(PLAN, attempt=2)
    together(lambda: lead(first), lambda: follow(second))

    def follow_again() -> RunPlan:
        word = second.wait_for_plan(last=1)
        second.say(Stage.ready, plan=word.plan)
        return second.read_plan(word.plan)

    _, plan = together(lambda: first.publish(later), follow_again)

    assert (plan, second.read_plan(1)) == (later, PLAN)


def test_a_plan_that_is_announced_and_cannot_be_read_is_named(tmp_path: Path):
    second = a_board(tmp_path, 1, patience_s=0.1)

    with pytest.raises(NodeError, match=r"n2 cannot read .*plan3\.json"):
        second.read_plan(3)


@pytest.mark.parametrize("rank", [0, 1])
def test_no_signal_is_heard_once_the_last_word_is_said(tmp_path: Path, rank: int):
    """srun asks all launchers to stop once one of them has ended with an error."""
    stages: list[Stage | None] = []

    def note() -> None:
        word = board.word_of(rank)
        stages.append(word.stage if word is not None else None)

    board = Board(
        tmp_path / ".nodes",
        NodeFacts(count=2, rank=rank, name="n", head="n1", start="17-0-0"),
        patience_s=1.0,
        now=time.monotonic,
        sleep=lambda s: time.sleep(s / 100),
        close_ears=note,
    )
    board.say(Stage.here)

    board.leave(4)

    assert stages == [Stage.here]


def test_a_node_that_comes_after_an_error_still_finds_what_the_first_one_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(board_module, "FAREWELL_S", 0.1)
    first, late = a_board(tmp_path, 0), a_board(tmp_path, 1)
    first.open()
    first.leave(4, "no GPU")

    late.say(Stage.here)

    word = late.heard_last()
    assert word is not None
    assert (word.exit_code, word.text) == (4, "no GPU")
