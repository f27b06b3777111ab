from __future__ import annotations

import os
import signal
import threading

import pytest

from launcher.signals import blocking, handling


def test_handlers_hold_inside_the_block_and_those_of_before_afterwards():
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGUSR2)}

    with handling({number: lambda number, _: came.append(number) for number in before}):
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGUSR2)

    assert came == [signal.SIGUSR1, signal.SIGUSR2]
    assert {number: signal.getsignal(number) for number in before} == before


def test_handlers_of_before_come_back_also_after_an_exception():
    before = signal.getsignal(signal.SIGUSR1)

    with pytest.raises(KeyError), handling({signal.SIGUSR1: signal.SIG_IGN}):
        raise KeyError

    assert signal.getsignal(signal.SIGUSR1) == before


def test_a_signal_that_cannot_be_handled_leaves_the_others_as_they_were():
    before = signal.getsignal(signal.SIGUSR1)

    with (
        pytest.raises(OSError, match="Invalid argument"),
        handling({signal.SIGUSR1: signal.SIG_IGN, signal.SIGKILL: 0}),
    ):
        pass

    assert signal.getsignal(signal.SIGUSR1) == before


def test_blocks_can_be_nested():
    came: list[str] = []

    with handling({signal.SIGUSR1: lambda *_: came.append("outer")}):
        with handling({signal.SIGUSR1: lambda *_: came.append("inner")}):
            os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGUSR1)

    assert came == ["inner", "outer"]


def test_a_signal_to_a_thread_that_blocks_it_comes_after_the_block():
    came: list[bool] = []
    inside = threading.Event()

    with handling({signal.SIGUSR1: lambda *_: came.append(inside.is_set())}):
        with blocking([signal.SIGUSR1]):
            inside.set()
            signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
            assert came == []
            inside.clear()
        assert came == [False]
