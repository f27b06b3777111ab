"""Jobs on two nodes under a real Slurm that cannot train: which node, and why."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.run.paths import RunPaths
from tests.cluster.disturbances import TWO_NODES, processes_on
from tests.cluster.real_slurm import Slurm, Submitted, wait_for
from tests.exact import weights_in

pytestmark = [pytest.mark.slow, pytest.mark.cluster]

Submit = Callable[..., Submitted]
BATCH = ("SOLVER.IMS_PER_BATCH=4",)


@pytest.mark.timeout(600)
def test_a_job_on_two_nodes_that_fails_for_a_reason_of_its_own_is_not_requeued(slurm: Slurm, submit: Submit):
    """However the launchers' ends follow each other: srun ends all of them once one has ended with an error."""
    asked = (*BATCH, "device=auto", "cluster.nodes=2", "cluster.gpus_per_node=1")
    for number in range(4):
        run = submit(f"two_no_gpus{number}", *asked)

        assert slurm.ended(run.job) == "FAILED", run.output
        assert (slurm.field(run.job, "ExitCode"), slurm.field(run.job, "Restarts")) == ("4:0", "0"), run.output


def by_hand(slurm: Slurm, name: str, *lines: str) -> tuple[str, str]:
    """The exit code of a batch script of these lines on two nodes, and what it printed."""
    return end_of(slurm, name, submit_by_hand(slurm, name, *lines))


def submit_by_hand(slurm: Slurm, name: str, *lines: str) -> str:
    script, output = slurm.here / f"{name}.sh", slurm.here / f"{name}.out"
    head = ("#!/bin/bash", f"#SBATCH --output={output}", "#SBATCH --nodes=2 --ntasks-per-node=2 --no-requeue")
    script.write_text("\n".join([*head, *lines, ""]))
    return slurm.run("sbatch", "--parsable", str(script), SLOW_S="0.5").strip()


def end_of(slurm: Slurm, name: str, job: str) -> tuple[str, str]:
    wait_for(lambda: slurm.field(job, "JobState") in ("COMPLETED", "FAILED"))
    return slurm.field(job, "ExitCode"), (slurm.here / f"{name}.out").read_text()


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


@pytest.mark.minutes
@pytest.mark.timeout(600)
@pytest.mark.parametrize("node", [0, 1])
def test_where_srun_does_not_end_all_for_a_launcher_that_is_killed_the_others_end_by_themselves(
    slurm: Slurm, settings: tuple[str, ...], undisturbed_as: Callable[..., str], node: int
):
    """Typed by hand, without --kill-on-bad-exit."""
    name = f"unhelped{node}"
    typed = " ".join(f"'{setting}'" for setting in (*settings, *BATCH, f"run.name={name}", "device.count=2"))
    train = f"srun --nodes=2 --ntasks=2 --ntasks-per-node=1 {sys.executable} -m launcher train {typed}"
    job = submit_by_hand(slurm, name, train)
    wait_for(lambda: list((slurm.here / "runs").glob(f"*/{name}/attempts")))
    (folder,) = (slurm.here / "runs").glob(f"*/{name}")
    run = Submitted(job=job, paths=RunPaths(folder))
    run.wait_for_iteration(5)

    launchers = [process for process in processes_on(node, slurm, job, "-m launcher train") if not is_srun(process)]
    os.kill(launchers[0], signal.SIGKILL)
    code, said = end_of(slurm, name, job)
    slurm.launcher("resume", str(folder), "device.count=4")

    assert code != "0:0", said
    assert weights_in(run.paths.final_weights) == undisturbed_as(*TWO_NODES.on_one_host)


def is_srun(process: int) -> bool:
    return Path(f"/proc/{process}/comm").read_text().strip() == "srun"
