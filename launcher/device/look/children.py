"""Runs a probe in a child process, never for longer than its deadline, and reads the journal it leaves."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.device.facts import ChildEnd
from launcher.device.look.child_journal import how_it_ended, kernel_state, read_journal
from launcher.errors import DeviceUnavailableError
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
        kill: Callable[[int], None] = _kill_group,
    ) -> None:
        self._folder = _make_folder()
        self._journal = Path(self._folder.name) / "journal"
        self._stderr = Path(self._folder.name) / "stderr"
        self._kill = kill
        self._ended = False
        self._started = time.monotonic()
        self._deadline_s = deadline_s
        self._deadline = self._started + deadline_s
        question = json.dumps({**ask, "folder": self._folder.name, "parent": os.getpid()})
        with naming_limits(), open(self._stderr, "wb") as stderr:
            self._process = subprocess.Popen(
                [*_command(script), str(self._journal), question],
                # With it, the script would not find its neighbour.
                env={name: value for name, value in environ.items() if name != "PYTHONSAFEPATH"},
                stdin=subprocess.PIPE,
                stdout=stderr,
                stderr=stderr,
                start_new_session=True,
                bufsize=0,
            )
        assert self._process.stdin is not None
        self._stdin = self._process.stdin

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self._end_it()
        self._folder.cleanup()

    def tell(self, more: Mapping[str, Any]) -> None:
        """The rest of the question, for a child that was started before it was known. Its deadline starts then."""
        self._deadline = time.monotonic() + self._deadline_s
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
        how, number = how_it_ended(self._process.returncode, stage) if hung_in is None else ("hung", 0)
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


def _command(script: Path | tuple[str, ...]) -> tuple[str, ...]:
    # -B: leave no compiled files beside the script.
    return (sys.executable, "-B", str(script)) if isinstance(script, Path) else script


def _tail(path: Path, limit: int = 1500) -> str:
    try:
        return path.read_text(errors="replace").strip()[-limit:]
    except OSError:
        return ""
