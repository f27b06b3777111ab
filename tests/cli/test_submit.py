"""`launcher submit` without a Slurm: what is refused before anything is submitted, and what is printed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from launcher.cli.main import main
from launcher.config.values import write_json
from launcher.run.outcome import Ending, Outcome, Work
from launcher.run.paths import RunPaths
from launcher.run.submission import Submission

Submit = Callable[..., int]


@pytest.fixture
def submit(demo_settings: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Submit:
    """`launcher submit` of a small run in a folder of its own, with a PATH that has no Slurm."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    def run(*more: str) -> int:
        return main(["submit", *demo_settings, "cluster=slurm", "device=cpu", "run.name=r", *more])

    return run


def fake(folder: Path, **commands: str) -> None:
    """Commands, all that there are."""
    (folder / "bin").mkdir()
    for name, does in commands.items():
        file = folder / "bin" / name
        file.write_text(f"#!/bin/sh\n{does}\n")
        file.chmod(0o755)


def the_run(folder: Path) -> RunPaths:
    (found,) = (folder / "outputs").glob("*/r")
    return RunPaths(found)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["cluster.nodes=2", "SOLVER.IMS_PER_BATCH=3"], "cluster.nodes=2: "),
        (["cluster.gpus_per_node=1"], "cluster.gpus_per_node=1 asks for GPUs, but device=cpu"),
        (["cluster.time=soon"], "cluster.time=soon is not a time"),
        (["cluster.time=1:00", "cluster.signal_s=90"], "would have to stop and save 90 s before the end"),
        (["cluster.options=[exclusive]"], "'exclusive' is no option of sbatch. Write it as --NAME=VALUE"),
        (["cluster.nodes=0"], "cluster.nodes=0: must be >= 1"),
        (["cluster.partion=gpu"], "cluster.partition"),
        (["-m", "SEED=1,2"], "launcher submit takes one run, not a sweep"),
        (["SOLVER.BASE_LR=-1"], "SOLVER.BASE_LR=-1"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_written(
    submit: Submit, capsys: pytest.CaptureFixture[str], tmp_path: Path, settings: list[str], words: str
):
    assert submit(*settings) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "outputs").exists()


def test_wrong_data_and_a_wrong_job_are_named_together(submit: Submit, capsys: pytest.CaptureFixture[str]):
    assert submit("cluster.time=soon", "dataset.train.json=nowhere.json") == 2

    said = capsys.readouterr().err
    assert "cluster.time=soon" in said
    assert "nowhere.json" in said


def test_the_script_is_printed_without_slurm_and_the_run_is_frozen(
    submit: Submit, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    assert submit("--print", "cluster.time=2:00:00", "cluster.partition=gpu") == 0

    printed, run = capsys.readouterr(), the_run(tmp_path)
    assert printed.out == run.job_script.read_text()
    assert '#SBATCH --partition="gpu"' in printed.out
    assert "#SBATCH --time=0-02:00:00" in printed.out
    assert f"run={run.folder}" in printed.out
    assert str(run.folder) in printed.err
    frozen = yaml.safe_load(run.request.read_text())
    assert frozen["cluster"]["partition"] == "gpu"
    assert frozen["working_directory"] == str(tmp_path)
    assert not run.submission.exists()


def test_without_sbatch_it_says_where_the_script_is(submit: Submit, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    assert submit() == 2
    assert f"On a host of the cluster: sbatch {the_run(tmp_path).job_script}" in capsys.readouterr().err


def test_a_refusal_is_in_the_schedulers_words_and_leaves_nothing_queued(
    submit: Submit, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    fake(tmp_path, sbatch="echo 'sbatch: error: Batch job submission failed: Invalid account' >&2; exit 1", squeue="")

    assert submit() == 1
    said = capsys.readouterr().err
    assert "Slurm refuses the job: Batch job submission failed: Invalid account" in said
    assert "nothing was submitted" in said
    assert not the_run(tmp_path).submission.exists()


@pytest.mark.parametrize(
    ("squeue", "words"),
    [
        (
            "echo '7|PENDING|Priority|'$(echo $PWD/outputs/*/r)",
            "Slurm has its job nevertheless, 7: leave it",
        ),
        ("echo '7|PENDING|Priority|/elsewhere'", "nothing was submitted"),
        ("exit 1", "squeue does not answer, so nobody knows whether Slurm has its job. Once it answers, type"),
    ],
)
def test_a_refusal_says_what_is_known_of_a_job_that_slurm_may_have_taken(
    submit: Submit, capsys: pytest.CaptureFixture[str], tmp_path: Path, squeue: str, words: str
):
    fake(tmp_path, sbatch="echo 'sbatch: error: Socket timed out on send/recv operation' >&2; exit 1", squeue=squeue)

    assert submit() == 1

    assert words in capsys.readouterr().err


def test_a_submitted_run_says_its_id_its_folder_and_how_to_watch_it(
    submit: Submit, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    fake(tmp_path, sbatch="echo 4711")

    assert submit() == 0
    said, run = capsys.readouterr().out, the_run(tmp_path)
    assert "submitted as job 4711" in said
    assert str(run.folder) in said
    name = f"{run.folder.parent.name}/r"
    assert f"launcher status {name} --follow" in said
    assert json.loads(run.submission.read_text())["job_id"] == "4711"
    capsys.readouterr()
    assert submit() == 2
    assert f"{name} is queued already, as job 4711. Watch it: launcher status {name}" in capsys.readouterr().err


def test_a_finished_run_is_not_submitted(submit: Submit, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    assert submit("--print") == 0
    run = the_run(tmp_path)
    outcome = Outcome(
        ending=Ending.finished, exit_code=0, code="", explanation="", seconds=1.0, work=Work.of(6), fault=None
    )
    write_json(run.attempt(1).outcome, outcome)
    write_json(run.attempt(1).plan, {"identity": yaml.safe_load(run.request.read_text())["identity"]})
    write_json(run.submission, Submission(scheduler="slurm", job_id="1", at=0.0, attempts=0))
    capsys.readouterr()

    assert submit() == 0
    assert "nothing to submit" in capsys.readouterr().err


def test_submitting_imports_no_torch(
    demo_settings: tuple[str, ...], launcher_environment: dict[str, str], tmp_path: Path
):
    arguments = ["submit", "--print", *demo_settings, "device=cpu"]
    code = f"import sys; from launcher.cli.main import main; print(main({arguments}), 'torch' in sys.modules)"

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=launcher_environment, capture_output=True, text=True, check=True
    )

    assert done.stdout.endswith("0 False\n")
