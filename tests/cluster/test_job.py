"""What scheduler and torchrun say, from recorded environments."""

from __future__ import annotations

import pytest

from launcher.cluster.job import read_job

SBATCH = {
    "SLURM_JOB_ID": "4711",
    "SLURM_JOB_GPUS": "2,3",
    "SLURM_GPUS_ON_NODE": "2",
    "SLURM_JOB_NUM_NODES": "1",
    "SLURM_PROCID": "0",
    "SLURM_RESTART_COUNT": "2",
}
SRUN = {
    **SBATCH,
    "SLURM_STEP_ID": "0",
    "SLURM_PROCID": "3",
    "SLURM_NTASKS": "4",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_GPUS": "3",
}
TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}


def test_outside_of_a_job_nothing_is_known_and_nothing_promised():
    job = read_job({"HOME": "/home/me", "JOB_ID": "17"})

    assert (job.scheduler, job.promised_gpus, job.started_by, job.rank) == ("", None, "", None)


def test_a_slurm_batch_script_knows_its_gpus_and_restarts():
    job = read_job(SBATCH)

    assert (job.scheduler, job.job_id, job.promised_gpus, job.promised_by) == ("slurm", "4711", 2, "SLURM_JOB_GPUS")
    assert (job.num_nodes, job.restarts) == (1, 2)
    assert job.started_by == ""


def test_a_task_of_srun_knows_its_rank_and_its_own_gpus():
    job = read_job(SRUN)

    assert (job.started_by, job.rank, job.world_size, job.local_rank) == ("srun", 3, 4, 1)
    assert (job.promised_gpus, job.promised_by) == (1, "SLURM_STEP_GPUS")


def test_torchrun_decides_the_ranks_even_inside_srun():
    job = read_job({**SRUN, **TORCHRUN})

    assert (job.started_by, job.rank, job.world_size, job.local_rank, job.local_world_size) == ("torchrun", 5, 8, 1, 4)


@pytest.mark.parametrize(
    ("variables", "gpus"),
    [
        ({}, 0),
        ({"SLURM_JOB_GPUS": "0-3,7"}, 5),
        ({"SLURM_GPUS_ON_NODE": "4"}, 4),
        ({"SLURM_GPUS_PER_NODE": "a100:2"}, 2),
        ({"SLURM_JOB_GPUS": "GPU-11112222-aaaa,GPU-33334444-bbbb"}, 2),
    ],
)
def test_slurm_counts_gpus_in_several_ways(variables: dict[str, str], gpus: int):
    assert read_job({"SLURM_JOB_ID": "1", **variables}).promised_gpus == gpus


@pytest.mark.parametrize(
    ("variables", "scheduler", "gpus"),
    [
        ({"PBS_JOBID": "9.head", "PBS_NGPUS": "2"}, "pbs", 2),
        ({"PBS_JOBID": "9.head"}, "pbs", None),
        ({"LSB_JOBID": "9"}, "lsf", None),
        ({"SGE_TASK_ID": "undefined", "JOB_ID": "9"}, "sge", None),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "NVIDIA_VISIBLE_DEVICES": "GPU-1,GPU-2"}, "kubernetes", 2),
        ({"NVIDIA_VISIBLE_DEVICES": "all"}, "", None),
        ({"NVIDIA_VISIBLE_DEVICES": "void"}, "", None),
    ],
)
def test_other_schedulers_and_containers_are_understood(variables: dict[str, str], scheduler: str, gpus: int | None):
    job = read_job(variables)

    assert (job.scheduler, job.promised_gpus) == (scheduler, gpus)


def test_a_number_that_is_none_is_not_guessed():
    assert read_job({**TORCHRUN, "RANK": "first"}).rank is None
