"""What a run says of itself in TensorBoard."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from launcher.config.adjustment import Adjustment
from launcher.config.values import write_json
from launcher.run.plan import Report, RunPlan
from launcher.train.output.texts import as_code, texts_of
from tests.device.recorded import NO_GPU
from tests.values import a_plan, keys_shown_in_plan


def planned_in(folder: Path) -> RunPlan:
    adjusted = Adjustment(setting="SOLVER.AMP.ENABLED", asked=True, planned=False, reason="it is slower here")
    report = Report(adjustments=(adjusted,), warnings=(), notices=("one note",), changed=())
    return a_plan(keys_shown_in_plan(), folder=str(folder), report=report)


def test_the_text_is_the_command_the_plan_as_printed_and_the_verdict(tmp_path: Path):
    plan = planned_in(tmp_path)
    plan.attempt_paths.folder.mkdir(parents=True)
    plan.paths.request.write_text(yaml.safe_dump({"command": "launcher train experiment=demo"}))
    write_json(plan.attempt_paths.facts, NO_GPU)

    texts = texts_of(plan)

    assert list(texts) == ["1 command", "2 plan", "3 doctor"]
    assert texts["1 command"] == "```\nlauncher train experiment=demo\n```"
    assert "device: cpu (asked auto): no NVIDIA GPU in this machine\n" in texts["2 plan"]
    assert "note: one note\n" in texts["2 plan"]
    assert "SOLVER.MAX_ITER = 10\n" in texts["2 plan"]
    assert "no NVIDIA GPU" in texts["3 doctor"]
    assert "\x1b" not in "".join(texts.values())


def test_what_cannot_be_read_is_left_out(tmp_path: Path):
    texts = texts_of(planned_in(tmp_path))

    assert list(texts) == ["1 command", "2 plan"]
    assert texts["1 command"] == "```\n\n```"


@pytest.mark.parametrize(("text", "fence"), [("a", "```"), ("a ```` b", "`````")])
def test_every_character_is_shown_as_it_is(text: str, fence: str):
    assert as_code(text, "yaml") == f"{fence}yaml\n{text}\n{fence}"


def test_a_long_command_is_in_lines_that_a_shell_takes_as_one(tmp_path: Path):
    words = ["launcher", "train", *(f"SETTING_{number}='a b'" for number in range(12))]
    command = shlex.join(words)
    (tmp_path / "request.yaml").write_text(yaml.safe_dump({"command": command}))

    text = texts_of(planned_in(tmp_path))["1 command"].strip("`\n")

    assert max(map(len, text.splitlines())) < 110
    assert len(text.splitlines()) > 1
    script = f"set -- {text}\nprintf '%s\\n' \"$@\""
    assert subprocess.check_output(["sh", "-c", script], text=True).splitlines() == words
