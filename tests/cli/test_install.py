"""What `launcher install detectron2` would run; tests/scripts/test_wheel_alone.py runs it in a bare environment."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from launcher.cli.install import backend_folder, install_command
from launcher.cli.main import main
from launcher.errors import ExitCode, RequestError

FOLDER = Path("/the/folder")


@pytest.mark.parametrize(
    ("has_pip", "uv", "again", "beginning", "more"),
    [
        (True, None, False, [sys.executable, "-m", "pip", "install"], set()),
        (True, "/bin/uv", True, [sys.executable, "-m", "pip", "install"], {"--force-reinstall", "--no-deps"}),
        (False, "/bin/uv", False, ["/bin/uv", "pip", "install", "--python", sys.executable], set()),
        (False, "/bin/uv", True, ["/bin/uv", "pip", "install", "--python", sys.executable], {"--reinstall-package"}),
    ],
)
def test_this_environments_pip_installs_or_uv_for_this_python(
    has_pip: bool, uv: str | None, again: bool, beginning: list[str], more: set[str]
):
    command = install_command(has_pip, uv, FOLDER, again=again)

    assert command[: len(beginning)] == beginning
    assert command[-1] == str(FOLDER)
    assert more <= set(command)


def test_without_pip_and_uv_it_says_how_to_get_one():
    with pytest.raises(RequestError, match="ensurepip"):
        install_command(False, None, FOLDER, again=False)


def test_what_repacks_it_is_there():
    assert (backend_folder() / "pyproject.toml").is_file()


def test_a_detectron2_that_is_there_is_kept(capsys: pytest.CaptureFixture[str]):
    assert main(["install", "detectron2"]) == ExitCode.finished

    printed = capsys.readouterr().out
    assert "is installed; nothing is changed" in printed
    assert "--again" in printed


def test_a_dry_run_prints_the_command_alone(capsys: pytest.CaptureFixture[str]):
    assert main(["install", "detectron2", "--again", "--dry-run"]) == ExitCode.finished

    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith("scripts/detectron2")
