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
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

from launcher.forking import fork, why_not_fork
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
                self._child = _fork(partial(serve, context, theirs))
            else:
                self._child = self._spawn(context, theirs, environ, preload)
        self._finalizer = weakref.finalize(self, _end, self._channel, self._child)

    def _spawn(
        self, context: Context, theirs: socket.socket, environ: Mapping[str, str], preload: Sequence[str]
    ) -> _Child:
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
        process.returncode = 0  # it is waited for below, by its number
        return _Child(process.pid)

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
            self._child.send(number)
            return True
        return send(self._channel, {"job": job, "signal": number})

    @property
    def status(self) -> int | None:
        """How it ended, -n for signal n; None while nobody knows."""
        return self._child.status

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
            self._child.kill_group()
        self._finalizer()


def _fork(serve: Callable[[], NoReturn]) -> _Child:
    sys.stdout.flush()
    sys.stderr.flush()
    process = fork()
    if process == 0:
        serve()
    return _Child(process)


class _Child:
    """The server as a process of ours, which has to be asked how it ended."""

    def __init__(self, process: int) -> None:
        self._process = process
        self.status: int | None = None

    def send(self, number: int) -> None:
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process, number)

    def reap(self, patience_s: float) -> None:
        until = time.monotonic() + patience_s
        with contextlib.suppress(ChildProcessError):
            while self.status is None and time.monotonic() < until:
                process, status = os.waitpid(self._process, os.WNOHANG)
                if process:
                    self.status = os.waitstatus_to_exitcode(status)
                else:
                    time.sleep(0.005)

    def kill_group(self) -> None:
        """What it started and left behind."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process, signal.SIGKILL)


def _end(channel: socket.socket, child: _Child) -> None:
    channel.close()
    child.reap(PATIENCE_S)
