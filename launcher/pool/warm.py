"""The controller's end of a warm server: starts it, orders jobs, hears of their ends."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

from launcher.forking import ForkedProcess, fork, why_not_fork
from launcher.pool.channel import receive, send
from launcher.pool.context import Context, pack_context
from launcher.pool.job import Handlers
from launcher.pool.server import serve_forked
from launcher.pool.settings import StartMethod
from launcher.process_limits import naming_limits
from launcher.safe_start import python_command

PATIENCE_S = 2.0
"""For a server that nobody needs any more to end."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """How processes come to be here."""

    forked: bool
    """The server is forked from the controller, and has all that it has."""
    forks: bool
    """The server forks its jobs; otherwise there is one for each job."""


def choose_way(asked: StartMethod) -> Way:
    """`auto` forks where that is safe. A fresh process is a safe one to fork from, except where nothing is."""
    if asked is StartMethod.fork or (asked is StartMethod.auto and not why_not_fork()):
        return Way(forked=True, forks=True)
    return Way(forked=False, forks=sys.platform == "linux")


class WarmServer:
    """One server; its end is not the end of its jobs.

    Raises:
        ProcessLimitError: the system lets no further process start.
        RequestError: it cannot be forked, and the application cannot be handed on to another process.
    """

    def __init__(
        self,
        context: Context,
        way: Way,
        *,
        environ: Mapping[str, str],
        preload: Sequence[str],
        handlers: Handlers,
        ours: Sequence[int],
    ) -> None:
        """`handlers` of signals are the application's, `ours` open files that a forked process must not have."""
        self.way = way
        self.is_used = False
        """A job was ordered."""
        self._channel, theirs = socket.socketpair()
        with theirs, naming_limits():
            if way.forked:
                close = [self._channel.fileno(), *ours]
                serve = partial(serve_forked, environ=environ, preload=preload, handlers=handlers, close=close)
                self._process = _fork(partial(serve, context, theirs))
            else:
                self._process = self._spawn(context, theirs, environ, preload)
        self._finalizer = weakref.finalize(self, _end, self._channel, self._process)

    def _spawn(
        self, context: Context, theirs: socket.socket, environ: Mapping[str, str], preload: Sequence[str]
    ) -> ForkedProcess:
        packed = pack_context(context)
        with tempfile.TemporaryFile() as file:
            file.write(packed)
            file.seek(0)
            process = subprocess.Popen(
                [*python_command("launcher.pool.server"), str(theirs.fileno())],
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=(theirs.fileno(),),
            )
            send(self._channel, {"preload": list(preload), "forks": self.way.forks}, [file.fileno()])
        process.returncode = 0  # it is waited for by its number, like one that was forked
        return ForkedProcess(process.pid)

    def fileno(self) -> int:
        """To wait for its messages; -1 once it has gone."""
        return self._channel.fileno()

    def order(self, message: Mapping[str, Any], files: Sequence[int]) -> bool:
        """Have a job started; False where the server has gone."""
        self.is_used = True
        return send(self._channel, dict(message), files)

    def pass_on(self, job: int, number: int) -> bool:
        """Have a signal sent to a job; False where the server has gone."""
        if not self.way.forks:  # it is the job
            self._process.send_signal(number)
            return True
        return send(self._channel, {"job": job, "signal": number})

    @property
    def status(self) -> int | None:
        """How it ended, -n for signal n; None while nobody knows."""
        return self._process.returncode

    def messages(self) -> list[dict[str, Any]] | None:
        """What it has to say now; None once it has gone."""
        said: list[dict[str, Any]] = []
        while self.fileno() != -1 and select.select([self._channel], [], [], 0)[0]:
            received = receive(self._channel)
            if received is None:
                self.close()
                return said or None
            said.append(received[0])
        return None if self.fileno() == -1 else said

    def close(self) -> None:
        """It ends when its last job has."""
        if not self.way.forks and self.is_used:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)  # what it started and left behind
        self._finalizer()


def _fork(serve: Callable[[], NoReturn]) -> ForkedProcess:
    sys.stdout.flush()
    sys.stderr.flush()
    process = fork()
    if process == 0:
        serve()
    return ForkedProcess(process)


def _end(channel: socket.socket, process: ForkedProcess) -> None:
    channel.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(PATIENCE_S)
