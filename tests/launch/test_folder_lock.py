"""One launch at a time in a run folder, and who is waited for."""

from __future__ import annotations

import fcntl
import io
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console

from launcher.errors import ExitCode
from launcher.launch.folder_lock import (
    ORPHAN_S,
    FolderBusyError,
    lock_folder,
    refuse_busy,
    wait_for_folder,
)
from launcher.run.holder import Holder, holder_of

HERE = socket.gethostname()


def test_a_run_folder_is_held_by_one_process_at_a_time(tmp_path: Path):
    hold = "import sys; from pathlib import Path; from launcher.launch.folder_lock import lock_folder\n"
    hold += "with lock_folder(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    other = subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    with other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"

        with pytest.raises(FolderBusyError, match=rf"process {other.pid} on .*run\.name"), lock_folder(tmp_path):
            pass

        other.communicate("")
    with lock_folder(tmp_path):
        pass


def test_a_run_folder_stays_held_while_the_worker_of_a_killed_launcher_lives(tmp_path: Path):
    launch = "import os, subprocess, sys; from pathlib import Path\n"
    launch += "from launcher.launch.folder_lock import lock_folder\n"
    launch += "with lock_folder(Path(sys.argv[1])) as lock:\n"
    launch += "    worker = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=0, pass_fds=(lock,))\n"
    launch += "    print(worker.pid, flush=True); os._exit(9)"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    launcher = subprocess.Popen(
        [sys.executable, "-c", launch, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    with launcher:
        assert launcher.stdout is not None
        worker = int(launcher.stdout.readline())
        launcher.wait()

        with pytest.raises(FolderBusyError, match="is still held by its worker, whose launcher"), lock_folder(tmp_path):
            pass

        os.kill(worker, 9)
    _wait_until_free(tmp_path)


def _wait_until_free(folder: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            with lock_folder(folder):
                return
        except FolderBusyError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.fixture(scope="module")
def dead() -> int:
    """The number of a process that has ended."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


@contextmanager
def held(folder: Path, note: str) -> Iterator[None]:
    """The folder's lock, held by somebody who wrote that note."""
    with open(folder / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(note)
        file.flush()
        yield


def test_a_free_folder_is_not_waited_for_and_nothing_is_made_in_it(tmp_path: Path):
    wait_for_folder(tmp_path, Console(file=io.StringIO()), sleep=lambda _: pytest.fail("waited"))

    assert list(tmp_path.iterdir()) == []


def test_the_worker_of_a_dead_launcher_is_waited_for_visibly(tmp_path: Path, dead: int):
    printed, slept = io.StringIO(), []
    lock = held(tmp_path, f"process {dead} on {HERE}")
    lock.__enter__()

    def end_after_three(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            lock.__exit__(None, None, None)

    wait_for_folder(tmp_path, Console(file=printed, soft_wrap=True), end_after_three)

    assert len(slept) == 3
    (line,) = printed.getvalue().splitlines()
    assert line.startswith(f"waiting: the launcher of this run, process {dead} on {HERE}, has died, and its worker")


def test_a_worker_that_does_not_end_is_waited_for_within_bounds(tmp_path: Path, dead: int):
    slept: list[float] = []

    with (
        held(tmp_path, f"process {dead} on {HERE}"),
        pytest.raises(FolderBusyError, match=r"End that process.*run\.name"),
    ):
        wait_for_folder(tmp_path, Console(file=io.StringIO()), slept.append)

    assert sum(slept) == ORPHAN_S


@pytest.mark.parametrize(
    "note",
    [f"process {os.getpid()} on {HERE}", "process 4000000000 on another-host", "", "\x1b[31m rm", "process 1"],
    ids=["alive", "on another host", "empty", "escapes", "without a host"],
)
def test_whoever_may_live_is_not_waited_for(tmp_path: Path, note: str):
    with held(tmp_path, note), pytest.raises(FolderBusyError, match="is being trained right now") as refused:
        wait_for_folder(tmp_path, Console(file=io.StringIO()), lambda _: pytest.fail("waited"))

    assert refused.value.exit_code == ExitCode.busy == 5
    assert "\x1b" not in str(refused.value)


def test_a_plan_does_not_wait_and_is_refused_as_the_training_would_be(tmp_path: Path, dead: int):
    with held(tmp_path, f"process {dead} on {HERE}"):
        refuse_busy(tmp_path)
    with held(tmp_path, f"process {os.getpid()} on {HERE}"), pytest.raises(FolderBusyError):
        refuse_busy(tmp_path)


def test_a_launcher_that_ended_and_was_not_asked_how_is_dead():
    with subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE) as zombie:
        assert zombie.stdout is not None
        zombie.stdout.read()
        until = time.monotonic() + 60
        while not (dead := Holder(process=zombie.pid, host=HERE).is_dead) and time.monotonic() < until:
            time.sleep(0.01)

    assert dead


@pytest.mark.parametrize("kind", ["link", "second name", "link to nothing"])
def test_what_the_lock_file_leads_to_elsewhere_is_not_written(tmp_path: Path, kind: str):
    precious, run = tmp_path / "precious", tmp_path / "run"
    run.mkdir()
    if kind != "link to nothing":
        precious.write_text("do not touch")
    if kind == "second name":
        (run / ".lock").hardlink_to(precious)
    else:
        (run / ".lock").symlink_to(precious)

    with lock_folder(run):
        assert holder_of(run) == Holder(process=os.getpid(), host=HERE)

    assert kind == "link to nothing" or precious.read_text() == "do not touch"
    assert precious.exists() is (kind != "link to nothing")


def test_a_pipe_in_the_place_of_the_lock_stops_nobody(tmp_path: Path):
    os.mkfifo(tmp_path / ".lock")

    assert holder_of(tmp_path) is None
    with lock_folder(tmp_path) as lock:
        assert lock > 2


def test_a_folder_that_was_renamed_between_opening_and_locking_is_not_taken_for_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run = tmp_path / "run"
    real, locked = fcntl.flock, []

    def rename_first(file: int, how: int) -> None:
        if not locked:
            run.rename(tmp_path / "run.1")
        locked.append(file)
        real(file, how)

    monkeypatch.setattr("fcntl.flock", rename_first)
    with lock_folder(run) as lock:
        assert os.path.samestat(os.fstat(lock), (run / ".lock").stat())
