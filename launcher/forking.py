"""Processes that are forked to continue with what is in memory, and whether that is safe here."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import select
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

OWN_TASKS = Path("/proc/self/task")
OWN_MAPS = Path("/proc/self/maps")
# What may still change once torch is imported: they are read when a GPU is first asked for, or by processes that are
# started later.
READ_LATER = frozenset({
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "PYTORCH_NVML_BASED_CUDA_CHECK",
    "OMP_NUM_THREADS",
    "GLOO_SOCKET_IFNAME",
    "NCCL_SOCKET_IFNAME",
    "LAUNCHER_CLAIMED_GPUS",
    "LAUNCHER_CLAIMED_LOCKS",
    "HYDRA_FULL_ERROR",
})  # fmt: skip


class Warm:
    """Whether this process, or the one that it was forked from, has imported what its children need."""

    def __init__(self) -> None:
        self.environ: Mapping[str, str] | None = None
        """The variables that were read then; None where nothing was imported."""
        self.module = ""
        """Whose `work_forked` is a forked worker."""

    def note(self, module: str) -> None:
        self.environ, self.module = dict(os.environ), module

    def can_fork(self, environ: Mapping[str, str], read_later: frozenset[str] = READ_LATER) -> bool:
        """A process with these variables, of which some are read later."""
        return self.environ is not None and differing(self.environ, environ) <= read_later and is_single_threaded()


WARM = Warm()


def differing(before: Mapping[str, str], after: Mapping[str, str]) -> set[str]:
    """Names of variables that are not the same in both."""
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def why_not_fork() -> str:
    """Why not, a clause; empty where a forked process can do all that this one could."""
    if sys.platform != "linux":
        return f"system libraries of {sys.platform} do not survive a fork"
    if (others := threading.active_count() - 1) > 0:
        return f"{others} thread{'' if others == 1 else 's'} of Python would be missing in it"
    if _cuda_is_used():
        return "CUDA is in use, and cannot be used in a forked process"
    if _num_threads() > 1 + _threads_of_openblas():
        return "threads of a library (OpenMP, for example) would be missing in it"
    return ""


def is_single_threaded() -> bool:
    """No thread but this one, of Python or of a library."""
    return sys.platform == "linux" and _num_threads() == 1


def _cuda_is_used() -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and hasattr(torch, "cuda") and bool(torch.cuda.is_initialized())


def _num_threads() -> int:
    try:
        return len(list(OWN_TASKS.iterdir()))
    except OSError:
        return threading.active_count()


def _threads_of_openblas() -> int:
    """Those of numpy and its like, which wait from import on, and which OpenBLAS starts again after a fork."""
    try:
        lines = OWN_MAPS.read_text(errors="replace").splitlines()
    except OSError:
        return 0
    libraries = {line.split(maxsplit=5)[5] for line in lines if "openblas" in line.rpartition("/")[2]}
    asked = os.environ.get("OPENBLAS_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS") or ""
    each = int(asked) if asked.isdigit() and int(asked) > 0 else num_cpus()
    return len(libraries) * max(0, each - 1)


def num_cpus() -> int:
    """Those that this process may run on; 1 on systems that do not say."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Import in the block what this process keeps to its end; it takes a fifth less time, and memory that forks share.

    Modules are made of hundreds of thousands of objects and leave hardly any garbage, for which the collector would
    look through all of them time and again, now and later. Where it looks, memory is no longer shared.
    """
    collects, known = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
        # Where all was there already, garbage of an earlier training would be kept with it.
        if len(sys.modules) > known:
            gc.freeze()


def fork() -> int:
    """`os.fork`; Python warns of threads that it counts in the process, which whoever calls this has looked at."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def reset_handlers() -> None:
    """Of signals, to what a process has that was started."""
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def close_all_but(*kept: int) -> None:
    """Files that are open, except standard input, output and errors: a process that is started has no others."""
    numbers = [2, *sorted(kept), os.sysconf("SC_OPEN_MAX")]
    for before, after in pairwise(numbers):
        os.closerange(before + 1, after)


class ForkedProcess:
    """What there is of `subprocess.Popen` for a process that was forked from this one."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._end = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else -1

    def poll(self) -> int | None:
        """Its exit status, -n for signal n; None while it runs."""
        if self.returncode is None:
            try:
                process, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # somebody else has asked, so that nobody knows any more
                process, status = self.pid, 0
            if process:
                self.returncode = os.waitstatus_to_exitcode(status)
                self._forget()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired, as Popen does."""
        until = None if timeout is None else time.monotonic() + timeout
        while (status := self.poll()) is None:
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
            self._pause(left)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def _pause(self, left: float | None) -> None:
        """Until it has ended, or for a while where the system cannot tell."""
        if self._end != -1:
            select.select([self._end], [], [], left)
        else:
            time.sleep(min(0.05, left if left is not None else 0.05))

    def _forget(self) -> None:
        if self._end != -1:
            os.close(self._end)
            self._end = -1


def rename_process(words: Sequence[str]) -> None:
    """Have lists of processes show these words as this process's command line, as far as there is room for them.

    A forked process has the command line of the one it comes from, which says nothing about it.
    """
    with contextlib.suppress(OSError, IndexError, ValueError):
        fields = Path("/proc/self/stat").read_text(errors="replace").rpartition(")")[2].split()
        start, end = int(fields[45]), int(fields[46])  # arg_start and arg_end of proc(5)
        if 0 < start < end:
            line = "\0".join(words).encode(errors="surrogateescape")[: end - start - 1]
            ctypes.memmove(start, line.ljust(end - start, b"\0"), end - start)
