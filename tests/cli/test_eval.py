from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from launcher.cli.eval import _parser
from launcher.cli.inference import sort_words
from launcher.files import write_text
from tests.conftest import REPOSITORY

COMMANDS = re.findall(r"^launcher eval (.*)$", (REPOSITORY / "docs/evaluate.md").read_text(), re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_documented_commands_are_understood(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for name in ("default", "longer"):
        write_text(tmp_path / "outputs/demo" / name / "request.yaml", "")

    asked, rest = _parser().parse_known_args(shlex.split(command))
    words = sort_words(rest, command="eval")

    assert asked.compare == ("--compare" in command)
    assert words.others == (("demo/longer",) if asked.compare else ())
    assert words.run == ("" if "model=" in command else str(tmp_path / "outputs/demo/default"))
    assert all("=" in setting for setting in words.settings)


def test_there_are_documented_commands():
    assert len(COMMANDS) >= 6
