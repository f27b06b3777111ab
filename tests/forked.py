"""Running the launcher in a process that has imported everything already: a fork of one that did nothing else.

An import of torch and detectron2 takes longer than a training of two iterations.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import forkserver
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any
from unittest.mock import patch

from launcher.forking import READ_LATER, WARM, Warm
from launcher.run.handover import with_short_waits

PRELOADED = (
    *("launcher.cli.main", "launcher.cli.train", "launcher.cli.training", "launcher.cli.plan", "launcher.cli.resume"),
    *("launcher.cli.list", "launcher.cli.explain", "launcher.cli.setting", "launcher.cli.submit", "launcher.cli.eval"),
    *("launcher.train.worker", "launcher.train.tasks.train", "launcher.train.prediction.loaded", "launcher.cli.warm"),
)


def run_launcher(
    arguments: Sequence[str], *, folder: Path, environ: Mapping[str, str], timeout_s: float = 280
) -> CompletedProcess[str]:
    """`launcher ARGUMENTS` in that folder and environment."""
    return _run(_launch, list(arguments), folder, environ, timeout_s)


def run_launcher_and_workers(
    arguments: Sequence[str], *, folder: Path, environ: Mapping[str, str], timeout_s: float = 280
) -> CompletedProcess[str]:
    """The same, and what trains or evaluates is a fork too where one process does it, as in a job of a sweep.

    Not for detectron2's own data sets: where they are was read when it was imported.
    """
    return _run(_launch_warm, list(arguments), folder, environ, timeout_s)


def run_python(code: str, *, folder: Path, environ: Mapping[str, str], timeout_s: float = 280) -> CompletedProcess[str]:
    """`python -c CODE` there."""
    return _run(_execute, code, folder, environ, timeout_s)


def _run(
    act: Callable[[Any], int], what: Any, folder: Path, environ: Mapping[str, str], timeout_s: float
) -> CompletedProcess[str]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    # What a worker's environment has when it imports torch.
    with patch.dict(os.environ, with_short_waits({**os.environ, "OMP_NUM_THREADS": "1"})):
        forkserver.ensure_running()
    printed = [folder.parent / name for name in ("stdout", "stderr")]
    for file in printed:
        file.write_text("")
    child = context.Process(
        target=_in_child, args=(act, what, str(folder), dict(environ), [str(file) for file in printed])
    )
    child.start()
    child.join(timeout_s)
    if child.is_alive():
        child.kill()
        child.join()
    stdout, stderr = (file.read_text(errors="replace") for file in printed)
    return CompletedProcess(args=what, returncode=child.exitcode or 0, stdout=stdout, stderr=stderr)


def _in_child(
    act: Callable[[Any], int], what: Any, folder: str, environ: dict[str, str], printed: Sequence[str]
) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    os.setsid()
    multiprocessing.current_process()._config.pop("daemon", None)  # type: ignore[attr-defined]
    for stream, file in zip((1, 2), printed, strict=True):
        os.dup2(os.open(file, os.O_WRONLY | os.O_APPEND), stream)
    sys.path[:0] = [part for part in environ.get("PYTHONPATH", "").split(os.pathsep) if part and part not in sys.path]
    sys.path.append(folder)
    status = act(what)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _launch(arguments: list[str]) -> int:
    from launcher.cli.main import main

    sys.argv = ["launcher", *arguments]
    try:
        return main(arguments)
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else int(bool(done.code))


def _launch_warm(arguments: list[str]) -> int:
    WARM.__class__ = WarmForTests
    WARM.note("launcher.train.warm")
    return _launch(arguments)


class WarmForTests(Warm):
    """Of a process whose environment, but for where detectron2's own data sets are, is what it was imported in."""

    def note(self, module: str) -> None:
        self.environ, self.module = _without_data_sets(with_short_waits(os.environ)), module

    def can_fork(self, environ: Mapping[str, str], read_later: frozenset[str] = READ_LATER) -> bool:
        return super().can_fork(_without_data_sets(environ), read_later)


def _without_data_sets(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name != "DETECTRON2_DATASETS"}


def _execute(code: str) -> int:
    exec(compile(code, "<page>", "exec"), {"__name__": "__main__"})
    return 0
