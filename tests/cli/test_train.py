"""`launcher train`: what belongs to another command."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.cli.main import main


@pytest.mark.parametrize("settings", [("cluster.nodes=2",), ("cluster=slurm", "cluster.time=24:00:00")])
def test_settings_of_a_job_are_answered_with_the_command_that_submits_it(
    settings: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)

    exit_code = main(["train", "experiment=demo", *settings])

    said = capsys.readouterr().err
    assert exit_code == 2
    assert f"{', '.join(settings)}: settings of cluster are those of a job" in said
    assert f"submit the job: launcher submit experiment=demo {' '.join(settings)}" in said
    assert not (tmp_path / "outputs").exists()
