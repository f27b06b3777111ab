"""What happens to a job under Slurm while it trains: the same for one process and for two nodes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.real_slurm import Slurm, Submitted

Disturb = Callable[[Slurm, Submitted], None]
LAUNCHER, RANK = "-m launcher resume", "spawn_main"


def preempt(slurm: Slurm, run: Submitted) -> None:  # noqa: ARG001
    slurm.run("sbatch", "--partition=urgent", "--nodes=4", "--exclusive", "--output=/dev/null", "--wrap=sleep 1")


def user_signal(slurm: Slurm, run: Submitted) -> None:
    slurm.run("scancel", "-s", "USR1", run.job)


def requeue(slurm: Slurm, run: Submitted) -> None:
    slurm.run("scontrol", "requeue", run.job)


def kill_launcher(slurm: Slurm, run: Submitted) -> None:  # noqa: ARG001
    os.kill(run.launcher_process(), signal.SIGKILL)


def kill_second_launcher(slurm: Slurm, run: Submitted) -> None:
    os.kill(next(processes_on(1, slurm, run.job, LAUNCHER)), signal.SIGKILL)


def lose_node(slurm: Slurm, run: Submitted) -> None:
    slurm.kill_daemon(f"slurmd.{_nodes(slurm, run)[0]}")


def lose_second_node(slurm: Slurm, run: Submitted) -> None:
    slurm.kill_daemon(f"slurmd.{_nodes(slurm, run)[1]}")


def kill_worker(slurm: Slurm, run: Submitted) -> None:
    os.kill(next(processes_on(0, slurm, run.job, "launcher.train")), signal.SIGKILL)


def kill_rank(slurm: Slurm, run: Submitted) -> None:
    os.kill(next(processes_on(0, slurm, run.job, RANK)), signal.SIGKILL)


def kill_rank_of_second_node(slurm: Slurm, run: Submitted) -> None:
    os.kill(next(processes_on(1, slurm, run.job, RANK)), signal.SIGKILL)


def _nodes(slurm: Slurm, run: Submitted) -> list[str]:
    return slurm.run("scontrol", "show", "hostnames", slurm.field(run.job, "NodeList")).split()


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


def end_after(disturb: Disturb, slurm: Slurm, run: Submitted) -> None:
    """Disturb it once it trains: it is requeued and comes to its end."""
    run.wait_for_iteration(5)
    disturb(slurm, run)
    slurm.wait_until_requeued(run.job)
    try:
        assert slurm.ended(run.job) == "COMPLETED", run.output
    finally:
        slurm.start_daemons()


def outlive_controller(slurm: Slurm, run: Submitted) -> None:
    """Take the controller away for a while in which it trains."""
    run.wait_for_iteration(3)
    time.sleep(5)
    slurm.kill_daemon("slurmctld")
    time.sleep(3)
    slurm.start_daemons()


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Of a job, and what can happen to it there."""

    name: str
    nodes: int
    on_one_host: tuple[str, ...]
    """What gives the same training as many processes without Slurm."""
    job: tuple[str, ...]
    """What `launcher submit` is told on top."""
    requeued_by: tuple[Disturb, ...]
    loses: tuple[Disturb, ...]
    """A node; Slurm notices after half a minute."""
    retried_after: tuple[Disturb, ...]
    """A process of the training that is killed; the launcher names it."""


ONE_PROCESS = Shape(
    name="one_process",
    nodes=1,
    on_one_host=(),
    job=(),
    requeued_by=(preempt, user_signal, requeue, kill_launcher),
    loses=(lose_node,),
    retried_after=(kill_worker,),
)
TWO_NODES = Shape(
    name="two_nodes",
    nodes=2,
    on_one_host=("SOLVER.IMS_PER_BATCH=4", "device.count=4"),
    job=("SOLVER.IMS_PER_BATCH=4", "device.count=2", "cluster.nodes=2"),
    requeued_by=(*ONE_PROCESS.requeued_by, kill_second_launcher),
    loses=(lose_node, lose_second_node),
    retried_after=(kill_rank, kill_rank_of_second_node),
)
SHAPES = (ONE_PROCESS, TWO_NODES)
