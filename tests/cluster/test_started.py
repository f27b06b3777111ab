"""The start of a submitted job: an earlier start of the same job is ended, edited code is named."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.cluster.code import CodeState, code_state
from launcher.cluster.started import begin_in_job
from launcher.config.values import write_json
from launcher.run.attempts import Started
from launcher.run.holder import holder_of
from launcher.run.paths import RunPaths
from launcher.run.submission import Submission
from tests.conftest import REPOSITORY

HOLDS = """
import sys, time
from pathlib import Path
from launcher.launch.folder_lock import lock_folder

with lock_folder(Path(sys.argv[1])):
    print("holds", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that trains in the folder `run`, as far as can be seen, for job 17."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", HOLDS, str(tmp_path / "run")]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        started = Started(
            at=time.time(),
            host=socket.gethostname(),
            process=process.pid,
            iterations=9,
            device="cpu",
            scheduler="slurm",
            job_id="17",
        )
        write_json(RunPaths(tmp_path / "run").attempt(1).started, started)
        yield process
        process.kill()


def test_an_earlier_start_of_the_same_job_is_asked_to_stop_and_waited_for(
    tmp_path: Path, holder: subprocess.Popen[str]
):
    said: list[str] = []

    begin_in_job(tmp_path / "run", tmp_path, {"SLURM_JOB_ID": "17"}, said.append)

    assert holder.wait(60) == -signal.SIGTERM
    assert holder_of(tmp_path / "run") is None
    assert said == [f"note: process {holder.pid} of an earlier start of job 17 still trains here; ending it"]


@pytest.mark.parametrize("environ", [{"SLURM_JOB_ID": "18"}, {}], ids=["another job", "no job"])
def test_whoever_else_trains_in_the_folder_is_left_alone(
    tmp_path: Path, holder: subprocess.Popen[str], environ: dict[str, str]
):
    begin_in_job(tmp_path / "run", tmp_path, environ, pytest.fail)

    assert holder.poll() is None
    assert holder_of(tmp_path / "run") is not None


@pytest.mark.parametrize(
    ("job", "is_named"), [("17", True), ("18", False)], ids=["the submitted job", "another allocation"]
)
def test_code_that_was_edited_since_the_submission_is_named_in_the_submitted_job(
    tmp_path: Path, job: str, is_named: bool
):
    paths, file, said = RunPaths(tmp_path / "run"), tmp_path / "own.py", []
    file.touch()
    before = code_state(tmp_path)
    write_json(paths.job_code, CodeState(commit=before.commit, files={**before.files, str(file): "another"}))
    write_json(paths.submission, Submission(scheduler="slurm", job_id="17", at=0.0, attempts=0))

    begin_in_job(paths.folder, tmp_path, {"SLURM_JOB_ID": job}, said.append)

    expected = f"note: the code is not as it was submitted; edited: {file}. cluster.code=snapshot prevents this"
    assert said == ([expected] if is_named else [])
