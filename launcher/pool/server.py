"""A warm server: a process that has imported what all jobs need, uses nothing of it, and forks once per job.

It has one thread and never touches CUDA. It lives until the controller has gone and its last job has ended; jobs do not
depend on it.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import selectors
import signal
import socket
import sys
import traceback
import warnings
from collections.abc import Iterable, Mapping
from types import FrameType
from typing import NoReturn

from launcher.forking import fork, importing
from launcher.pool.channel import receive, send
from launcher.pool.context import Context, unpack_context
from launcher.pool.job import Handlers, JobOrder, be_job

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class Server:
    """The server's end."""

    def __init__(self, context: Context, channel: socket.socket, *, forks: bool, handlers: Handlers) -> None:
        """One that does not fork becomes its first job. `handlers` are the application's, which jobs are to have."""
        self._context = context
        self._channel = channel
        self._forks = forks
        self._jobs: dict[int, int] = {}
        """Process to number."""
        self._handlers: Handlers = {**handlers, signal.SIGCHLD: signal.getsignal(signal.SIGCHLD)}
        # Blocked from here on: Ctrl-C in a terminal is for the controller, which hands it on, and a job that was forked
        # a moment ago takes what was sent to it once its handlers are back.
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        self._woken, self._wakes = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(self._wakes, False)

    def run(self, preload: Iterable[str]) -> NoReturn:
        status = 1
        try:
            self._listen_for_ends()
            with importing():
                import_all(preload)
            # What was there before, too: a collection in a job would write to, and so copy, all that is shared.
            gc.freeze()
            self._serve()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)

    def _listen_for_ends(self) -> None:
        signal.signal(signal.SIGCHLD, _nothing)
        signal.set_wakeup_fd(self._wakes, warn_on_full_buffer=False)

    def _serve(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._woken, selectors.EVENT_READ)
            selector.register(self._channel, selectors.EVENT_READ)
            listening = True
            while listening or self._jobs:
                ready = [key.fileobj for key, _ in selector.select()]
                self._report_ends()
                if self._channel in ready and not self._take_message():
                    listening = False
                    selector.unregister(self._channel)

    def _take_message(self) -> bool:
        received = receive(self._channel)
        if received is None:
            return False
        message, descriptors = received
        if "signal" in message:
            self._pass_on(message["job"], message["signal"])
            return True
        result, *locks = descriptors
        self._start(JobOrder(**message, result=result, locks=tuple(locks)))
        for descriptor in descriptors:
            os.close(descriptor)
        return True

    def _start(self, order: JobOrder) -> None:
        if not self._forks:
            send(self._channel, {"started": order.number, "process": os.getpid()})
            self._become(order)
        sys.stdout.flush()
        sys.stderr.flush()
        process = fork()
        if process == 0:
            self._become(order)
        self._jobs[process] = order.number
        send(self._channel, {"started": order.number, "process": process})

    def _become(self, order: JobOrder) -> NoReturn:
        signal.set_wakeup_fd(-1)
        if self._forks:
            self._channel.close()
        else:  # the controller hears of the end by its being closed
            self._channel.set_inheritable(False)
        os.close(self._woken)
        os.close(self._wakes)
        be_job(self._context, order, self._handlers, self._mask)

    def _pass_on(self, job: int, number: int) -> None:
        for process, at in self._jobs.items():
            if at == job:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, number)

    def _report_ends(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._woken, 1 << 16)
        for process, number in [*self._jobs.items()]:
            # Not reaped yet, so that its number still is that of its group.
            if os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                continue
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process, signal.SIGKILL)  # what it started and left behind
            _, status = os.waitpid(process, 0)
            del self._jobs[process]
            send(self._channel, {"ended": number, "status": os.waitstatus_to_exitcode(status)})


def _nothing(number: int, frame: FrameType | None) -> None:
    """Having a handler is what makes the signal wake us."""


def current_handlers() -> Handlers:
    """What this process does when it is asked to stop."""
    return {number: signal.getsignal(number) for number in STOPS}


def import_all(modules: Iterable[str]) -> None:
    """What cannot be imported is left to the jobs that need it, where the failure is shown."""
    for module in modules:
        with warnings.catch_warnings(), contextlib.suppress(Exception):
            warnings.simplefilter("ignore")
            importlib.import_module(module)


def serve_forked(
    context: Context,
    channel: socket.socket,
    *,
    environ: Mapping[str, str],
    preload: Iterable[str],
    handlers: Handlers,
    close: Iterable[int],
) -> NoReturn:
    """In a process that was forked from the controller; `close` are the controller's own open files."""
    try:
        os.setsid()
        for descriptor in close:
            with contextlib.suppress(OSError):
                os.close(descriptor)
        _read_nothing()
        os.environ.clear()
        os.environ.update(environ)
        server = Server(context, channel, forks=True, handlers=handlers)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    server.run(preload)


def _read_nothing() -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)


def main(arguments: list[str]) -> NoReturn:
    """In a process of its own: `python -m launcher.pool.server CHANNEL`."""
    channel = socket.socket(fileno=int(arguments[0]))
    received = receive(channel)
    if received is None:
        sys.exit(0)
    message, (file,) = received
    with open(file, "rb") as whole:
        context = unpack_context(whole.read())
    Server(context, channel, forks=message["forks"], handlers=current_handlers()).run(message["preload"])


if __name__ == "__main__":
    main(sys.argv[1:])
