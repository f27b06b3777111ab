"""Limits on processes and open files are named where they are reached."""

from __future__ import annotations

import errno
import multiprocessing
import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.device.look.children import Child
from launcher.process_limits import OPEN_FILES, PROCESSES, ProcessLimitError, limit_reached, naming_limits
from launcher.run import codes
from launcher.run.handover import Worker
from launcher.train.failures import explain


def refuse(*_: object, **__: object) -> int:
    raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")


@pytest.fixture
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the kernel answers where a user has all processes that it may have."""
    monkeypatch.setattr(os, "fork", refuse)
    monkeypatch.setattr(subprocess, "_fork_exec", refuse)
    monkeypatch.setattr(subprocess, "_USE_POSIX_SPAWN", False)


@pytest.fixture
def few_files() -> Iterator[None]:
    """No file more than those that are open now."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    first_free = os.dup(0)
    os.close(first_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (first_free, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.usefixtures("no_processes")
def test_a_worker_that_cannot_be_started_names_the_limit(tmp_path: Path):
    with pytest.raises(ProcessLimitError, match="ulimit -u") as raised:
        Worker(os.environ, tmp_path)

    assert raised.value.code == PROCESSES


@pytest.mark.usefixtures("few_files")
def test_a_worker_without_a_file_left_names_the_limit(tmp_path: Path):
    with pytest.raises(ProcessLimitError, match="ulimit -n") as raised:
        Worker(os.environ, tmp_path)

    assert raised.value.code == OPEN_FILES


@pytest.mark.usefixtures("no_processes")
def test_a_probe_that_cannot_be_started_names_the_limit():
    with pytest.raises(ProcessLimitError, match="ulimit -u"):
        Child(Path("probe.py"), environ=os.environ, ask={}, deadline_s=1.0)


@pytest.mark.usefixtures("no_processes")
def test_a_loader_process_that_cannot_be_forked_is_explained():
    process = multiprocessing.get_context("fork").Process(target=print)
    with pytest.raises(BlockingIOError) as raised:
        process.start()

    failure = explain(raised.value)

    assert failure.understood
    assert failure.code == codes.PROCESSES
    assert "ulimit -u" in failure.message


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RuntimeError("can't start new thread"), codes.PROCESSES),
        (OSError(errno.EMFILE, "Too many open files"), codes.OPEN_FILES),
        (OSError(errno.ENFILE, "Too many open files in system"), codes.OPEN_FILES),
    ],
)
def test_the_limit_is_told_from_the_exception(error: Exception, code: str):
    assert explain(error).code == code


@pytest.mark.parametrize(
    "error",
    [
        BlockingIOError(errno.EAGAIN, "nothing to read yet"),
        OSError(errno.ENOENT, "No such file"),
        RuntimeError("thread"),
    ],
)
def test_what_is_about_no_limit_is_left_alone(error: Exception):
    assert limit_reached(error) is None
    with pytest.raises(type(error)), naming_limits():
        raise error
