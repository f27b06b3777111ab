from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.errors import ExitCode, RequestError
from launcher.run.holder import holder_of
from launcher.sweep.record import SweepBusyError, hold_sweep, refuse_another, write_sweep
from launcher.sweep.stored import NAME, is_sweep, read_sweep
from tests.sweep.examples import a_sweep


def test_what_was_written_is_read_wherever_the_folder_is_now(tmp_path: Path):
    sweep = a_sweep(tmp_path / "a")
    write_sweep(sweep)
    (tmp_path / "a").rename(tmp_path / "b")

    assert is_sweep(tmp_path / "b")
    assert read_sweep(tmp_path / "b") == replace(sweep, folder=tmp_path / "b")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 99}', "\x00"])
def test_a_damaged_file_is_no_sweep_and_is_not_written_over(tmp_path: Path, text: str):
    (tmp_path / NAME).write_text(text)

    assert read_sweep(tmp_path) is None
    with pytest.raises(RequestError, match=r"damaged or of another version.*sweep\.name=NAME"):
        refuse_another(None, a_sweep(tmp_path))


@pytest.mark.parametrize(
    ("changes", "is_other"),
    [
        ({}, False),
        ({"fixed": ("device=cpu", "experiment=demo")}, False),
        ({"metric": "segm/AP", "command": "x", "seeds": 3}, False),
        ({"fixed": ("experiment=demo", "SOLVER.MAX_ITER=9")}, True),
        ({"swept": ("SOLVER.BASE_LR", "SOLVER.GAMMA")}, True),
    ],
)
def test_another_sweep_in_the_folder_is_refused_with_both_and_the_way_out(tmp_path: Path, changes, is_other):
    before = a_sweep(tmp_path)
    now = replace(before, **changes)

    if not is_other:
        refuse_another(before, now)
        return
    with pytest.raises(RequestError, match=r"(?s)holds another sweep.*there .*now .*sweep\.name=NAME"):
        refuse_another(before, now)


def test_one_controller_at_a_time(tmp_path: Path):
    is_busy = pytest.raises(SweepBusyError, match=r"being run right now by process \d+.*sweep\.name=NAME")
    with hold_sweep(tmp_path / "s"), is_busy as busy, hold_sweep(tmp_path / "s"):
        pass
    assert busy.value.exit_code == ExitCode.busy
    with hold_sweep(tmp_path / "s"):
        pass


def test_a_job_that_was_forked_does_not_hold_the_sweep_of_a_controller_that_was_killed(tmp_path: Path):
    woken, wakes = os.pipe()
    is_there, be_there = os.pipe()
    controller = os.fork()
    if controller == 0:
        with hold_sweep(tmp_path):
            if os.fork() == 0:
                os.close(wakes)
                os.write(be_there, b"x")
                os.read(woken, 1)  # until the test has ended
                os._exit(0)
            os._exit(0)  # as a kill does, without leaving the block
    os.waitpid(controller, 0)
    os.read(is_there, 1)

    assert holder_of(tmp_path) is None
    for file in (wakes, woken, is_there, be_there):
        os.close(file)


def test_after_the_sweep_no_other_file_of_a_forked_process_is_closed(tmp_path: Path):
    with hold_sweep(tmp_path):
        pass
    files = [os.open(tmp_path, os.O_RDONLY) for _ in range(8)]

    child = os.fork()
    if child == 0:
        os._exit(sum(_is_closed(file) for file in files))

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    for file in files:
        os.close(file)


def _is_closed(file: int) -> bool:
    try:
        os.fstat(file)
    except OSError:
        return True
    return False


def test_a_folder_that_cannot_be_written_is_named_with_the_setting(tmp_path: Path):
    (tmp_path / "file").write_text("")

    with (
        pytest.raises(RequestError, match=r"sweep's folder is .*file/s.*run\.root=FOLDER"),
        hold_sweep(tmp_path / "file" / "s"),
    ):
        pass
