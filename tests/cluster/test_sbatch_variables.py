"""Which variables of a user's shell would win over the lines of a batch script."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from launcher.cluster.job import Array
from launcher.cluster.sbatch_variables import overriding_variables
from launcher.cluster.script import batch_script
from launcher.config.request import ClusterSettings
from tests.cluster.jobs import a_job

RUN = Path("/runs/a")
ALWAYS = [
    "SBATCH_ARRAY_INX", "SBATCH_CPUS_PER_GPU", "SBATCH_ERROR", "SBATCH_JOB_NAME", "SBATCH_NO_REQUEUE",
    "SBATCH_OPEN_MODE", "SBATCH_OUTPUT", "SBATCH_OVERCOMMIT", "SBATCH_REQUEUE", "SBATCH_SIGNAL",
    "SBATCH_TRES_PER_TASK", "SBATCH_WAIT",
]  # fmt: skip
ANY = [
    *ALWAYS, "SBATCH_ACCOUNT", "SBATCH_CONSTRAINT", "SBATCH_GPUS", "SBATCH_GPUS_PER_NODE", "SBATCH_GRES",
    "SBATCH_MEM_PER_CPU", "SBATCH_MEM_PER_NODE", "SBATCH_PARTITION", "SBATCH_QOS", "SBATCH_REQ_SWITCH",
    "SBATCH_RESERVATION", "SBATCH_TIMELIMIT", "SBATCH_WAIT4SWITCH", "SBATCH_WCKEY", "SLURM_CONF", "PATH",
]  # fmt: skip


def script_of(asked: ClusterSettings, **parts: Any) -> str:
    return batch_script(a_job(RUN, asked=asked, **parts))


@pytest.mark.parametrize("array", [None, Array(runs={1: RUN}, at_once=0)])
def test_what_every_script_sets_or_relies_on_is_no_variables(array: Array | None):
    assert overriding_variables(script_of(ClusterSettings(), array=array), ANY) == ALWAYS


@pytest.mark.parametrize(
    ("asked", "variables"),
    [
        (ClusterSettings(partition="gpu"), ["SBATCH_PARTITION"]),
        (ClusterSettings(account="vision", qos="long"), ["SBATCH_ACCOUNT", "SBATCH_QOS"]),
        (ClusterSettings(constraint="a100"), ["SBATCH_CONSTRAINT"]),
        (ClusterSettings(memory_gib=8), ["SBATCH_MEM_PER_CPU", "SBATCH_MEM_PER_NODE"]),
        (ClusterSettings(gpus_per_node=2), ["SBATCH_GPUS", "SBATCH_GPUS_PER_NODE", "SBATCH_GRES"]),
        (ClusterSettings(options=["--reservation=r"]), ["SBATCH_RESERVATION"]),
        (ClusterSettings(options=["--switches=1"]), ["SBATCH_REQ_SWITCH", "SBATCH_WAIT4SWITCH"]),
        (ClusterSettings(preamble=["#SBATCH --qos=long"]), []),  # below the first command, where nobody reads it
    ],
)
def test_what_the_settings_name_is_no_variables(asked: ClusterSettings, variables: list[str]):
    assert overriding_variables(script_of(asked), ANY) == sorted([*ALWAYS, *variables])


def test_a_time_limit_that_is_asked_for_is_no_variables():
    assert "SBATCH_TIMELIMIT" in overriding_variables(script_of(ClusterSettings(), time_s=60.0), ANY)


def test_only_variables_that_are_there_are_named():
    assert overriding_variables(script_of(ClusterSettings()), {"PATH": "/bin", "SBATCH_SIGNAL": "9@1"}) == [
        "SBATCH_SIGNAL"
    ]
