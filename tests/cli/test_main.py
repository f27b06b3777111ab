from __future__ import annotations

import io
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from launcher.cli.main import COMMANDS, main, split_command
from launcher.errors import ExitCode


@pytest.mark.parametrize(
    ("arguments", "command", "rest"),
    [
        ([], "train", []),
        (["experiment=coco"], "train", ["experiment=coco"]),
        (["+experiment=coco", "-m"], "train", ["+experiment=coco", "-m"]),
        (["-m", "SOLVER.BASE_LR=1,2"], "train", ["-m", "SOLVER.BASE_LR=1,2"]),
        (["--cfg", "job"], "train", ["--cfg", "job"]),
        (["~dataset"], "train", ["~dataset"]),
        (["train", "--help"], "train", ["--help"]),
        (["plan", "device=cpu"], "plan", ["device=cpu"]),
        (["SOLVER.BASE_LR", "0.1"], "train", ["SOLVER.BASE_LR", "0.1"]),
    ],
)
def test_a_leading_word_is_the_command_and_train_is_the_default(arguments: list[str], command: str, rest: list[str]):
    assert split_command(arguments) == (command, rest)


def test_a_mistyped_command_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]):
    assert main(["docter"]) == ExitCode.request_wrong

    assert capsys.readouterr().err == "error: unknown command 'docter'\nhint: did you mean 'doctor'?\n"


@pytest.mark.parametrize("asking", ["--help", "-h", "help"])
def test_help_names_every_command(asking: str, capsys: pytest.CaptureFixture[str]):
    assert main([asking]) == ExitCode.finished

    printed = capsys.readouterr().out
    assert all(re.search(rf"^  {name} ", printed, re.MULTILINE) for name in COMMANDS)
    assert max(map(len, printed.splitlines())) <= 80


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_of_the_table_is_a_module_that_runs(name: str):
    assert callable(import_module(f"launcher.cli.{name}").run)


def test_a_reader_that_goes_away_is_no_failure(monkeypatch: pytest.MonkeyPatch):
    gone = io.StringIO()
    gone.write = _nobody_reads  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stdout", gone)

    assert main(["explain"]) == ExitCode.finished


def test_a_closed_standard_output_is_no_failure(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stdout", None)

    assert main(["--version"]) == ExitCode.finished


def _nobody_reads(_: str) -> int:
    raise BrokenPipeError


def test_a_current_folder_that_is_gone_is_a_sentence(tmp_path: Path, launcher_environment: dict[str, str]):
    command = f'mkdir gone && cd gone && rmdir ../gone && "{sys.executable}" -m launcher plan experiment=demo'
    done = subprocess.run(
        ["sh", "-c", command], cwd=tmp_path, env=launcher_environment, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (
        ExitCode.request_wrong,
        "error: The current folder has been deleted or moved. Change to one that is there: cd DIR.\n",
    )
