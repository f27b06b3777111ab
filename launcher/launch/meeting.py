"""Where the processes of several nodes meet: a port of the first node."""

from __future__ import annotations

import socket
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from launcher.device.job import NodeFacts
from launcher.run.plan import ONE_NODE, NodePlan

FIRST_PORT = 20000
NUM_PORTS = 12000
"""Below those that systems give to connections of their own."""
TRIES = 50
LOOPBACK = "127."


@dataclass(frozen=True, kw_only=True)
class MeetingFacts:
    """What the first node knows about where its processes and those of the others can meet."""

    num_nodes: int
    start: str
    """Of the program on all nodes."""
    address: str
    """`HOST:PORT`."""
    notices: tuple[str, ...]


def look_at_meeting(node: NodeFacts, interface: str) -> MeetingFacts | None:
    """On the first node: a port of its own that nobody has now; None for one node."""
    if node.count == 1:
        return None
    first = zlib.crc32(node.start.encode()) % NUM_PORTS
    ports = (FIRST_PORT + (first + more) % NUM_PORTS for more in range(TRIES))
    port = next((port for port in ports if _is_free(port)), FIRST_PORT + first)
    return MeetingFacts(
        num_nodes=node.count,
        start=node.start,
        address=f"{node.head}:{port}",
        notices=() if interface else tuple(_notices(node)),
    )


def plan_nodes(meeting: MeetingFacts | None, attempt: int) -> NodePlan:
    """The first node's place in one attempt."""
    if meeting is None:
        return ONE_NODE
    return NodePlan(
        count=meeting.num_nodes, rank=0, address=meeting.address, meeting=f"{meeting.start}/attempt{attempt}"
    )


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def _notices(node: NodeFacts) -> Iterator[str]:
    """A name that every host takes for itself, or that is not known."""
    here = node.name or socket.gethostname()
    try:
        address = socket.gethostbyname(node.head)
    except OSError as error:
        yield f"the name of the first node, {node.head}, is not known on {here} ({error.strerror})"
        return
    if address.startswith(LOOPBACK):
        yield (
            f"the first node, {node.head}, has the address {address} on {here}, which no other host reaches. If the "
            "processes do not find each other, name the network interface, as `ip -br address` lists it: "
            "device.interface=eth0"
        )
