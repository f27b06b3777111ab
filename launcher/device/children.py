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

POLL_S = 0.005
KILL_PATIENCE_S = 1.0


@dataclass(frozen=True, kw_only=True)
class ChildAnswer:
    end: ChildEnd
    said: Mapping[str, Any]
    """Everything the child wrote before it ended, however it ended."""


def _kill_group(pid: int) -> None:
    os.killpg(pid, signal.SIGKILL)


class Child:
    """One running probe script.

    A probe may hang inside the kernel, where not even SIGKILL reaches it. So nothing here waits for a child
    without a limit: it talks through files, and one that does not die is left behind.
    """

    def __init__(
        self,
        script: Path,
        *,
        environ: Mapping[str, str],
        ask: Mapping[str, Any],
        deadline_s: float,
        kill: Callable[[int], None] = _kill_group,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="launcher-probe-", ignore_cleanup_errors=True)
        self._journal = Path(self._folder.name) / "journal"
        self._stderr = Path(self._folder.name) / "stderr"
        self._kill = kill
        self._started = time.monotonic()
        self._deadline = self._started + deadline_s
        question = json.dumps({**ask, "folder": self._folder.name})
        with open(self._stderr, "wb") as stderr:
            self._process = subprocess.Popen(
                # -B: leave no compiled files beside the script.
                [sys.executable, "-B", str(script), str(self._journal), question],
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                start_new_session=True,
            )

    def answer(self) -> ChildAnswer:
        """Wait for the answer or the deadline, whichever comes first."""
        try:
            kernel_state = self._wait()
        finally:
            self._end_it()
        said, stage = read_journal(self._journal)
        how, number = _how_it_ended(self._process.returncode, stage) if kernel_state is None else ("hung", 0)
        end = ChildEnd(
            how=how,
            number=number,
            stage=stage,
            seconds=round(time.monotonic() - self._started, 3),
            kernel_state=kernel_state or "",
            stderr="" if how == "answered" else _tail(self._stderr),
        )
        self._folder.cleanup()
        return ChildAnswer(end=end, said=said)

    def _wait(self) -> str | None:
        """None when it ended by itself, else the kernel's word on where it hangs."""
        while self._process.poll() is None:
            if time.monotonic() > self._deadline:
                return kernel_state(self._process.pid)
            time.sleep(POLL_S)
        return None

    def _end_it(self) -> None:
        """Kill the child's whole group; leave behind what does not die."""
        with contextlib.suppress(ProcessLookupError):
            self._kill(self._process.pid)
        try:
            self._process.wait(KILL_PATIENCE_S)
        except subprocess.TimeoutExpired:
            # Reaps it, should it ever come out of the kernel; a daemon thread does not hold up our own exit.
            threading.Thread(target=self._process.wait, daemon=True).start()


def kernel_state(pid: int) -> str:
    """State letter of a process and the kernel function it waits in, as far as the kernel tells."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""
    try:
        return f"{state} {Path(f'/proc/{pid}/wchan').read_text()}".removesuffix(" 0").strip()
    except OSError:
        return state


def read_journal(path: Path) -> tuple[dict[str, Any], str]:
    """What a child said, and the stage it had announced last; `end` when it came to its end."""
    said: dict[str, Any] = {}
    stage = "start"
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return said, stage
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:  # cut off by the child's death
            continue
        stage = entry.pop("stage", stage)
        said |= entry
    return said, stage


def _how_it_ended(returncode: int, stage: str) -> tuple[str, int]:
    if returncode < 0:
        return "signal", -returncode
    return ("answered", 0) if returncode == 0 and stage == "end" else ("exit", returncode)


def _tail(path: Path, limit: int = 1500) -> str:
    try:
        return path.read_text(errors="replace").strip()[-limit:]
    except OSError:
        return ""
