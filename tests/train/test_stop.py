from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from launcher.errors import ExitCode, TrainingFailedError
from launcher.run.outcome import TIME_LIMIT
from launcher.train.stop import STOP_SIGNALS, Stop
from tests.orphans import seconds_until_they_end


@pytest.fixture(autouse=True)
def _handlers_left_as_found():
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_stop_signal_is_noted_and_nothing_else_happens(number: int):
    stop = Stop()
    stop.note_signals()
    assert not stop.agreed(1)

    os.kill(os.getpid(), number)

    assert stop.agreed(1)


def test_a_note_reaches_ranks_that_got_no_signal(tmp_path: Path):
    note = tmp_path / "stop"
    waiting, rank = Stop(), Stop()
    waiting.note_signals(note)
    rank.look_for(note)
    assert not rank.agreed(1)

    os.kill(os.getpid(), signal.SIGTERM)

    assert rank.agreed(1)


@pytest.fixture
def silent_server() -> Iterator[str]:
    """It accepts, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/weights.pkl"


def after(seconds: float, action: Callable[[], object]) -> None:
    threading.Timer(seconds, action).start()


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_stop_ends_waiting_for_weights_that_never_come(number: int, silent_server: str):
    stop = Stop()
    stop.note_signals()
    after(0.2, lambda: os.kill(os.getpid(), number))

    with pytest.raises(TrainingFailedError, match="while the weights were loaded") as raised:
        fetch(stop, silent_server)

    assert raised.value.exit_code == ExitCode.resumable


def test_a_rank_that_gets_no_signal_hears_of_the_stop_while_it_waits_for_weights(tmp_path: Path, silent_server: str):
    stop = Stop()
    stop.note_signals()
    stop.look_for(tmp_path / "stop")
    after(0.2, (tmp_path / "stop").touch)

    with pytest.raises(TrainingFailedError, match="while the weights were loaded"):
        fetch(stop, silent_server)


def test_after_a_stop_no_waiting_begins():
    stop = Stop()
    stop.note_signals()
    os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(TrainingFailedError), stop.interrupting("the weights were loaded"):
        pytest.fail("it was begun")


def test_a_stop_passes_what_takes_every_exception_for_its_own():
    stop = Stop()
    stop.note_signals()

    with pytest.raises(TrainingFailedError), stop.interrupting("the weights were loaded"), suppress(Exception):
        os.kill(os.getpid(), signal.SIGTERM)


def test_once_the_weights_are_there_a_stop_is_noted_again():
    stop = Stop()
    stop.note_signals()
    with stop.interrupting("the weights were loaded"):
        pass

    os.kill(os.getpid(), signal.SIGTERM)

    assert stop.agreed(1)


def fetch(stop: Stop, address: str) -> None:
    with stop.interrupting("the weights were loaded"):
        urllib.request.urlopen(address, timeout=60).read()


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for a signal at the parent's death")
def test_a_worker_gets_a_signal_when_its_launcher_dies(tmp_path: Path):
    told = tmp_path / "told"
    worker = (
        "import os, signal, sys, time; from launcher.train.stop import end_with_parent\n"
        f"signal.signal(signal.SIGTERM, lambda *_: (open({str(told)!r}, 'w').close(), sys.exit()))\n"
        "end_with_parent(os.getppid()); print('ready', flush=True); time.sleep(60)"
    )
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {worker!r}])"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    launcher = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, env=environment, text=True)
    assert launcher.stdout is not None
    assert launcher.stdout.readline() == "ready\n"

    launcher.kill()
    launcher.wait()

    deadline = time.monotonic() + 50
    while not told.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    launcher.stdout.close()
    assert told.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux who a process's parent is")
def test_a_worker_that_hears_no_signal_ends_all_the_same():
    worker = (
        "import ctypes, os, signal; from launcher.train import stop\n"
        "stop.OUTLIVES_S = 0.5; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "stop.end_with_parent(os.getppid()); print(os.getpid(), flush=True)\n"
        "ctypes.PyDLL(None).sleep(60)"  # keeps the interpreter's lock, so that nothing of Python's runs
    )
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {worker!r}], start_new_session=True)"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    launcher = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, env=environment, text=True)
    assert launcher.stdout is not None
    assert launcher.stdout.readline().strip().isdigit()

    assert seconds_until_they_end(launcher) < 30


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux who a process's parent is")
def test_whoever_watches_a_worker_that_has_ended_already_ends_too():
    watch = "import os; from launcher.train.stop import _watch; _watch(os.getpid(), os.getppid())"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}

    assert subprocess.run([sys.executable, "-c", watch], env=environment, timeout=30, check=False).returncode == 0


def test_a_clock_that_is_set_back_does_not_put_off_the_time_limit(monkeypatch: pytest.MonkeyPatch):
    stop = Stop()
    stop.stop_at(time.time() + 0.05)
    assert not stop.is_late()

    monkeypatch.setattr("time.time", lambda: 0.0)
    time.sleep(0.06)

    assert stop.is_late()
    stop.stop_at(0.0)
    assert not stop.is_late()


def test_a_time_limit_stopped_it_only_where_nobody_asked():
    stop = Stop()
    before = stop.stopped_by()
    stop.stop_at(time.time() - 1)
    late = stop.stopped_by()
    stop.asked = True

    assert (before, late, stop.stopped_by()) == ("", TIME_LIMIT, "")
