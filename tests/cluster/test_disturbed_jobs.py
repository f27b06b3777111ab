"""Jobs of one process and of two nodes under a real Slurm, disturbed in many ways: each ends as if nothing had been."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable

import pytest

from launcher.run.paths import RunPaths
from tests.cluster.conftest import ITERATIONS
from tests.cluster.disturbances import (
    SHAPES,
    Disturb,
    Shape,
    end_after,
    kill_rank,
    kill_rank_of_second_node,
    kill_worker,
    outlive_controller,
)
from tests.cluster.real_slurm import Slurm, Submitted, wait_for
from tests.exact import weights_in

pytestmark = [pytest.mark.slow, pytest.mark.cluster, pytest.mark.timeout(900)]

Submit = Callable[..., Submitted]
Undisturbed = Callable[..., str]
of_each_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)


KILLED = {
    kill_worker: r"the training process was killed \(SIGKILL\)",
    kill_rank: r"rank [01] was killed \(SIGKILL\)",
    kill_rank_of_second_node: r"rank [23] was killed \(SIGKILL\)",
}


def each(disturbances: Callable[[Shape], tuple[Disturb, ...]]) -> pytest.MarkDecorator:
    cases = [(shape, disturb) for shape in SHAPES for disturb in disturbances(shape)]
    ids = [f"{shape.name}-{disturb.__name__}" for shape, disturb in cases]
    return pytest.mark.parametrize(("shape", "disturb"), cases, ids=ids)


@each(lambda shape: shape.requeued_by)
def test_a_disturbed_job_is_requeued_and_ends_with_the_same_weights(
    slurm: Slurm, submit: Submit, undisturbed_as: Undisturbed, shape: Shape, disturb: Disturb
):
    run = submit(f"{shape.name}_{disturb.__name__}", *shape.job)

    end_after(disturb, slurm, run)

    assert (run.ends()[-1], len(run.ends()), run.iterations) == ("finished", 2, ITERATIONS)
    assert weights_in(run.paths.final_weights) == undisturbed_as(*shape.on_one_host)


@pytest.mark.minutes
@each(lambda shape: shape.loses)
def test_a_job_that_loses_a_node_is_started_on_another_and_ends_with_the_same_weights(
    slurm: Slurm, submit: Submit, undisturbed_as: Undisturbed, shape: Shape, disturb: Disturb
):
    """The first start may live on where the node is lost, and is alive when the second one begins."""
    run = submit(f"{shape.name}_{disturb.__name__}", *shape.job, slow_s=3)

    end_after(disturb, slurm, run)

    assert (run.ends()[-1], len(run.ends()), run.iterations) == ("finished", 2, ITERATIONS)
    assert weights_in(run.paths.final_weights) == undisturbed_as(*shape.on_one_host)


@each(lambda shape: shape.retried_after)
def test_a_killed_process_is_named_and_the_attempt_retried_on_the_same_nodes(
    slurm: Slurm, submit: Submit, undisturbed_as: Undisturbed, shape: Shape, disturb: Disturb
):
    run = submit(f"{shape.name}_{disturb.__name__}", *shape.job)
    run.wait_for_iteration(5)

    disturb(slurm, run)

    assert slurm.ended(run.job) == "COMPLETED", run.output
    assert (run.ends(), slurm.field(run.job, "Restarts")) == (["killed", "finished"], "0")
    assert re.search(KILLED[disturb], run.output)
    assert weights_in(run.paths.final_weights) == undisturbed_as(*shape.on_one_host)


@of_each_shape
def test_a_cancelled_job_is_not_requeued_and_can_be_resumed(
    slurm: Slurm, submit: Submit, undisturbed_as: Undisturbed, shape: Shape
):
    """That of two nodes on one host."""
    run = submit(f"{shape.name}_cancelled", *shape.job)
    run.wait_for_iteration(5)

    said = slurm.launcher("cancel", str(run.paths.folder), "--root", "runs")
    assert f"cancelled job {run.job}" in said
    assert slurm.ended(run.job) == "CANCELLED"
    slurm.launcher("resume", str(run.paths.folder), *shape.on_one_host)

    assert (run.ends(), slurm.field(run.job, "Restarts")) == (["stopped", "finished"], "0")
    assert weights_in(run.paths.final_weights) == undisturbed_as(*shape.on_one_host)


@of_each_shape
def test_a_job_outlives_the_controller(slurm: Slurm, submit: Submit, undisturbed_as: Undisturbed, shape: Shape):
    run = submit(f"{shape.name}_controller", *shape.job)

    outlive_controller(slurm, run)

    assert slurm.ended(run.job) == "COMPLETED", run.output
    assert weights_in(run.paths.final_weights) == undisturbed_as(*shape.on_one_host)


@pytest.mark.minutes
@of_each_shape
def test_a_job_stops_before_its_time_limit_and_is_requeued_until_it_is_finished(
    slurm: Slurm, submit: Submit, undisturbed_as: Undisturbed, shape: Shape
):
    """Slurm sends the signal up to a minute early."""
    run = submit(f"{shape.name}_time_limit", *shape.job, "cluster.time=3:00", "cluster.signal_s=45", slow_s=6)

    assert slurm.ended(run.job, patience_s=800) == "COMPLETED", run.output
    assert set(run.ends()[:-1]) == {"stopped"}
    assert int(slurm.field(run.job, "Restarts")) >= 1
    assert weights_in(run.paths.final_weights) == undisturbed_as(*shape.on_one_host)


def submit_array(slurm: Slurm, settings: tuple[str, ...], name: str, nodes: int) -> list[Submitted]:
    """A user's own array of two elements, whose script starts a run for each."""
    typed = " ".join(f"'{setting}'" for setting in settings)
    lines = (
        "#!/bin/bash",
        f"#SBATCH --array=0-1 --nodes={nodes} --ntasks-per-node=1 --requeue --open-mode=append --output=/dev/null",
        "trap : TERM USR1",
        f"srun --kill-on-bad-exit=1 {sys.executable} -m launcher train {typed} run.name={name}$SLURM_ARRAY_TASK_ID",
        "[ $? != 75 ] || scontrol requeue ${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID",
    )
    (slurm.here / f"{name}.sh").write_text("\n".join([*lines, ""]))
    array = slurm.run("sbatch", "--parsable", f"{name}.sh", SLOW_S="0.5").strip()
    wait_for(lambda: len(list((slurm.here / "runs").glob(f"*/{name}*/attempts"))) == 2)
    folders = sorted((slurm.here / "runs").glob(f"*/{name}*"))
    return [Submitted(job=f"{array}_{number}", paths=RunPaths(folder)) for number, folder in enumerate(folders)]


@pytest.mark.minutes
@of_each_shape
def test_an_element_of_an_array_is_requeued_by_itself_and_named_as_squeue_names_it(
    slurm: Slurm, settings: tuple[str, ...], undisturbed_as: Undisturbed, shape: Shape
):
    asked = (setting for setting in shape.job if not setting.startswith("cluster."))
    runs = submit_array(slurm, (*settings, *asked), f"{shape.name}_element", shape.nodes)
    runs[1].wait_for_iteration(5)

    assert runs[1].job in slurm.launcher("status", str(runs[1].paths.folder))
    slurm.run("scancel", "-s", "USR1", runs[1].job)

    assert [slurm.ended(run.job) for run in runs] == ["COMPLETED"] * 2
    assert [run.ends() for run in runs] == [["finished"], ["stopped", "finished"]]
    assert [slurm.field(run.job, "Restarts") for run in runs] == ["0", "1"]
    assert [weights_in(run.paths.final_weights) for run in runs] == [undisturbed_as(*shape.on_one_host)] * 2
