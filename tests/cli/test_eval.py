from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from launcher.cli.eval import _parser
from launcher.cli.inference import sort_words
from launcher.files import write_text
from tests.documents import shown_in

COMMANDS = [command.text.removeprefix("launcher eval ") for command in shown_in("docs/evaluate.md").commands]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_documented_commands_are_understood(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for name in ("demo/default", "demo/longer", "coco/default"):
        write_text(tmp_path / "outputs" / name / "request.yaml", "")

    asked, rest = _parser().parse_known_args(shlex.split(command))
    words = sort_words(rest, command="eval")

    assert asked.compare == ("--compare" in command)
    assert words.others == (("demo/longer",) if asked.compare else ())
    assert words.run == ("" if "model=" in command else str(tmp_path / "outputs" / command.split()[0]))
    assert all("=" in setting for setting in words.settings)


def test_there_are_documented_commands():
    assert len(COMMANDS) >= 6
