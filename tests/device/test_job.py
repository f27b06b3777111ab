"""What scheduler and torchrun say, from recorded environments."""

from __future__ import annotations

from dataclasses import replace

import pytest

from launcher.device.job import ALONE, NodeFacts, read_job

SBATCH = {"SLURM_JOB_ID": "4711", "SLURM_JOB_GPUS": "2,3", "SLURM_GPUS_ON_NODE": "2", "SLURM_PROCID": "0"}
SRUN = {**SBATCH, "SLURM_STEP_ID": "0", "SLURM_PROCID": "3", "SLURM_NTASKS": "4", "SLURM_STEP_GPUS": "3"}
TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "RANK": "5", "WORLD_SIZE": "8"}


def test_outside_of_a_job_nothing_is_known_and_nothing_allocated():
    job = read_job({"HOME": "/home/me", "JOB_ID": "17", "CUDA_VISIBLE_DEVICES": "0"})

    assert (job.scheduler, job.promised_gpus, job.started_by, job.num_tasks) == ("", None, "", 1)


def test_a_slurm_batch_script_knows_its_gpus_and_runs_once():
    job = read_job({**SBATCH, "SLURM_NTASKS": "4"})

    assert (job.scheduler, job.job_id, job.promised_gpus, job.promised_by) == ("slurm", "4711", 2, "SLURM_JOB_GPUS")
    assert (job.started_by, job.num_tasks) == ("", 1)


def test_a_task_of_srun_knows_how_many_there_are_and_its_own_gpus():
    job = read_job(SRUN)

    assert (job.started_by, job.num_tasks) == ("srun", 4)
    assert (job.promised_gpus, job.promised_by) == (1, "SLURM_STEP_GPUS")


def test_a_step_counts_its_own_tasks_and_not_those_of_its_job():
    assert read_job({**SRUN, "SLURM_STEP_NUM_TASKS": "1"}).num_tasks == 1


def test_what_is_typed_in_an_interactive_shell_of_srun_runs_once():
    job = read_job({**SRUN, "SLURM_PTY_PORT": "41234"})

    assert (job.started_by, job.num_tasks) == ("", 1)


def test_torchrun_counts_even_inside_srun():
    job = read_job({**SRUN, **TORCHRUN})

    assert (job.started_by, job.num_tasks) == ("torchrun", 8)


KUBEFLOW = {
    "KUBERNETES_SERVICE_HOST": "10.0.0.1", "RANK": "1", "WORLD_SIZE": "4", "MASTER_ADDR": "job-master-0",
}  # fmt: skip


@pytest.mark.parametrize(
    ("variables", "started_by", "tasks"),
    [
        ({"OMPI_COMM_WORLD_SIZE": "3", "OMPI_COMM_WORLD_RANK": "0"}, "mpirun", 3),
        ({**SBATCH, "OMPI_COMM_WORLD_SIZE": "2"}, "mpirun", 2),
        ({"MV2_COMM_WORLD_SIZE": "2"}, "mpirun", 2),
        (KUBEFLOW, "Kubernetes", 4),
        ({**KUBEFLOW, "WORLD_SIZE": "1"}, "Kubernetes", 1),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "WORLD_SIZE": "4"}, "", 1),
        ({name: value for name, value in KUBEFLOW.items() if name != "KUBERNETES_SERVICE_HOST"}, "", 1),
    ],
)
def test_other_programs_that_start_ranks_are_noticed(variables: dict[str, str], started_by: str, tasks: int):
    job = read_job(variables)

    assert (job.started_by, job.num_tasks) == (started_by, tasks)


@pytest.mark.parametrize(
    ("variables", "gpus"),
    [
        ({}, 0),
        ({"SLURM_JOB_GPUS": "0-3,7"}, 5),
        ({"SLURM_GPUS_ON_NODE": "4"}, 4),
        ({"SLURM_GPUS_PER_NODE": "a100:2"}, 2),
        ({"SLURM_JOB_GPUS": "GPU-11112222-aaaa,GPU-33334444-bbbb"}, 2),
        ({"SLURM_SHARDS_ON_NODE": "4", "CUDA_VISIBLE_DEVICES": "0"}, 1),
        ({"SLURM_GPUS_ON_NODE": "0", "CUDA_VISIBLE_DEVICES": "0"}, 0),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, 0),
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
        ({"LSB_JOBID": "9", "CUDA_VISIBLE_DEVICES": "0,1"}, "lsf", 2),
        ({"LSB_JOBID": "9", "CUDA_VISIBLE_DEVICES": "MIG-11112222"}, "lsf", 1),
        ({"LSB_JOBID": "9", "CUDA_VISIBLE_DEVICES": "-1"}, "lsf", None),
        ({"LSB_JOBID": "9", "CUDA_VISIBLE_DEVICES": ""}, "lsf", None),
        ({"PBS_JOBID": "9.head", "CUDA_VISIBLE_DEVICES": "GPU-11112222"}, "pbs", 1),
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
    assert read_job({**TORCHRUN, "WORLD_SIZE": "many"}).num_tasks == 1


STEP = {
    **SBATCH, "SLURM_STEP_ID": "1", "SLURM_STEP_NUM_NODES": "2", "SLURM_STEP_NUM_TASKS": "2", "SLURM_NODEID": "1",
    "SLURM_STEP_NODELIST": "n[08-09]", "SLURM_JOB_NODELIST": "n[07-10]", "SLURMD_NODENAME": "n09",
    "SLURM_RESTART_COUNT": "3",
}  # fmt: skip
AGENT = {
    **TORCHRUN, "RANK": "1", "WORLD_SIZE": "2", "GROUP_RANK": "1", "GROUP_WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "1",
    "MASTER_ADDR": "10.0.0.7", "MASTER_PORT": "29500", "TORCHELASTIC_RESTART_COUNT": "1",
}  # fmt: skip


AGENT_NODE = NodeFacts(count=2, rank=1, name="", head="10.0.0.7", start="none-29500-1")


@pytest.mark.parametrize(
    ("environ", "node"),
    [
        (STEP, NodeFacts(count=2, rank=1, name="n09", head="n08", start="4711-1-3")),
        (AGENT, AGENT_NODE),
        ({**AGENT, "TORCHELASTIC_RUN_ID": "/a"}, replace(AGENT_NODE, start="_a-29500-1")),
        ({**STEP, "SLURM_STEP_NUM_NODES": "1"}, ALONE),
        ({**STEP, "SLURM_PTY_PORT": "41234"}, ALONE),
        ({**STEP, "SLURM_NODEID": "2"}, ALONE),
        ({**STEP, "SLURM_NODEID": ""}, ALONE),
        ({**SBATCH, "SLURM_NNODES": "2", "SLURM_NODEID": "0"}, ALONE),
        (SRUN, ALONE),
    ],
    ids=[
        "srun", "torchrun", "a name for a folder", "one node", "a shell", "no such node", "no number", "batch script",
        "tasks on one node",
    ],
)  # fmt: skip
def test_several_nodes_are_known_from_who_started_the_launcher(environ: dict[str, str], node: NodeFacts):
    assert read_job(environ).node == node


def test_an_element_of_an_array_is_called_as_squeue_calls_it():
    assert read_job({**SBATCH, "SLURM_ARRAY_JOB_ID": "4700", "SLURM_ARRAY_TASK_ID": "11"}).job_id == "4700_11"
