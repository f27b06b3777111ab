"""Values that do harm where somebody forgets to quote them, under a real Slurm: each arrives as it was typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.cluster.script import batch_script
from launcher.config.request import ClusterSettings
from tests.cluster.hostile import STRINGS
from tests.cluster.jobs import a_job
from tests.cluster.real_slurm import Slurm

pytestmark = pytest.mark.cluster

LAUNCHER = """#!/bin/bash
printf '%s\\0' "$PWD" "$@" > "$SEEN"
mkdir -p "$3/attempts/1" && printf '{\\n  "exit_code": 0,\\n}\\n' > "$3/attempts/1/outcome.json"
"""


@pytest.mark.parametrize("text", STRINGS)
def test_a_hostile_value_arrives_as_it_was_typed(slurm: Slurm, tmp_path: Path, text: str):
    """As the name of the run, its folder, the folder of the command, the account, a comment, and code's place."""
    run = tmp_path / f"run {text}"
    (run / "cluster").mkdir(parents=True)
    (run / "request.yaml").touch()
    launcher, script, seen = tmp_path / "launcher", tmp_path / "job.sh", tmp_path / "seen"
    launcher.write_text(LAUNCHER)
    launcher.chmod(0o755)
    asked = ClusterSettings(account=text, options=[f"--comment={text}", "--nice=0"])
    job = a_job(run, name=text, asked=asked, command=(str(launcher), text), python_path=(f"/code/{text}",))
    script.write_text(batch_script(job))

    number = slurm.run("sbatch", "--parsable", str(script), SEEN=str(seen)).strip()

    assert slurm.ended(number) == "COMPLETED", [file.read_text() for file in run.glob("cluster/*.out")]
    assert seen.read_text().split("\0")[:-1] == [str(run), text, "resume", str(run)]
    shown = slurm.run("scontrol", "-o", "show", "job", number)
    assert f"JobName={text} UserId" in shown
    assert f"Account={text.lower()} QOS" in shown.replace(f"Account={text} ", f"Account={text.lower()} ")
    assert f"Comment={text} " in shown
    assert f"WorkDir={run} " in shown
    assert (run / f"cluster/slurm-{number}.out").exists()
    assert not [*tmp_path.rglob("pwned*"), *slurm.here.glob("pwned*")]
