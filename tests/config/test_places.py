from __future__ import annotations

import os
from pathlib import Path

import pytest

from launcher.config.places import PATHS, expanded, problem_with_name, problem_with_path


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("~/runs", "/home/me/runs"),
        ("$PLACE/a", "/data/a"),
        ("${PLACE}/a", "/data/a"),
        ("a/~b", "a/~b"),
        ("https://example.org/$PLACE", "https://example.org/$PLACE"),
        ("detectron2://a", "detectron2://a"),
        ("$UNSET_VARIABLE/a", "$UNSET_VARIABLE/a"),
        ("", ""),
    ],
)
def test_a_path_is_expanded_as_a_shell_would(typed: str, meant: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("PLACE", "/data")
    monkeypatch.delenv("UNSET_VARIABLE", raising=False)

    assert expanded(typed) == meant


def test_a_file_that_is_really_called_so_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PLACE", "/data")
    Path("$PLACE").touch()

    assert expanded("$PLACE") == "$PLACE"


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("a" * 256, "a name of 256 bytes"),
        ("\u00e9" * 128, "a name of 256 bytes"),
        ("a/" * 2100, "a path of 4200 bytes"),
        ("a\0b", "a control character"),
        ("a\x1b[2Jb", "a control character"),
        ("a\udcffb", "not UTF-8"),
        ("$UNSET_VARIABLE/a", "the environment variable UNSET_VARIABLE is not set"),
        ("~nobody-of-that-name/a", "no home folder ~nobody-of-that-name"),
        ("/dev/null", "a device, not a file"),
    ],
)
def test_a_path_where_nothing_can_be_says_why(path: str, problem: str):
    assert problem in problem_with_path(path)


@pytest.mark.parametrize("path", ["", ".", "not/there", "auto", "https://example.org/a", "\u4e2d.json", "a b,c=d"])
def test_a_path_where_something_may_be_has_no_problem(path: str):
    assert problem_with_path(path) == ""


def test_a_named_pipe_and_a_loop_of_links_are_no_files(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")

    assert "a named pipe" in problem_with_path(str(tmp_path / "pipe"))
    assert "leads to itself" in problem_with_path(str(tmp_path / "loop" / "a"))


def test_a_folder_that_may_not_be_entered_is_named_and_raises_nothing(monkeypatch: pytest.MonkeyPatch):
    def refuse(_path: object) -> os.stat_result:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "stat", refuse)

    assert "cannot be entered by this user" in problem_with_path("/locked/a")


def test_names_have_the_limits_of_file_names():
    assert problem_with_name("a" * 255) == ""
    assert "255" in problem_with_name("a" * 256)


def test_every_path_setting_is_one_that_exists(keys):
    from launcher.config.schema import make_schema, setting_names

    assert set(PATHS) <= set(setting_names(make_schema(keys)))
