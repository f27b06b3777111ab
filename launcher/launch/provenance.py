"""With what a run was started, for the records only: what cannot be found out is left out, and no start ends for it."""

from __future__ import annotations

import os
import platform
import shlex
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

MOST_BYTES = 1 << 20
"""Of a diff: larger ones are cut."""
PATIENCE_S = 10.0
# A repository's own configuration names programs that git runs: none of them is to run because somebody trains there.
HARMLESS = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "diff.external=")
DIFF = ("diff", "--no-ext-diff", "--no-textconv", "--ignore-submodules=dirty", "HEAD")
FILTERS = r"^filter\..*\.(clean|smudge|process)$"
CUT = "\n[cut: the diff is longer]"


def provenance(command: Sequence[str], environ: Mapping[str, str]) -> dict[str, Any]:
    """Command, place, packages, and the state of the git tree that a run was started in."""
    found: dict[str, Callable[[], Any]] = {
        "command": lambda: shlex.join(command),
        "working_directory": os.getcwd,
        "host": socket.gethostname,
        "platform": platform.platform,
        "cpu": _cpu,
        "threads": lambda: environ.get("OMP_NUM_THREADS", "") or str(os.cpu_count()),
        "python": lambda: sys.version.split()[0],
        "user": lambda: environ.get("USER", ""),
        "packages": lambda: dict(sorted(installed_packages(), key=lambda package: package[0].lower())),
        "git_commit": lambda: _git(environ, "rev-parse", "HEAD").strip(),
        "git_diff": lambda: _git(environ, *_without_filters(environ), *DIFF).strip(),
    }
    return {name: _or_nothing(find) for name, find in found.items()}


def _or_nothing(find: Callable[[], Any]) -> Any:
    try:
        return find()
    except Exception as error:
        return f"unknown ({type(error).__name__})"


def _cpu() -> str:
    """As its maker calls it: other kinds round otherwise."""
    lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))


@cache
def installed_packages() -> tuple[tuple[str, str], ...]:
    """Names and versions as they are now; read once, as a process that was forked later has imported from these."""
    return tuple(_packages())


def _packages() -> Iterator[tuple[str, str]]:
    for distribution in metadata.distributions():
        try:
            yield str(distribution.name), str(distribution.version)
        except Exception:
            continue


def _without_filters(environ: Mapping[str, str]) -> Iterator[str]:
    """Options that empty every filter of the repository's and the user's configuration."""
    for name in _git(environ, "config", "--name-only", "--get-regexp", FILTERS).splitlines():
        yield from ("-c", f"{name}=", "-c", f"{name.rpartition('.')[0]}.required=false")


def _git(environ: Mapping[str, str], *arguments: str) -> str:
    """What git prints, cut where it is too long; empty where it fails or takes too long."""
    quiet = {**environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1", "GIT_TERMINAL_PROMPT": "0"}
    try:
        process = subprocess.Popen(
            ["git", *HARMLESS, *arguments],
            env=quiet,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except OSError:
        return ""
    timer = threading.Timer(PATIENCE_S, process.kill)
    timer.start()
    try:
        with process:
            assert process.stdout is not None
            printed = process.stdout.read(MOST_BYTES + 1)
            is_whole = len(printed) <= MOST_BYTES
            if not is_whole:
                process.kill()
    finally:
        timer.cancel()
    text = printed[:MOST_BYTES].decode(errors="replace")
    if not is_whole:
        return text + CUT
    return text if process.returncode == 0 else ""
