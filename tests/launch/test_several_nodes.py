"""The conductors of two nodes, in milliseconds and without a process."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launcher.config.request import DeviceRequest
from launcher.data.index.store import IndexFacts
from launcher.data.plan import CocoSplit
from launcher.device.facts import DeviceFacts
from launcher.errors import LauncherError
from launcher.launch.attempts import follow, launch
from launcher.launch.board import Board
from launcher.launch.folder_lock import lock_folder
from launcher.launch.meeting import MeetingFacts
from launcher.run import codes
from launcher.run.outcome import Outcome
from launcher.run.plan import NodePlan, RunPlan
from tests.device.recorded import HEALTHY, NO_GPU, TWO_GPUS
from tests.launch.boards import a_board, together
from tests.launch.conducted import World, request_in
from tests.values import NO_DATA, failed_with, finished_after

MEETING = MeetingFacts(num_nodes=2, start="17-0-0", address="n1:23456", notices=())
DONE = finished_after(100)


def a_world(folder: Path, rank: int, ends: tuple[Outcome, ...] = (DONE,), facts: DeviceFacts = NO_GPU) -> World:
    board = a_board(folder / "model-a/run", rank)
    return World(facts=(facts,), ends=ends, board=board, meeting=MEETING if rank == 0 else None)


def waits_for(other: World) -> Callable[[RunPlan], None]:
    """What processes do: those of one node do not end before those of the other have begun."""

    def wait(plan: RunPlan) -> None:
        until = time.monotonic() + 60
        while len(other.carried_out) < plan.attempt:
            assert time.monotonic() < until
            time.sleep(0.01)

    return wait


def noting(step: Callable[[], Any]) -> Any:
    try:
        return step()
    except LauncherError as error:
        return error


def test_both_nodes_work_off_one_plan_each_in_its_own_place(tmp_path: Path):
    first, second = a_world(tmp_path, 0), a_world(tmp_path, 1)
    first.meanwhile = waits_for(second)
    request = request_in(tmp_path)

    ended, exit_code = together(lambda: launch(request, first.session()), lambda: follow(request, second.session()))

    (plan,), (other) = first.carried_out, second.carried_out[0]
    assert (ended.outcome, exit_code) == (DONE, 0)
    assert plan.nodes == NodePlan(count=2, rank=0, address="n1:23456", meeting="17-0-0/attempt1")
    assert (other.nodes.rank, other.first_rank, other.num_processes, other.keys) == (1, 1, 2, plan.keys)
    assert [file.exists() for file in (plan.file, other.file, plan.attempt_paths.facts_of(1))] == [True] * 3
    assert second.looked_at_data == 0


def test_an_attempt_that_teaches_something_is_followed_by_another_on_both_nodes(tmp_path: Path):
    crashed = failed_with(codes.CRASH)
    first, second = (a_world(tmp_path, rank, ends=(crashed, DONE)) for rank in (0, 1))
    first.meanwhile = waits_for(second)
    request = request_in(tmp_path)

    ended, exit_code = together(lambda: launch(request, first.session()), lambda: follow(request, second.session()))

    assert [plan.attempt for plan in first.carried_out] == [plan.attempt for plan in second.carried_out] == [1, 2]
    assert (ended.outcome, exit_code) == (DONE, 0)
    outcomes = [json.loads(ended.plan.paths.attempt(number).outcome.read_text()) for number in (1, 2)]
    assert [one["ending"] for one in outcomes] == ["failed", "finished"]


def test_a_node_with_fewer_gpus_is_named_and_nothing_is_begun(tmp_path: Path):
    request = request_in(tmp_path, device=DeviceRequest(count="all"))
    first, second = a_world(tmp_path, 0, facts=TWO_GPUS), a_world(tmp_path, 1, facts=HEALTHY)

    errors = together(
        lambda: noting(lambda: launch(request, first.session())),
        lambda: noting(lambda: follow(request, second.session())),
    )

    said = "n2: 1 GPU here, 2 GPUs on the first node, and all nodes need the same"
    assert [str(error).partition(" (")[0] for error in errors] == [said, said]
    assert [error.exit_code for error in errors] == [75, 75]
    assert [*first.carried_out, *second.carried_out] == []
    assert not (tmp_path / "model-a/run/attempts").exists()


@pytest.mark.parametrize(
    ("split", "words"),
    [
        (
            {"json": "/nowhere/train.json"},
            "there is no /nowhere/train.json here; data and weights have to be on a disk",
        ),
        ({"index": IndexFacts(content="", path="/nowhere/x.index", size=1, unusable="")}, "or set dataset.index=off"),
    ],
)
def test_a_node_that_does_not_see_the_data_is_named(tmp_path: Path, split: dict[str, Any], words: str):
    request = request_in(tmp_path)
    first, second = a_world(tmp_path, 0), a_world(tmp_path, 1)
    seen = CocoSplit(name="a_train", json=str(tmp_path), images=str(tmp_path))
    first.plan_data = lambda _: replace(NO_DATA, splits=(replace(seen, **split),))

    errors = together(
        lambda: noting(lambda: launch(request, first.session())),
        lambda: noting(lambda: follow(request, second.session())),
    )

    assert [(str(error)[:4], words in str(error), error.exit_code) for error in errors] == [("n2: ", True, 75)] * 2
    assert first.carried_out == []


def test_what_the_first_node_refuses_ends_the_others_with_its_exit_code(tmp_path: Path):
    request = request_in(tmp_path, resume="must")
    first, second = a_world(tmp_path, 0), a_world(tmp_path, 1)

    error, exit_code = together(
        lambda: noting(lambda: launch(request, first.session())), lambda: follow(request, second.session())
    )

    assert "resume=must" in str(error)
    assert exit_code == 2


def test_a_node_that_srun_stops_because_the_first_one_has_failed_ends_with_its_exit_code(tmp_path: Path):
    request = request_in(tmp_path, resume="must")
    first, second = a_world(tmp_path, 0), a_world(tmp_path, 1)
    assert second.board is not None

    def stopped(_: float) -> None:
        time.sleep(0.01)
        if second.board.heard_last() is not None:  # type: ignore[union-attr]
            raise SystemExit(75)

    second.board = Board(
        second.board.run / ".nodes", second.board.node, patience_s=60.0, now=time.monotonic, sleep=stopped
    )

    def follow_to_the_end() -> object:
        with pytest.raises(SystemExit) as stop:
            follow(request, second.session())
        return stop.value.code

    _, exit_code = together(lambda: noting(lambda: launch(request, first.session())), follow_to_the_end)

    assert exit_code == 2


def test_a_node_that_is_stopped_while_the_first_one_is_there_can_be_resumed(tmp_path: Path):
    request = request_in(tmp_path)
    node = a_world(tmp_path, 1).board
    assert node is not None

    def stopped(_: float) -> None:
        raise SystemExit(75)

    second = World(board=Board(node.run / ".nodes", node.node, patience_s=60.0, now=time.monotonic, sleep=stopped))

    with pytest.raises(SystemExit) as stop:
        follow(request, second.session())

    assert stop.value.code == 75


def test_what_keeps_the_first_node_from_beginning_is_the_exit_code_of_the_others_too(tmp_path: Path):
    request = request_in(tmp_path)
    first, second = a_world(tmp_path, 0), a_world(tmp_path, 1)
    plans = []

    def lead() -> None:
        assert first.board is not None
        other = a_world(tmp_path / "plan", 0)
        other.board = None
        other.meeting = None
        plans.append(launch(request_in(tmp_path / "plan"), other.session()).plan)
        first.board.open()
        first.board.publish(plans[0])
        first.board.leave(2, "the disk is full")

    _, error = together(lead, lambda: noting(lambda: follow(request, second.session())))

    assert "the first node, n1, has not begun: the disk is full" in str(error)
    assert error.exit_code == 2


def test_a_finished_run_is_finished_on_all_nodes(tmp_path: Path):
    request = request_in(tmp_path)
    worlds = [[a_world(tmp_path, rank) for rank in (0, 1)] for _ in range(2)]

    for first, second in worlds:
        first.meanwhile = waits_for(second)
        _, exit_code = together(
            lambda first=first: launch(request, first.session()),
            lambda second=second: follow(request, second.session()),
        )
        assert exit_code == 0

    assert [len(first.carried_out) for first, _ in worlds] == [1, 0]


def test_words_of_a_start_that_was_killed_are_gone_after_the_next_one(tmp_path: Path):
    left = a_board(tmp_path / "model-a/run", 0, start="17-0-0")
    left.open()
    first, second = (World(board=a_board(tmp_path / "model-a/run", rank, start="17-0-1")) for rank in (0, 1))
    first.meeting = MEETING
    request = request_in(tmp_path)

    first.meanwhile = waits_for(second)
    together(lambda: launch(request, first.session()), lambda: follow(request, second.session()))

    assert not (tmp_path / "model-a/run/.nodes").exists()


def test_a_launch_that_finds_another_one_at_work_leaves_its_words_alone(tmp_path: Path):
    at_work = a_board(tmp_path / "model-a/run", 0, start="17-0-0")
    at_work.open()
    first, second = (World(board=a_board(tmp_path / "model-a/run", rank, start="18-0-0")) for rank in (0, 1))
    request = request_in(tmp_path)

    with lock_folder(tmp_path / "model-a/run"):
        error, exit_code = together(
            lambda: noting(lambda: launch(request, first.session())), lambda: follow(request, second.session())
        )

    assert "is being trained right now" in str(error)
    assert exit_code == 5
    assert [folder.name for folder in (tmp_path / "model-a/run/.nodes").iterdir()] == ["17-0-0"]
    assert at_work.word_of(0) is not None


@pytest.mark.parametrize("resumed_on", [1, 2])
def test_another_number_of_nodes_is_noticed(tmp_path: Path, resumed_on: int):
    request = request_in(tmp_path)
    first, second = (a_world(tmp_path, rank, ends=(failed_with(codes.DIVERGED),)) for rank in (0, 1))
    first.meanwhile = waits_for(second)
    together(lambda: launch(request, first.session()), lambda: follow(request, second.session()))

    again = World() if resumed_on == 1 else a_world(tmp_path, 0)
    if resumed_on == 1:
        ended = launch(request, again.session())
    else:
        other = a_world(tmp_path, 1)
        again.meanwhile = lambda _: waits_for(other)(first.carried_out[0])
        ended, _ = together(lambda: launch(request, again.session()), lambda: follow(request, other.session()))

    task = ended.plan.task
    assert (ended.plan.attempt, task.begun_with) == (2, 2)  # type: ignore[union-attr]
