"""`launcher tensorboard`, with TensorBoard itself."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from launcher.cli.main import main
from launcher.cli.tensorboard import _sorted_words
from launcher.errors import ExitCode

SummaryWriter = pytest.importorskip("torch.utils.tensorboard").SummaryWriter


def test_help_names_the_command_that_shows_a_run(capsys: pytest.CaptureFixture[str]):
    assert main(["tensorboard", "--help"]) == ExitCode.finished

    assert "launcher tensorboard demo/default" in capsys.readouterr().out


@pytest.mark.parametrize(("asked", "answer"), [([], "hint: name a run or a folder"), (["nothing"], "nothing")])
def test_without_such_a_run_or_folder_there_is_a_sentence(
    asked: list[str], answer: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)

    assert main(["tensorboard", *asked]) == ExitCode.request_wrong

    assert answer in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "asked", "own"),
    [
        ("", "", ""),
        ("a b --port=1", "a b", "--port=1"),
        ("--port=1 a", "a", "--port=1"),
        ("--port 1 a", "a", "--port 1"),
    ],
)
def test_options_are_tensorboards_wherever_they_stand(words: str, asked: str, own: str):
    assert _sorted_words(words.split()) == (asked.split(), own.split())


def test_runs_are_shown_by_their_names_behind_a_link_without_smoothing(
    tmp_path: Path, launcher_environment: dict[str, str]
):
    for name in ("demo/default", "demo/sweep/lr=0.1,b=2"):
        (tmp_path / "outputs" / name / "attempts").mkdir(parents=True)
        with SummaryWriter(str(tmp_path / "outputs" / name / "tensorboard")) as writer:
            writer.add_scalar("1 overview/loss", 1.0, 1)
    command = [sys.executable, "-m", "launcher", "tensorboard", "--port=0"]

    with subprocess.Popen(
        command, cwd=tmp_path, env=launcher_environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as opened:
        assert opened.stderr is not None
        line = next(line for line in opened.stderr if line.startswith("TensorBoard"))
        try:
            runs = _runs_at(line)
        finally:
            opened.send_signal(signal.SIGTERM)
        printed = opened.stderr.read()

    assert line.endswith("/?smoothing=0#timeseries   (Ctrl-C ends it)\n")
    assert runs == ["demo/default", "demo/sweep/lr=0.1,b=2"]
    assert opened.returncode == 128 + signal.SIGTERM
    assert "Traceback" not in printed


def _runs_at(line: str) -> list[str]:
    found = re.search(r"http://127\.0\.0\.1:\d+", line)
    assert found is not None, line
    for _ in range(60):  # it reads the files in the background
        with urllib.request.urlopen(f"{found[0]}/data/runs", timeout=60) as answer:
            if runs := json.load(answer):
                return sorted(runs)
        time.sleep(0.5)
    return []
