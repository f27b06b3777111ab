"""Whether a launcher that lives is told from one that was killed."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import pytest

from launcher.files import read_if_there
from launcher.launch import pulse as pulse_module
from launcher.launch.pulse import SILENCE_S, Pulse, Silence
from launcher.signals import handling
from tests.cluster.real_slurm import wait_for


def test_a_pulse_changes_until_it_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pulse_module, "BEAT_S", 0.01)
    file, pulse = tmp_path / "start/pulse", Pulse()
    seen, threads = set(), threading.active_count()

    def has_changed() -> bool:
        seen.add(read_if_there(file) or b"none")
        return len(seen) > 3

    pulse.start(file)
    wait_for(has_changed, patience_s=20)
    pulse.stop()

    assert threading.active_count() == threads


def test_a_signal_that_the_launcher_blocks_does_not_reach_it_by_way_of_its_pulse(tmp_path: Path):
    heard: list[int] = []
    pulse, before = Pulse(), set(threading.enumerate())
    with handling({signal.SIGUSR1: lambda number, _: heard.append(number)}):
        pulse.start(tmp_path / "pulse")
        (thread,) = set(threading.enumerate()) - before
        assert thread.ident is not None

        signal.pthread_kill(thread.ident, signal.SIGUSR1)
        time.sleep(0.05)
        pulse.stop()

    assert heard == []


@pytest.mark.parametrize(
    ("looks", "is_long"),
    [
        pytest.param([("a", 0.0), ("b", SILENCE_S + 1)], False, id="it beats"),
        pytest.param([("a", 0.0), ("a", SILENCE_S - 1)], False, id="it may only be late"),
        pytest.param([("a", 0.0), ("a", SILENCE_S + 1)], True, id="it has stopped"),
        pytest.param([("", 0.0), ("", SILENCE_S + 1)], True, id="it never began"),
        pytest.param([("a", 0.0), ("a", SILENCE_S - 1), ("b", SILENCE_S), ("b", 2 * SILENCE_S - 1)], False, id="late"),
        pytest.param([("a", 10 * SILENCE_S)], False, id="nobody has looked before"),
    ],
)
def test_a_pulse_that_does_not_change_for_long_is_that_of_a_dead_launcher(
    tmp_path: Path, looks: list[tuple[str, float]], is_long: bool
):
    file = tmp_path / "pulse"
    silence = Silence(file)

    for beat, now in looks:
        if beat:
            file.write_text(beat)
        said = silence.is_long(now)

    assert said is is_long
