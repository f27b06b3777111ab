"""Jobs on this machine's devices, taken one at a time."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Any

from launcher.device.diagnosis import UsableGpu, gpu_label
from launcher.errors import DeviceUnavailableError
from launcher.launch.claims import GPUS, Claim, GpusTakenError, claim, look
from launcher.pool.context import Context
from launcher.pool.ends import end_of
from launcher.pool.job import Handlers
from launcher.pool.ledger import Ended, Job, Place
from launcher.pool.server import current_handlers
from launcher.pool.settings import Asked
from launcher.pool.slots import Slots, choose_gpus, describe_place
from launcher.pool.warm import WarmServer, choose_way
from launcher.run.handover import with_short_waits
from launcher.run.holder import is_alive
from launcher.signals import handling

LOOK_EVERY_S = 0.2
"""At jobs whose server has gone."""
OF_ONE_JOB = frozenset({"CUDA_VISIBLE_DEVICES", GPUS})
"""Variables that may differ between jobs of one warm server: nothing that is imported reads them."""


@dataclass(kw_only=True)
class _Running:
    """A job that runs. Changes, as more becomes known of it."""

    job: Job
    place: Place
    server: WarmServer
    result: IO[bytes]
    began: float
    process: int | None = None
    status: int | None = None
    asked_to_stop: bool = False


class Pool:
    """Use it in a `with` block; `PoolLauncher.open()` makes one after `setup`. The block can be entered again.

    SIGINT and SIGTERM go to all jobs meanwhile, each as the job understands it; `stopping` says so. At the end of the
    block, when the jobs have ended, the signal is sent once more to whoever handled it before.
    """

    def __init__(
        self, context: Context, asked: Asked, slots: Slots, *, environ: Mapping[str, str], claims: Path, logs: Path
    ) -> None:
        """`claims` is the folder of the claims on this host, `logs` that of what jobs print."""
        self._context = context
        self._asked = asked
        self._slots = slots
        self._environ = dict(environ)
        self._claims = claims
        self._logs = logs
        self._running: dict[int, _Running] = {}
        self._servers: dict[frozenset[tuple[str, str]], WarmServer] = {}
        self._signal: int | None = None
        self._handlers: Handlers = current_handlers()
        self._block = contextlib.ExitStack()

    @property
    def stopping(self) -> bool:
        """A signal asked for the end: start nothing more, and wait for what runs."""
        return self._signal is not None

    @property
    def on_cpu(self) -> bool:
        return not self._slots.gpus

    @property
    def running(self) -> tuple[int, ...]:
        """Numbers of the jobs that run."""
        return tuple(self._running)

    @property
    def free(self) -> int:
        """How many jobs could start now; 0 when stopping."""
        if self.stopping:
            return 0
        left = self._slots.size - len(self._running)
        if self.on_cpu or left <= 0:
            return max(0, left)
        idle = [gpu.uuid for gpu in self._slots.gpus if gpu.uuid not in self._busy()]
        return min(left, (len(idle) - len(look(idle, self._claims))) // self._slots.gpus_per_job)

    def refuse_taken(self) -> None:
        """Raises DeviceUnavailableError where others have so many GPUs that no job could start."""
        taken = look([gpu.uuid for gpu in self._slots.gpus], self._claims)
        if self.on_cpu or self.free:
            return
        names = {gpu.uuid: gpu_label(gpu.index, gpu.uuid) for gpu in self._slots.gpus}
        why = "; ".join(f"{names[uuid]} {clause}" for uuid, clause in taken.items())
        prefix = self._asked.prefix
        raise DeviceUnavailableError(
            f"A job needs {self._slots.gpus_per_job} GPU, and too few are free: {why}. "
            f"Wait for the other, or choose: {prefix}devices=cpu."
        )

    def start(self, job: Job) -> Place | None:
        """Start it on devices that are free; None where there are none, as when somebody just took the last.

        Raises:
            ProcessLimitError: the system lets no further process start.
            RequestError: the application cannot be handed on to another process.
        """
        if self.stopping or len(self._running) >= self._slots.size:
            return None
        if self.on_cpu:
            return self._order(job, (), Claim())
        return self._start_on_gpus(job)

    def _start_on_gpus(self, job: Job) -> Place | None:
        taken: dict[str, str] = look([gpu.uuid for gpu in self._slots.gpus], self._claims)
        while (gpus := choose_gpus(self._slots, busy=self._busy(), taken=taken)) is not None:
            try:
                with claim([gpu.uuid for gpu in gpus], self._claims) as claimed:
                    return self._order(job, gpus, claimed)
            except GpusTakenError as error:
                taken |= error.taken
        return None

    def _order(self, job: Job, gpus: tuple[UsableGpu, ...], claimed: Claim) -> Place:
        """Have the warm server start it; its files keep the claim from here on."""
        uuids = tuple(gpu.uuid for gpu in gpus)
        log = job.run.log or self._logs / f"job-{job.number}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        place = Place(name=describe_place(gpus, self._slots.threads), gpus=uuids, log=log)
        result = tempfile.TemporaryFile()  # noqa: SIM115 (until the job has ended)
        message = {
            "number": job.number,
            "overrides": [*job.overrides, *job.run.overrides],
            "environment": {"CUDA_VISIBLE_DEVICES": ",".join(uuids), GPUS: ",".join(uuids)},
            "log": str(log.absolute()),
        }
        files = [result.fileno(), *claimed.descriptors]
        server = self._server(job.run.environment, files)
        if not server.order(message, files):  # it was killed: another one
            server.close()
            server = self._server(job.run.environment, files)
            server.order(message, files)
        self._running[job.number] = _Running(job=job, place=place, server=server, result=result, began=time.monotonic())
        return place

    def _server(self, environment: Mapping[str, str], files: Sequence[int]) -> WarmServer:
        """The server of jobs with these variables: what was imported has read them.

        `files` are one job's: a server that is forked now must not have them, or it would keep the claim of its first
        job for as long as it lives.
        """
        own = {name: value for name, value in environment.items() if name not in OF_ONE_JOB}
        wanted = with_short_waits({"OMP_NUM_THREADS": str(self._slots.threads), **self._environ, **own})
        key = frozenset(wanted.items())
        there = self._servers.get(key)
        if there is not None and there.fileno() != -1 and not (there.is_used and not there.way.forks):
            return there
        channels = [one.fileno() for one in self._servers.values()]
        ours = [*channels, *(one.result.fileno() for one in self._jobs()), *files]
        self._servers[key] = WarmServer(
            self._context,
            choose_way(self._asked.start),
            environ=wanted,
            preload=self._asked.preload,
            handlers=self._handlers,
            ours=[number for number in ours if number != -1],
        )
        return self._servers[key]

    def wait(self, timeout_s: float) -> list[Ended]:
        """The jobs that ended since; returns when the first one does, after the timeout, or when a signal came."""
        until, before = time.monotonic() + timeout_s, self._signal
        while True:
            ended = self._look()
            left = until - time.monotonic()
            if ended or left <= 0 or self._signal != before:
                return ended
            channels = {one.server.fileno() for one in self._jobs()} - {-1}
            orphaned = any(one.server.fileno() == -1 for one in self._jobs())
            select.select(channels, [], [], min(left, LOOK_EVERY_S) if orphaned or not channels else left)

    def _look(self) -> list[Ended]:
        """Hear what the servers have to say, and look at the jobs of those that have gone."""
        for server in {id(one.server): one.server for one in self._jobs()}.values():
            for message in server.messages() or ():
                self._note(message)
        for one in self._jobs():
            if one.status is None and not one.server.way.forks:  # the server is the job
                one.status = one.server.status
            is_lost = one.status is None and one.server.fileno() == -1
            if is_lost and (one.process is None or not is_alive(one.process)):
                return [self._end(one)]
        return [self._end(one) for one in self._jobs() if one.status is not None]

    def _note(self, message: Mapping[str, Any]) -> None:
        if (number := message.get("started", message.get("ended"))) not in self._running:
            return
        one = self._running[number]
        one.process = message.get("process", one.process)
        one.status = message.get("status", one.status)

    def _end(self, one: _Running) -> Ended:
        del self._running[one.job.number]
        if not one.server.way.forks:
            one.server.close()
        with one.result as file:
            file.seek(0)
            data = file.read()
        return end_of(
            one.job,
            data,
            status=one.status,
            seconds=time.monotonic() - one.began,
            log=one.place.log,
            asked_to_stop=one.asked_to_stop,
        )

    def stop(self, number: int) -> None:
        """Send it SIGTERM; it ends in its own time, and `wait` reports it."""
        if (one := self._running.get(number)) is not None:
            self._send(one, signal.SIGTERM)

    def _send(self, one: _Running, number: int) -> None:
        one.asked_to_stop = True
        if one.server.fileno() != -1 and one.server.pass_on(one.job.number, number):
            return
        if one.process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(one.process, number)

    def __enter__(self) -> Pool:
        self._signal = None
        self._handlers = current_handlers()
        if threading.current_thread() is threading.main_thread():
            forwarded = [signal.SIGINT, signal.SIGTERM]
            # Others only where the application, which means to be stopped by them, has said so.
            forwarded += [n for n in (signal.SIGUSR1, signal.SIGUSR2) if callable(signal.getsignal(n))]
            self._block.enter_context(handling(dict.fromkeys(forwarded, self._forward)))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            for one in self._jobs():
                if not self.stopping:
                    self._send(one, signal.SIGTERM)
            while self._running:
                self.wait(LOOK_EVERY_S)
        finally:
            self._block.close()
        if self._signal is not None:
            os.kill(os.getpid(), self._signal)

    def _forward(self, number: int, frame: FrameType | None) -> None:
        self._signal = self._signal or number
        for one in self._jobs():
            self._send(one, number)

    def _jobs(self) -> list[_Running]:
        return list(self._running.values())

    def _busy(self) -> set[str]:
        return {uuid for one in self._jobs() for uuid in one.place.gpus}


def say(line: str) -> None:
    """To people, beside whatever the controller prints."""
    print(line, file=sys.stderr, flush=True)
