from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from launcher.errors import ExitCode
from launcher.run.fence import FencedError, check_fence, take_fence
from launcher.run.paths import RunPaths


def test_the_attempt_that_took_the_fence_last_may_write(tmp_path: Path):
    paths = RunPaths(tmp_path)

    take_fence(paths, 1)
    second = take_fence(paths, 2)

    check_fence(paths, second)


def test_an_overtaken_attempt_may_not_write_is_told_by_whom_and_is_not_requeued(tmp_path: Path):
    paths = RunPaths(tmp_path)
    first = take_fence(paths, 1)

    take_fence(paths, 2)

    with pytest.raises(FencedError, match=r"attempt 2 \(process \d+ on .+\) trains in .*attempt 1 stops") as caught:
        check_fence(paths, first)
    assert caught.value.exit_code is ExitCode.training_failed


def test_an_attempt_of_the_same_number_on_another_host_is_another_one(tmp_path: Path):
    paths = RunPaths(tmp_path)
    first = take_fence(paths, 1)

    take_fence(paths, 1)

    with pytest.raises(FencedError):
        check_fence(paths, first)


def test_an_attempt_that_wakes_up_late_does_not_take_the_fence_from_a_later_one(tmp_path: Path):
    paths = RunPaths(tmp_path)
    later = take_fence(paths, 3)

    with pytest.raises(FencedError, match="attempt 3"):
        take_fence(paths, 2)

    check_fence(paths, later)


def test_an_attempt_whose_folder_was_moved_away_may_not_write(tmp_path: Path):
    paths = RunPaths(tmp_path / "run")
    fence = take_fence(paths, 1)

    shutil.move(tmp_path / "run", tmp_path / "run.1")

    with pytest.raises(FencedError, match="moved or replaced"):
        check_fence(paths, fence)


@pytest.mark.parametrize("text", ["", "{", "{}", "null", "[]", '{"attempt": 7}'])
def test_a_fence_that_cannot_be_read_says_nothing_about_who_may_write(tmp_path: Path, text: str):
    paths = RunPaths(tmp_path)
    fence = take_fence(paths, 1)

    paths.fence.write_text(text)

    with pytest.raises(OSError, match="damaged"):
        check_fence(paths, fence)
    check_fence(paths, take_fence(paths, 2))
