"""How a worker process is started, and gets its plan.

It imports what every training needs before it asks for the plan, so the launcher may start it early: importing torch
and detectron2 takes seconds, and so does looking at data and devices; one hides behind the other.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from launcher.process_limits import naming_limits
from launcher.safe_start import drop_empty_parts, python_command

TRAIN = tuple(python_command("launcher.train"))
MOST_DESCRIPTORS = 64
# What may still change once torch is imported: they are read when a GPU is first asked for, or by processes that are
# started later.
READ_LATER = frozenset({
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "PYTORCH_NVML_BASED_CUDA_CHECK",
    "OMP_NUM_THREADS",
    "GLOO_SOCKET_IFNAME",
    "NCCL_SOCKET_IFNAME",
})  # fmt: skip


class Worker:
    """The launcher's end of it.

    Raises:
        ProcessLimitError: the system lets no further process start.
    """

    def __init__(self, environ: Mapping[str, str], folder: Path, command: Sequence[str] = TRAIN) -> None:
        self._environ = dict(environ)
        with naming_limits():
            self._start(command, folder)

    def _start(self, command: Sequence[str], folder: Path) -> None:
        self._channel, theirs = socket.socketpair()
        with theirs:
            # A session of its own keeps the terminal's Ctrl-C away from ranks and loaders; the launcher hands it on.
            self.process = subprocess.Popen(
                # The folder is for whoever looks at the list of processes.
                [*command, str(theirs.fileno()), str(folder)],
                env=self._environ,
                start_new_session=True,
                pass_fds=(theirs.fileno(),),
            )

    def serves(self, environment: Mapping[str, str]) -> bool:
        """Whether it can still get this environment."""
        if self._channel.fileno() == -1:  # it has got a plan
            return False
        names = self._environ.keys() | environment.keys()
        changed = {name for name in names if self._environ.get(name) != environment.get(name)}
        return changed <= READ_LATER and self.process.poll() is None

    def begin(self, plan: Path, environment: Mapping[str, str], inherited: Sequence[int]) -> None:
        """Hand over its plan, its environment and the files to keep open."""
        message = json.dumps({"plan": str(plan), "environment": dict(environment), "launcher": os.getpid()}).encode()
        with self._channel, contextlib.suppress(BrokenPipeError):  # it has died: whoever waits for it will see
            sent = socket.send_fds(self._channel, [message], list(inherited))
            self._channel.sendall(message[sent:])

    def dismiss(self) -> None:
        """End it, unless it has begun."""
        if self._channel.fileno() == -1:
            return
        self._channel.close()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def early_worker(environ: Mapping[str, str], folder: Path) -> Iterator[Worker]:
    """Start one now for a run in that folder; it ends with the `with` block unless it has got a plan by then."""
    worker = Worker(environ, folder)
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
    return Path(job["plan"])
