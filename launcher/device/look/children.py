"""Runs a probe in a child process, never for longer than its deadline, and reads the journal it leaves."""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

from launcher.device.facts import ChildEnd
from launcher.device.look.child_journal import how_it_ended, kernel_state, read_journal
from launcher.errors import DeviceUnavailableError
from launcher.forking import WARM, ForkedProcess, close_all_but, fork, rename_process, reset_handlers
from launcher.process_limits import naming_limits

POLL_S = 0.005
KILL_PATIENCE_S = 1.0
MEMORY = "/dev/shm"
ROOM = 1 << 16  # bytes


@dataclass(frozen=True, kw_only=True)
class ChildAnswer:
    end: ChildEnd
    said: Mapping[str, Any]
    """Everything the child wrote before it ended, however it ended."""


def _make_folder() -> tempfile.TemporaryDirectory[str]:
    """In the first place that takes as much as a probe may have to say.

    Raises:
        DeviceUnavailableError: none does.
    """
    for place in (None, MEMORY):
        try:
            folder = tempfile.TemporaryDirectory(prefix="launcher-probe-", dir=place, ignore_cleanup_errors=True)
            Path(folder.name, "journal").write_bytes(bytes(ROOM))
            Path(folder.name, "journal").write_bytes(b"")
        except OSError:
            continue
        return folder
    raise DeviceUnavailableError(
        "The devices cannot be looked at: neither the folder for temporary files nor /dev/shm can be written, or they "
        "are full. Make room there, or set TMPDIR=FOLDER."
    )


def _kill_group(pid: int) -> None:
    os.killpg(pid, signal.SIGKILL)


class Child:
    """One running probe: a script, or a command.

    A probe may hang inside the kernel, where not even SIGKILL reaches it. So nothing here waits for a child
    without a limit: it talks through files, and one that does not die is left behind. As a context manager it
    is ended on the way out, whether or not it was asked for its answer.
    """

    def __init__(
        self,
        script: Path | tuple[str, ...],
        *,
        environ: Mapping[str, str],
        ask: Mapping[str, Any],
        deadline_s: float,
        may_fork: bool = False,
        kill: Callable[[int], None] = _kill_group,
    ) -> None:
        """With `may_fork`, a script is run in a fork of this process where that has imported what the script needs."""
        self.asked = (dict(environ), dict(ask))
        self._folder = _make_folder()
        self._journal = Path(self._folder.name) / "journal"
        self._stderr = Path(self._folder.name) / "stderr"
        self._kill = kill
        self._process: subprocess.Popen[bytes] | ForkedProcess
        self._ended = False
        self._started = time.monotonic()
        self.deadline_s = deadline_s
        self._deadline = self._started + deadline_s
        question = json.dumps({**ask, "folder": self._folder.name, "parent": os.getpid()})
        # With PYTHONSAFEPATH, the script would not find its neighbour.
        environ = {name: value for name, value in environ.items() if name != "PYTHONSAFEPATH"}
        arguments = (str(self._journal), question)
        with naming_limits(), open(self._stderr, "wb") as stderr:
            if may_fork and isinstance(script, Path) and WARM.can_fork(environ):
                self._process, self._stdin = _fork(script, arguments, environ, stderr)
            else:
                self._process, self._stdin = _start(script, arguments, environ, stderr)

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        self._end_it()
        self._folder.cleanup()

    def tell(self, more: Mapping[str, Any]) -> None:
        """The rest of the question, for a child that was started before it was known. Its deadline starts then."""
        self._deadline = time.monotonic() + self.deadline_s
        # A child that has died does not read it, and its end says more than a broken pipe. Nor does a line so short
        # wait for one that hangs.
        with contextlib.suppress(BrokenPipeError):
            self._stdin.write(json.dumps(more).encode() + b"\n")

    def answer(self) -> ChildAnswer:
        """Wait for the answer or the deadline, whichever comes first."""
        try:
            hung_in = self._wait()
        finally:
            self._end_it()
        said, stage = read_journal(self._journal)
        status = self._process.returncode
        how, number = how_it_ended(status, stage) if hung_in is None and status is not None else ("hung", 0)
        end = ChildEnd(
            how=how,
            number=number,
            stage=stage,
            seconds=round(time.monotonic() - self._started, 3),
            kernel_state=hung_in or "",
            stderr="" if how == "answered" else _tail(self._stderr),
        )
        self._folder.cleanup()
        return ChildAnswer(end=end, said=said)

    def _wait(self) -> str | None:
        """None when it ended by itself, else the kernel's word on where it hangs."""
        while self._process.poll() is None:
            if not time.monotonic() <= self._deadline:  # a deadline of `nan` has passed
                return kernel_state(self._process.pid)
            time.sleep(POLL_S)
        return None

    def _end_it(self) -> None:
        """Kill the child's whole group, once; leave behind what does not die."""
        if self._ended:
            return
        self._ended = True
        self._stdin.close()
        with contextlib.suppress(ProcessLookupError):
            self._kill(self._process.pid)
        try:
            self._process.wait(KILL_PATIENCE_S)
        except subprocess.TimeoutExpired:
            # Reaps it, should it ever come out of the kernel; a daemon thread does not hold up our own exit.
            threading.Thread(target=self._process.wait, daemon=True).start()


def _start(
    script: Path | tuple[str, ...], arguments: tuple[str, ...], environ: Mapping[str, str], stderr: IO[bytes]
) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
    # -B: leave no compiled files beside the script.
    command = (sys.executable, "-B", str(script)) if isinstance(script, Path) else script
    process = subprocess.Popen(
        [*command, *arguments],
        env=environ,
        stdin=subprocess.PIPE,
        stdout=stderr,
        stderr=stderr,
        start_new_session=True,
        bufsize=0,
    )
    assert process.stdin is not None
    return process, process.stdin


def _fork(
    script: Path, arguments: tuple[str, ...], environ: Mapping[str, str], stderr: IO[bytes]
) -> tuple[ForkedProcess, IO[bytes]]:
    theirs, ours = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    process = fork()
    if process == 0:
        _run_script(script, arguments, environ, (theirs, stderr.fileno(), stderr.fileno()))
    os.close(theirs)
    return ForkedProcess(process), os.fdopen(ours, "wb", buffering=0)


def _run_script(
    script: Path, arguments: tuple[str, ...], environ: Mapping[str, str], streams: tuple[int, int, int]
) -> NoReturn:
    """In the forked process: as if Python had been started with that script."""
    try:
        os.setsid()
        reset_handlers()
        rename_process([sys.executable, str(script), *arguments])
        for stream, file in enumerate(streams):
            os.dup2(file, stream)
        close_all_but()
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115 (to its end)
        os.environ.clear()
        os.environ.update(environ)
        sys.argv[:] = [str(script), *arguments]
        sys.path.insert(0, str(script.parent))
        runpy.run_path(str(script), run_name="__main__")
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _tail(path: Path, limit: int = 1500) -> str:
    try:
        return path.read_text(errors="replace").strip()[-limit:]
    except OSError:
        return ""
