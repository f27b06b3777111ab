"""One job on two nodes with two processes each, under a real Slurm, disturbed in many ways."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from launcher.run.paths import RunPaths
from tests.cluster.conftest import ITERATIONS
from tests.cluster.real_slurm import Slurm, Submitted, wait_for
from tests.cluster.test_on_slurm import (
    end_after,
    kill_launcher,
    outlive_controller,
    preempt,
    requeue,
    user_signal,
)
from tests.exact import weights_in

pytestmark = [pytest.mark.slow, pytest.mark.cluster]

Submit = Callable[..., Submitted]
BATCH = ("SOLVER.IMS_PER_BATCH=4",)


@pytest.fixture
def submit_to_two(submit: Submit) -> Submit:
    def run(name: str, *more: str, **environ: object) -> Submitted:
        return submit(f"two_{name}", *BATCH, "device.count=2", "cluster.nodes=2", *more, **environ)

    return run


@pytest.fixture(scope="session")
def undisturbed_four(slurm: Slurm, settings: tuple[str, ...]) -> str:
    """The weights of four processes on one host, without Slurm and without a disturbance."""
    slurm.launcher("train", *settings, *BATCH, "device.count=4", "run.name=undisturbed_four")
    (folder,) = (slurm.here / "runs").glob("*/undisturbed_four")
    return weights_in(RunPaths(folder).final_weights)


def processes_on(node: int, slurm: Slurm, job: str, words: str) -> Iterator[int]:
    """Of a job on its first, second, … node: those whose command line has these words."""
    # Another Slurm on this machine has jobs with the same numbers.
    ours = {f"SLURM_CONF={slurm.state}/slurm.conf", f"SLURM_JOB_ID={job}", f"SLURM_NODEID={node}"}
    for process in filter(str.isdecimal, os.listdir("/proc")):
        try:
            environ = Path("/proc", process, "environ").read_bytes().split(b"\0")
            command = Path("/proc", process, "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if {os.fsencode(variable) for variable in ours} <= set(environ) and words in command:
            yield int(process)


def kill_second_launcher(slurm: Slurm, run: Submitted) -> None:
    os.kill(next(processes_on(1, slurm, run.job, "-m launcher resume")), signal.SIGKILL)


def lose_second_node(slurm: Slurm, run: Submitted) -> None:
    nodes = slurm.run("scontrol", "show", "hostnames", slurm.field(run.job, "NodeList")).split()
    slurm.kill_daemon(f"slurmd.{nodes[1]}")


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "disturb", [preempt, user_signal, requeue, kill_launcher, kill_second_launcher, lose_second_node]
)
def test_a_disturbed_job_on_two_nodes_is_requeued_and_ends_with_the_same_weights(
    slurm: Slurm, submit_to_two: Submit, undisturbed_four: str, disturb: Callable[[Slurm, Submitted], None]
):
    run = submit_to_two(disturb.__name__, slow_s=3 if disturb is lose_second_node else 0.5)

    end_after(disturb, slurm, run)

    assert (run.ends()[-1], len(run.ends())) == ("finished", 2)
    assert run.iterations == ITERATIONS
    assert weights_in(run.paths.final_weights) == undisturbed_four


@pytest.mark.timeout(900)
def test_a_killed_rank_of_the_second_node_is_retried_on_the_same_nodes(
    slurm: Slurm, submit_to_two: Submit, undisturbed_four: str
):
    run = submit_to_two("killed_rank")
    run.wait_for_iteration(5)

    os.kill(next(processes_on(1, slurm, run.job, "spawn_main")), signal.SIGKILL)

    assert slurm.ended(run.job) == "COMPLETED", run.output
    assert (run.ends(), slurm.field(run.job, "Restarts")) == (["killed", "finished"], "0")
    assert "rank 2 was killed (SIGKILL)" in run.output or "rank 3 was killed (SIGKILL)" in run.output
    assert weights_in(run.paths.final_weights) == undisturbed_four


@pytest.mark.timeout(900)
def test_a_cancelled_job_on_two_nodes_stops_as_one_and_can_be_resumed_on_one(
    slurm: Slurm, submit_to_two: Submit, undisturbed_four: str
):
    run = submit_to_two("cancelled")
    run.wait_for_iteration(5)

    slurm.launcher("cancel", str(run.paths.folder), "--root", "runs")
    assert slurm.ended(run.job) == "CANCELLED"
    slurm.launcher("resume", str(run.paths.folder), "device.count=4")

    assert (run.ends(), slurm.field(run.job, "Restarts")) == (["stopped", "finished"], "0")
    assert weights_in(run.paths.final_weights) == undisturbed_four


@pytest.mark.timeout(900)
def test_a_job_on_two_nodes_stops_before_its_time_limit_and_is_requeued(
    slurm: Slurm, submit_to_two: Submit, undisturbed_four: str
):
    run = submit_to_two("time_limit", "cluster.time=4:00", "cluster.signal_s=45", slow_s=12)

    assert slurm.ended(run.job) == "COMPLETED", run.output
    assert run.ends()[0] == "stopped"
    assert int(slurm.field(run.job, "Restarts")) >= 1
    assert weights_in(run.paths.final_weights) == undisturbed_four


@pytest.mark.timeout(900)
def test_a_job_on_two_nodes_outlives_the_controller(slurm: Slurm, submit_to_two: Submit, undisturbed_four: str):
    run = submit_to_two("controller")

    outlive_controller(slurm, run)

    assert slurm.ended(run.job) == "COMPLETED", run.output
    assert weights_in(run.paths.final_weights) == undisturbed_four


@pytest.mark.timeout(600)
def test_a_job_on_two_nodes_that_fails_for_a_reason_of_its_own_is_not_requeued(slurm: Slurm, submit: Submit):
    """However the launchers' ends follow each other: srun ends all of them once one has ended with an error."""
    asked = (*BATCH, "device=auto", "cluster.nodes=2", "cluster.gpus_per_node=1")
    for number in range(4):
        run = submit(f"two_no_gpus{number}", *asked)

        assert slurm.ended(run.job) == "FAILED", run.output
        assert (slurm.field(run.job, "ExitCode"), slurm.field(run.job, "Restarts")) == ("4:0", "0"), run.output


def by_hand(slurm: Slurm, name: str, *lines: str) -> tuple[str, str]:
    """The state of a batch script of these lines on two nodes, and what it printed."""
    script, output = slurm.here / f"{name}.sh", slurm.here / f"{name}.out"
    head = ("#!/bin/bash", f"#SBATCH --output={output}", "#SBATCH --nodes=2 --ntasks-per-node=2 --no-requeue")
    script.write_text("\n".join([*head, *lines, ""]))
    job = slurm.run("sbatch", "--parsable", str(script)).strip()
    wait_for(lambda: slurm.field(job, "JobState") in ("COMPLETED", "FAILED"))
    return slurm.field(job, "ExitCode"), output.read_text()


def test_a_folder_that_the_nodes_do_not_share_is_noticed_before_training(slurm: Slurm, settings: tuple[str, ...]):
    typed = " ".join(f"'{setting}'" for setting in settings)
    (slurm.here / "local.sh").write_text(
        f'mkdir -p "$SLURMD_NODENAME" && cd "$SLURMD_NODENAME" && exec {sys.executable} -m launcher train {typed} '
        "run.name=apart device.nodes_patience_s=3"
    )

    code, said = by_hand(slurm, "apart", "srun --nodes=2 --ntasks=2 --ntasks-per-node=1 bash local.sh")

    assert code == "75:0", said
    assert "1 of 2 nodes did not come to" in said or "has heard nothing of the first node, n1" in said
    assert not list(slurm.here.glob("n*/runs/*/apart/attempts"))


def test_one_task_for_each_process_is_answered_with_one_for_each_node(slurm: Slurm, settings: tuple[str, ...]):
    typed = " ".join(f"'{setting}'" for setting in settings)

    code, said = by_hand(
        slurm, "ranks", f"srun --nodes=2 --ntasks=4 {sys.executable} -m launcher train {typed} run.name=ranks"
    )

    assert code == "2:0", said
    assert "srun --nodes=2 --ntasks-per-node=1 --kill-on-bad-exit=1 launcher train ... device.count=2" in said


def test_a_node_with_other_devices_is_named_and_the_job_can_be_resumed(slurm: Slurm, settings: tuple[str, ...]):
    typed = " ".join(f"'{setting}'" for setting in (*settings, *BATCH, "run.name=unlike"))
    command = f"exec {sys.executable} -m launcher train {typed} device.count=$((1 + SLURM_NODEID))"
    (slurm.here / "count.sh").write_text(command)

    code, said = by_hand(slurm, "unlike", "srun --nodes=2 --ntasks=2 --ntasks-per-node=1 bash count.sh")

    assert code == "75:0", said
    assert "n2: 2 processes on the CPU here, 1 process on the CPU on the first node" in said
