"""Jobs under a real Slurm: what is submitted, what is refused, and which of them are requeued."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.cluster.disturbances import preempt
from tests.cluster.real_slurm import Slurm, Submitted
from tests.exact import weights_in

pytestmark = [pytest.mark.slow, pytest.mark.cluster]

Submit = Callable[..., Submitted]


@pytest.mark.minutes
@pytest.mark.timeout(1800)
def test_a_run_that_progresses_is_requeued_more_often_than_one_that_does_not(
    slurm: Slurm, submit: Submit, undisturbed: str
):
    run = submit("often", slow_s=3)

    for attempt in range(1, 11):
        run.wait_for_iteration(run.iterations + 1, attempt)
        preempt(slurm, run)
        slurm.wait_until_requeued(run.job, attempt)
        slurm.lift(run.job)

    assert slurm.ended(run.job) == "COMPLETED", run.output
    assert run.ends() == ["stopped"] * 10 + ["finished"]
    assert weights_in(run.paths.final_weights) == undisturbed


@pytest.mark.timeout(600)
def test_a_job_that_never_gets_anywhere_ends_after_three_starts(slurm: Slurm, submit: Submit):
    run = submit("nowhere", 'cluster.preamble=["(sleep 1; scancel -s USR1 $SLURM_JOB_ID) &"]')

    assert slurm.ended(run.job) == "FAILED"
    assert slurm.field(run.job, "Restarts") == "2"
    assert "3 starts in a row brought no new checkpoint, so the job ends" in run.output


@pytest.mark.timeout(600)
def test_a_run_that_fails_for_a_reason_of_its_own_is_not_requeued(slurm: Slurm, submit: Submit):
    """GPUs that Slurm allocates and CUDA does not find, and a loss that is NaN."""
    without_gpus = submit("no_gpus", "device=auto", "cluster.gpus_per_node=1")
    diverging = submit("diverging", "SOLVER.BASE_LR=1e9", "SOLVER.WARMUP_ITERS=0", slow_s=0)

    for run, code in ((without_gpus, "4:0"), (diverging, "1:0")):
        assert slurm.ended(run.job) == "FAILED", run.output
        assert (slurm.field(run.job, "ExitCode"), slurm.field(run.job, "Restarts")) == (code, "0"), run.output


@pytest.mark.timeout(600)
def test_what_is_edited_while_the_job_waits_changes_nothing_or_is_named(slurm: Slurm, submit: Submit, undisturbed: str):
    """A configuration file is frozen, code is named, and a copy of the code makes even that impossible."""
    mine = slurm.here / "mine/solver/mine.yaml"
    mine.parent.mkdir(parents=True)
    mine.write_text("# @package _global_\nSOLVER:\n  BASE_LR: 0.001\n")
    code = slurm.here / "own.py"
    code.write_text("def install(_):\n    pass\n")
    held = ("--config-dir", "mine", "solver=mine", "cluster.options=[--hold]")
    extensions = "config_extensions=[tests.cluster.slow:install,own:install]"
    live = submit("live", *held, extensions, slow_s=0)
    copied = submit("copied", *held, extensions, "cluster.code=snapshot", slow_s=0)

    mine.write_text("# @package _global_\nSOLVER:\n  BASE_LR: 0.7\n")
    code.write_text("def install(_):\n    print('edited code')\n")
    for run in (live, copied):
        slurm.run("scontrol", "release", run.job)

    for run in (live, copied):
        assert slurm.ended(run.job) == "COMPLETED", run.output
        assert weights_in(run.paths.final_weights) == undisturbed
    assert f"note: the code is not as it was submitted; edited: {code}" in live.output
    assert "not as it was submitted" not in copied.output
    assert "edited code" not in (copied.paths.attempt(1).log(0)).read_text() + copied.output


def test_a_waiting_job_is_shown_refused_twice_and_cancelled(slurm: Slurm, submit: Submit, settings: tuple[str, ...]):
    run = submit("waiting", "cluster.options=[--hold]")
    folder = str(run.paths.folder)

    assert "queued" in slurm.launcher("runs", "runs", "--state", "queued")
    status = slurm.launcher("status", folder)
    assert f"job         {run.job}, PENDING (JobHeldUser)" in status
    again = slurm.launcher("submit", *settings, "run.name=waiting", "cluster=slurm", check=False)
    assert f"is queued already, as job {run.job}" in again
    slurm.launcher("cancel", folder)

    assert slurm.ended(run.job) == "CANCELLED"
    assert "waiting: planned" in slurm.launcher("status", folder)


def test_no_variable_of_the_shell_changes_what_the_script_sets(slurm: Slurm, submit: Submit):
    shell = {
        "SBATCH_ARRAY_INX": "7", "SBATCH_NO_REQUEUE": "1", "SBATCH_TIMELIMIT": "1", "SBATCH_SIGNAL": "9@1",
        "SBATCH_OUTPUT": "elsewhere", "SBATCH_ERROR": "elsewhere", "SBATCH_OPEN_MODE": "truncate",
        "SBATCH_CPUS_PER_GPU": "1", "SBATCH_MEM_PER_NODE": "100M", "SBATCH_PARTITION": "urgent",
    }  # fmt: skip
    run = submit("shell", "cluster.options=[--hold]", "cluster.time=10", **shell)

    found = {name: slurm.field(run.job, name) for name in ("Requeue", "TimeLimit", "StdOut", "StdErr")}
    output = f"{run.paths.folder}/cluster/slurm-{run.job}.out"
    assert found == {"Requeue": "1", "TimeLimit": "00:10:00", "StdOut": output, "StdErr": output}
    assert slurm.field(run.job, "ArrayTaskId") == ""
    assert (slurm.field(run.job, "Partition"), slurm.field(run.job, "MinMemoryNode")) == ("urgent", "100M")
    slurm.run("scancel", run.job)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("cluster.partition=nowhere", "invalid partition specified: nowhere"),
        ("cluster.nodes=4", "cannot be shared equally by 4 processes on 4 nodes"),
    ],
)
def test_what_slurm_or_we_do_not_take_is_refused_before_anything_waits(
    slurm: Slurm, settings: tuple[str, ...], setting: str, words: str
):
    said = slurm.launcher("submit", *settings, "run.name=refused", "cluster=slurm", setting, check=False)

    assert words in said
    assert "refused" not in slurm.run("squeue", "--noheader", "-o", "%j")


def test_the_printed_script_is_the_same_job(slurm: Slurm, settings: tuple[str, ...]):
    asked = (*settings, "run.name=printed", "cluster=slurm", "cluster.options=[--hold]")
    script = slurm.launcher("submit", "--print", *asked)

    file = slurm.here / "printed.sh"
    file.write_text(script)
    job = slurm.run("bash", "-c", f"sbatch --parsable < {file}").strip()

    assert slurm.field(job, "JobName").endswith("/printed")
    (folder,) = (slurm.here / "runs").glob("*/printed")
    assert script == (folder / "cluster/job.sh").read_text()
    slurm.run("scancel", job)
