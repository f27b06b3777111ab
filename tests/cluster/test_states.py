"""The state of a run that was submitted, by its own record and what the scheduler says: squeue and sacct pretend."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from launcher.cluster import slurm
from launcher.cluster.slurm import JobState, RefusedError, look_at_jobs, submit
from launcher.cluster.states import status_with_job, with_jobs
from launcher.config.values import write_json
from launcher.errors import RequestError
from launcher.run.attempts import Started
from launcher.run.outcome import Ending, Outcome, Work
from launcher.run.paths import RunPaths
from launcher.run.status import look_at_status
from launcher.run.submission import Submission
from launcher.run.summary import RunSummary, State, summarize

PENDING, RUNNING = "17|PENDING|Priority", "17|RUNNING|None"
GONE = "error"


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of commands, which are all that there are."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def command(folder: Path, name: str, prints: str, *, status: int = 0, stream: int = 1) -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\necho \"$@\" >> {folder}/{name}.log\necho '{prints}' >&{stream}\nexit {status}\n")
    file.chmod(0o755)


def squeue(folder: Path, prints: str) -> None:
    """A queue with a job of the run that `a_run` makes."""
    if prints == GONE:
        command(folder, "squeue", "slurm_load_jobs error: Invalid job id specified", status=1, stream=2)
    else:
        command(folder, "squeue", f"{prints}|{folder.parent}/run")


def a_run(folder: Path, *ends: Ending | None, submitted_at: int = 0, host: str = "n7") -> RunSummary:
    """A run with one attempt for each end, None for one without an outcome, submitted after so many attempts."""
    paths = RunPaths(folder / "run")
    for number, ending in enumerate(ends, start=1):
        attempt = paths.attempt(number)
        started = Started(
            at=time.time(), host=host, process=1, iterations=9, device="cpu", scheduler="slurm", job_id="17"
        )
        write_json(attempt.started, started)
        attempt.heartbeat.write_text("1 3 training")
        if ending is not None:
            code = "run.diverged" if ending is Ending.failed else ""
            outcome = Outcome(
                ending=ending, exit_code=1, code=code, explanation="", seconds=1.0, work=Work.of(3), fault=None
            )
            write_json(attempt.outcome, outcome)
    paths.folder.mkdir(exist_ok=True)
    paths.request.touch()
    write_json(paths.submission, Submission(scheduler="slurm", job_id="17", at=time.time(), attempts=submitted_at))
    return summarize(paths.folder, time.time())


@pytest.mark.parametrize(
    ("ends", "queue", "state"),
    [
        ((), PENDING, State.queued),
        ((), RUNNING, State.queued),  # the launcher has not begun
        ((), GONE, State.planned),
        ((Ending.stopped,), PENDING, State.queued),  # requeued
        ((Ending.stopped,), RUNNING, State.stopped),
        ((Ending.stopped,), GONE, State.stopped),
        ((Ending.failed,), GONE, State.failed),
        ((Ending.finished,), PENDING, State.finished),
        ((None,), RUNNING, State.running),
        ((None,), GONE, State.failed),  # the node was lost, and the heartbeat is young
    ],
)
def test_the_record_counts_first_and_then_the_queue(
    tmp_path: Path, commands: Path, ends: tuple[Ending | None, ...], queue: str, state: State
):
    squeue(commands, queue)

    (run,) = with_jobs([a_run(tmp_path, *ends)], time.time())

    assert run.state is state
    assert run.job == "17"


def test_a_stopped_run_that_was_submitted_again_and_cancelled_is_stopped(tmp_path: Path, commands: Path):
    before = a_run(tmp_path, Ending.stopped, submitted_at=1)
    squeue(commands, GONE)

    assert before.state is State.queued
    assert with_jobs([before], time.time())[0].state is State.stopped


def test_a_job_of_another_run_that_has_the_same_number_is_not_the_runs(tmp_path: Path, commands: Path):
    """Slurm gives a number once more when its controller has lost it."""
    command(commands, "squeue", f"{PENDING}|{tmp_path}/another")

    assert with_jobs([a_run(tmp_path)], time.time())[0].state is State.planned


def test_where_the_scheduler_cannot_be_asked_the_record_counts(tmp_path: Path, commands: Path):
    run = a_run(tmp_path)

    assert with_jobs([run], time.time()) == [run]
    command(commands, "squeue", "Unable to contact slurm controller", status=1, stream=2)
    assert with_jobs([run], time.time()) == [run]


def test_nobody_is_asked_about_finished_runs(tmp_path: Path, commands: Path):
    squeue(commands, PENDING)

    with_jobs([a_run(tmp_path, Ending.finished)], time.time())

    assert not (commands / "squeue.log").exists()


def test_a_status_has_the_words_of_the_scheduler(tmp_path: Path, commands: Path):
    a_run(tmp_path)
    squeue(commands, PENDING)

    status = status_with_job(look_at_status(tmp_path / "run", time.time(), 0), time.time())

    assert (status.summary.state, status.job_state) == (State.queued, "PENDING (Priority)")


def test_a_job_that_slurm_could_not_launch_is_shown(tmp_path: Path, commands: Path):
    """As where the node does not have the run's folder, so that there is no output either."""
    a_run(tmp_path)
    squeue(commands, GONE)
    command(commands, "scontrol", "JobId=17 JobName=r UserId=0 JobState=FAILED Reason=JobLaunchFailure Requeue=1")

    status = status_with_job(look_at_status(tmp_path / "run", time.time(), 0), time.time())

    assert (status.summary.state, status.job_state) == (State.planned, "FAILED (JobLaunchFailure)")


def test_sacct_is_asked_about_what_the_queue_no_longer_has_and_does_not_revive_it(tmp_path: Path, commands: Path):
    squeue(commands, GONE)
    command(commands, "sacct", "17|PREEMPTED")

    assert look_at_jobs(["17"]) == {"17": JobState(state="PREEMPTED", reason="", in_queue=False, folder="")}
    assert with_jobs([a_run(tmp_path)], time.time())[0].state is State.planned
    assert "--parsable2" in (commands / "sacct.log").read_text()


@pytest.fixture
def script(tmp_path: Path) -> Path:
    file = tmp_path / "job.sh"
    file.write_text("#!/bin/bash\n#SBATCH --requeue\n#SBATCH --time=0-01:00:00\n")
    return file


def test_what_sbatch_says_is_said(script: Path, commands: Path):
    with pytest.raises(RequestError, match=rf"sbatch cannot be run here .*On a host of the cluster: sbatch {script};"):
        submit(script, print)

    command(commands, "sbatch", "sbatch: error: invalid partition specified: gpu", status=1, stream=2)
    with pytest.raises(RefusedError, match="Slurm refuses the job: invalid partition specified: gpu"):
        submit(script, print)


@pytest.mark.parametrize("printed", ["17", "17;cluster", "a message of the site\n17"])
def test_the_id_is_found_in_what_sbatch_prints(script: Path, commands: Path, printed: str):
    command(commands, "sbatch", printed)
    said: list[str] = []

    assert submit(script, said.append) == "17"
    assert said == []
    assert os.listdir(commands)


def test_sbatch_does_not_get_variables_that_win_over_the_script_and_gets_all_others(
    script: Path, commands: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("SBATCH_TIMELIMIT", "SBATCH_NO_REQUEUE", "SBATCH_ACCOUNT"):
        monkeypatch.setenv(name, "1")
    command(commands, "sbatch", "17")
    sbatch = commands / "sbatch"
    sbatch.write_text(sbatch.read_text().replace("\n", f"\n/usr/bin/env > {commands}/environ\n", 1))
    said: list[str] = []

    submit(script, said.append)

    lines = (commands / "environ").read_text().splitlines()
    assert [line for line in lines if line.startswith("SBATCH_")] == ["SBATCH_ACCOUNT=1"]
    assert said == [
        "note: sbatch goes by the batch script, and not by SBATCH_NO_REQUEUE, SBATCH_TIMELIMIT of this shell"
    ]


def test_that_sbatch_tries_for_a_while_is_said_in_its_words(
    script: Path, commands: Path, monkeypatch: pytest.MonkeyPatch
):
    full = "sbatch: error: Slurm job queue full, sleeping and retrying."
    command(commands, "sbatch", full, stream=2)
    sbatch = commands / "sbatch"
    sbatch.write_text(sbatch.read_text().replace("exit 0", "/bin/sleep 1.5\necho 17"))
    monkeypatch.setattr(slurm, "QUIET_S", 0.5)
    said: list[str] = []

    assert submit(script, said.append) == "17"

    assert said == [
        "Slurm has not answered yet (Slurm job queue full, sleeping and retrying.); sbatch may try for two minutes, "
        "and Ctrl-C ends it"
    ]


def test_a_scheduler_that_does_not_answer_is_not_waited_for_and_the_record_counts(tmp_path: Path, commands: Path):
    slow = commands / "squeue"
    slow.write_text("#!/bin/sh\nexec /bin/sleep 30\n")
    slow.chmod(0o755)
    run = a_run(tmp_path, Ending.stopped)

    began = time.monotonic()
    (found,) = with_jobs([run], time.time(), patience_s=0.3)

    assert time.monotonic() - began < 5
    assert found == run
