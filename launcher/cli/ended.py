"""The third of `launcher explain` that is about runs: how one ended, and what that means."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from launcher.device.causes.catalogue import BY_CODE
from launcher.device.causes.error_text import Match, find_causes
from launcher.errors import RequestError
from launcher.run.attempts import read_attempts
from launcher.run.found import ROOT, called, find_run
from launcher.run.paths import RunPaths
from launcher.run.summary import State, summarize

END_OF_LOG = 200_000


def folder_of(name: str) -> Path:
    """The folder of the run that is meant.

    Raises:
        RequestError: there is none, or there are several.
    """
    return find_run(name, Path(ROOT))


def end_explanation(name: str, explain: Callable[[tuple[Match, ...]], str]) -> str:
    """How the run of that name ended; empty where there is no such run.

    Raises:
        RequestError: a folder is named that holds no run.
    """
    try:
        folder = folder_of(name)
    except RequestError:
        if os.path.isdir(name):
            raise RequestError(
                f"{name} is a folder and holds no run. Name the folder of a run (`launcher runs` lists them), or a "
                "file: launcher explain log.txt"
            ) from None
        return ""
    return _end_of(folder, explain)


def _end_of(folder: Path, explain: Callable[[tuple[Match, ...]], str]) -> str:
    name, run = called(folder), summarize(folder, time.time())
    if run.state is not State.failed:
        return f"{name}: {run.state.value}, nothing failed. `launcher status {name}` shows more."
    last = read_attempts(RunPaths(folder))[-1]
    why = f": {last.end.explanation}" if last.end is not None and last.end.explanation else ""
    head = f"{name}: attempt {last.number} failed{why} [{run.code}]"
    others = (one for one in find_causes(_log_of(folder, last.number)) if one.cause.code != run.code)
    of_code = (Match(cause=BY_CODE[run.code], known_by=f"[{run.code}]"),) if run.code in BY_CODE else ()
    found = (*of_code, *others)
    return f"{head}\n\n{explain(found)}" if found else head


def _log_of(folder: Path, number: int) -> str:
    try:
        return RunPaths(folder).attempt(number).log(0).read_text(errors="replace")[-END_OF_LOG:]
    except OSError:
        return ""
