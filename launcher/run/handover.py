"""How a worker process is started, and gets its plan.

It imports what every training needs before it asks for the plan, so the launcher may start it early: importing torch
and detectron2 takes seconds, and so does looking at data and devices; one hides behind the other.

A process that has imported all that already, such as a job of a sweep, forks its workers instead. What they do follows
from the plan alone, as in a process that was started.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from launcher.ahead import Ahead
from launcher.forking import READ_LATER, WARM, ForkedProcess, differing, fork, rename_process
from launcher.process_limits import naming_limits
from launcher.safe_start import current_folder, drop_empty_parts, python_command
from launcher.signals import blocking

TRAIN = tuple(python_command("launcher.train"))
# A thread of torch that waits for the others first spins: for milliseconds by default, in which it keeps a core from
# whoever else wants it, from its own fellow threads above all. See docs/performance.md for what was measured.
SHORT_WAITS = {"GOMP_SPINCOUNT": "10000"}
HOW_TO_WAIT = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
"""Variables by which users say themselves how threads wait."""
WAITING = "(waits for its plan)"
LONGEST_FOLDER = 240
"""Of which as much is shown in lists of processes, where a worker was started before its folder was known."""
MOST_DESCRIPTORS = 64
# A forked worker that trains by itself, without ranks that are started later, has read this one too.
READ_BY_THE_FORKED = frozenset({"OMP_NUM_THREADS"})
HELD_BACK = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)


def with_short_waits(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` in which threads do not spin for long, unless it says how they wait.

    The OpenMP of torch reads it when it is loaded, so a worker that is started before its plan is there has it too.
    """
    return {**environ} if any(name in environ for name in HOW_TO_WAIT) else {**SHORT_WAITS, **environ}


class Worker:
    """The launcher's end of it. Lists of processes show the folder.

    Raises:
        ProcessLimitError: the system lets no further process start.
    """

    def __init__(
        self, environ: Mapping[str, str], folder: Path | None, command: Sequence[str] = TRAIN, *, may_fork: bool = True
    ) -> None:
        self.folder = folder
        self._environ = dict(environ)
        self._started_in = current_folder()
        self.is_forked = (
            folder is not None
            and may_fork
            and command == TRAIN
            and WARM.can_fork(environ, READ_LATER - READ_BY_THE_FORKED)
        )
        with naming_limits():
            if self.is_forked and folder is not None:
                self._fork(folder)
            else:
                self._start(command, str(folder or WAITING.ljust(LONGEST_FOLDER)))

    def _start(self, command: Sequence[str], shown: str) -> None:
        self._channel, theirs = socket.socketpair()
        with theirs:
            # A session of its own keeps the terminal's Ctrl-C away from ranks and loaders; the launcher hands it on.
            self.process: subprocess.Popen[bytes] | ForkedProcess = subprocess.Popen(
                [*command, str(theirs.fileno()), str(os.getpid()), shown],
                env=self._environ,
                start_new_session=True,
                pass_fds=(theirs.fileno(),),
            )

    def _fork(self, folder: Path) -> None:
        self._channel, theirs = socket.socketpair()
        # A signal that comes in between is neither ours nor lost: the worker takes it once it has handlers of its own.
        with theirs, blocking(HELD_BACK):
            process = fork()
            if process == 0:
                self._channel.close()
                _be_worker(theirs.fileno(), self._environ, folder)
            self.process = ForkedProcess(process)

    def serves(self, environment: Mapping[str, str], *, num_processes: int = 1) -> bool:
        """Whether it can still get this environment, and a plan for so many processes; in this very folder."""
        if self._channel.fileno() == -1:  # it has got a plan
            return False
        # What a rank of several reads, it reads when it is started; a forked worker cannot start any as it should.
        read_later = READ_LATER - READ_BY_THE_FORKED if self.is_forked else READ_LATER
        fits = differing(self._environ, environment) <= read_later and not (self.is_forked and num_processes > 1)
        return fits and self._started_in == current_folder() and self.process.poll() is None

    def begin(self, plan: Path, environment: Mapping[str, str], inherited: Sequence[int]) -> None:
        """Hand over its plan, its environment and the files to keep open."""
        job = {"plan": str(plan), "environment": dict(environment), "launcher": os.getpid(), "folder": str(self.folder)}
        message = json.dumps(job).encode()
        with self._channel, contextlib.suppress(BrokenPipeError):  # it has died: whoever waits for it will see
            sent = socket.send_fds(self._channel, [message], list(inherited))
            self._channel.sendall(message[sent:])

    def dismiss(self) -> None:
        """End it, unless it has begun."""
        if self._channel.fileno() == -1:
            return
        self._channel.close()
        # One that was forked a moment ago leads no group yet.
        for kill in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(self.process.pid, signal.SIGKILL)
        self.process.wait()


def _be_worker(channel: int, environ: Mapping[str, str], folder: Path) -> NoReturn:
    """In the forked process."""
    status = 1
    try:
        os.setsid()
        os.environ.clear()
        os.environ.update(environ)
        status = importlib.import_module(WARM.module).work_forked(channel, folder)
    finally:
        os._exit(status)


FIRST: Ahead[Worker] = Ahead(Worker.dismiss)
"""The worker that is started before a command line is composed, for whichever run comes of it."""


@contextlib.contextmanager
def early_worker(environ: Mapping[str, str], folder: Path) -> Iterator[Worker]:
    """Take the first one, or start one now; it ends with the `with` block unless it has got a plan by then."""
    worker = FIRST.take_if(lambda first: first.serves(environ)) or Worker(environ, folder)
    worker.folder = folder
    try:
        yield worker
    finally:
        worker.dismiss()


def wait_for_plan(descriptor: int) -> Path | None:
    """The worker's end: the plan to carry out, in the environment that came with it; None when there will be none."""
    with socket.socket(fileno=descriptor) as channel:
        message, _, _, _ = socket.recv_fds(channel, 1 << 16, MOST_DESCRIPTORS)
        while more := channel.recv(1 << 16):
            message += more
    if not message:
        return None
    job = json.loads(message)
    if os.getppid() != job["launcher"]:  # it died, perhaps before this process could ask to hear of it
        return None
    os.environ.clear()
    os.environ.update(job["environment"])
    drop_empty_parts(os.environ)
    if sys.orig_argv[-1].startswith(WAITING):
        rename_process([*sys.orig_argv[:-1], job["folder"]])
    return Path(job["plan"])
