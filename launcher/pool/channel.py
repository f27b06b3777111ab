"""Messages, with open files, between the controller and a warm server."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Sequence
from typing import Any

LENGTH = struct.Struct("!I")
MOST_DESCRIPTORS = 64


def send(channel: socket.socket, message: Any, descriptors: Sequence[int] = ()) -> bool:
    """Send what JSON can say; False where nobody listens any more."""
    body = json.dumps(message).encode()
    try:
        # The files travel with the first byte; what follows may be longer than one call takes.
        head = LENGTH.pack(len(body))
        sent = socket.send_fds(channel, [head], list(descriptors))
        channel.sendall(head[sent:] + body)
    except (BrokenPipeError, ConnectionError):
        return False
    return True


def receive(channel: socket.socket) -> tuple[Any, list[int]] | None:
    """The next message and its files, which are not inherited by programs; None when there will be none."""
    try:
        head, descriptors, _, _ = socket.recv_fds(channel, LENGTH.size, MOST_DESCRIPTORS)
        head += _exactly(channel, LENGTH.size - len(head)) if head else b""
        if len(head) < LENGTH.size:
            return None
        body = _exactly(channel, LENGTH.unpack(head)[0])
    except ConnectionError:
        return None
    return json.loads(body), descriptors


def _exactly(channel: socket.socket, size: int) -> bytes:
    parts = b""
    while len(parts) < size:
        more = channel.recv(size - len(parts))
        if not more:
            raise ConnectionResetError
        parts += more
    return parts
