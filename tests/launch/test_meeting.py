from __future__ import annotations

import socket

import pytest

from launcher.device.job import ALONE, NodeFacts
from launcher.launch.meeting import look_at_meeting, plan_nodes
from launcher.run.plan import ONE_NODE


def a_node(head: str = "localhost", start: str = "17-0-0") -> NodeFacts:
    return NodeFacts(count=2, rank=0, name="n1", head=head, start=start)


def port_of(node: NodeFacts) -> int:
    meeting = look_at_meeting(node, "lo")
    assert meeting is not None
    return int(meeting.address.rpartition(":")[2])


def test_one_node_meets_nobody():
    assert look_at_meeting(ALONE, "") is None
    assert plan_nodes(None, 3) is ONE_NODE


def test_the_port_follows_from_the_job_and_is_one_that_nobody_has():
    first = port_of(a_node())
    with socket.socket() as taken:
        taken.bind(("", first))
        taken.listen()
        second = port_of(a_node())

    assert 20000 <= first < 32000
    assert (second, port_of(a_node())) == (first + 1, first)
    assert port_of(a_node(start="18-0-0")) != first


def test_processes_of_another_attempt_say_something_else_when_they_meet():
    meeting = look_at_meeting(a_node(), "lo")

    assert plan_nodes(meeting, 1).meeting != plan_nodes(meeting, 2).meeting


@pytest.mark.parametrize(
    ("head", "interface", "words"),
    [
        ("localhost", "", "the first node, localhost, has the address 127.0.0.1 on n1, which no other host reaches"),
        ("no-such-host.invalid", "", "the name of the first node, no-such-host.invalid, is not known on n1"),
        ("localhost", "ib0", ""),
        ("10.1.2.3", "", ""),
    ],
)
def test_a_first_node_that_others_do_not_find_is_noticed(head: str, interface: str, words: str):
    meeting = look_at_meeting(a_node(head), interface)

    assert meeting is not None
    assert words in "".join(meeting.notices)
    assert bool(meeting.notices) == bool(words)
