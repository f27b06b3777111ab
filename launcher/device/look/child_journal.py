"""What the probes' child processes and their parent share: the journal, and how a process ended.

The children import it as `child_journal`, from the folder of their script, and nothing else of ours.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1
UNWRITTEN = 74
"""The exit code of a child that could not write its journal; EX_IOERR of sysexits.h."""


class Journal:
    def __init__(self, path: str | Path) -> None:
        self.file = open(path, "a", buffering=1)  # noqa: SIM115 (open as long as the process lives)

    def say(self, **entry: Any) -> None:
        try:
            self.file.write(json.dumps(entry) + "\n")
        except OSError:  # a full disk: nothing can be said, and that is not the fault of what is looked at
            os._exit(UNWRITTEN)


def run(main: Callable[[Journal, dict[str, Any]], None]) -> None:
    """Be the child that `Child` started: answer its question in its journal."""
    path, question = sys.argv[1:3]
    ask = json.loads(question)
    die_with(ask["parent"])
    main(Journal(path), ask)


def die_with(parent: int) -> None:
    """Ask Linux to end this process when its parent dies: a call into a bad driver may never return by itself."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked
        os._exit(1)


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


def how_it_ended(returncode: int, stage: str) -> tuple[str, int]:
    """`answered`, `unwritten`, `signal` or `exit`, with the number of the latter two."""
    if returncode < 0:
        return "signal", -returncode
    if returncode == UNWRITTEN:
        return "unwritten", 0
    return ("answered", 0) if returncode == 0 and stage == "end" else ("exit", returncode)


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


def ask_library(
    say: Callable[..., None], library: str, name: str, ask: Callable[[ctypes.CDLL, Callable[..., None]], None]
) -> None:
    """Load a driver's library, whose file's name begins with `name`, and `ask` it; what fails is reported."""
    say(stage=f"load {name}")
    try:
        loaded = ctypes.CDLL(library)
    except OSError as error:
        say(load_error=str(error))
        return
    say(library=loaded_path(f"{name}.so"))
    try:
        ask(loaded, say)
    except AttributeError as error:
        say(load_error=str(error))


def loaded_path(name: str) -> str:
    """The file of a library that this process has loaded, or empty."""
    try:
        with open("/proc/self/maps") as maps:
            for line in maps:
                path = line.rstrip("\n").partition("/")
                if name in path[2].rpartition("/")[2]:
                    return os.path.realpath("/" + path[2])
    except OSError:
        pass
    return ""
