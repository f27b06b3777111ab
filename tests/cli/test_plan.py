"""`launcher plan` runs nothing that a file names, and says what it has left out."""

from __future__ import annotations

import os
from pathlib import Path

from launcher.cli import plan as plan_command
from tests.values import a_plan, keys_shown_in_plan

FILE = """# @package _global_
hydra:
  job: {env_set: {LEFT: '1', MORE: '2'}}
  callbacks: {mine: {_target_: os.mkdir, path: made}}
"""


def test_what_a_plan_does_not_apply_is_a_notice(tmp_path: Path, monkeypatch, capsys):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(FILE)
    made = a_plan(dict.fromkeys(("DATASETS", "SOLVER"), 1))
    monkeypatch.setattr(plan_command, "prepare", lambda *_: type("Made", (), {"plan": made}))
    words = ["experiment=mine", "DATASETS.TRAIN=[a]", "+hydra.job.env_set.HAND=1", "--config-dir", str(tmp_path)]

    plan_command.run([*words, "--json"])

    printed = capsys.readouterr().out
    file = tmp_path / "experiment" / "mine.yaml"
    assert f"hydra.job.env_set in {file} is not applied here, launcher train applies it" in printed
    assert f"hydra.callbacks.mine in {file} is not applied here" in printed
    assert "hydra.job.env_set.HAND on the command line is not applied here" in printed
    assert printed.count("is not applied here") == 3
    assert "LEFT" not in os.environ


def test_a_quiet_training_has_a_plan_to_be_looked_at(monkeypatch, capsys):
    made = a_plan(keys_shown_in_plan())
    monkeypatch.setattr(plan_command, "prepare", lambda *_: type("Made", (), {"plan": made}))

    plan_command.run(["DATASETS.TRAIN=[a]", "logging=quiet"])

    assert "  SOLVER.MAX_ITER = 10\n" in capsys.readouterr().out
