"""What `launcher train --help` prints."""

from __future__ import annotations

import subprocess
import sys

import pytest

from launcher.cli.main import main
from launcher.config.own_settings import own_settings
from launcher.errors import ExitCode
from launcher.show.help import training_help


@pytest.mark.parametrize("command", ["train", "plan"])
def test_every_setting_of_the_launcher_is_listed_and_the_rest_can_be_found(command: str):
    text = training_help(command)

    assert [one.name for one in own_settings() if f"  {one.name}=" not in text] == []
    assert "launcher list models" in text
    assert "launcher explain NAME" in text
    assert "experiment=  coco, coco_quick, demo" in text


def test_the_lines_fit_a_screen(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "80")

    assert max(map(len, training_help("train").splitlines())) <= 80


@pytest.mark.parametrize("arguments", [["train", "--help"], ["--cfg", "job", "-h"], ["plan", "-h", "experiment=coco"]])
def test_help_is_asked_for_anywhere_on_the_command_line(arguments: list[str], capsys: pytest.CaptureFixture[str]):
    assert main(arguments) == ExitCode.finished

    assert capsys.readouterr().out.startswith("usage: launcher ")


def test_help_needs_no_detectron2():
    code = (
        "import sys; sys.modules['detectron2'] = None; from launcher.cli.main import main;"
        "main(['train', '--help']); print('torch' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "False"
