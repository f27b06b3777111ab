"""What a scheduler, torchrun or mpirun set in this process's environment. Looks nowhere else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from launcher.device.hosts import expand_hosts


@dataclass(frozen=True, kw_only=True)
class NodeFacts:
    """This node among those on which the program was started."""

    count: int
    rank: int
    """From 0, which is the first node."""
    name: str
    """Empty where the host's own has to do."""
    head: str
    """The first node's name or address; empty for one node."""
    start: str
    """Of the program on all nodes, which no other start of the same job has; empty for one node."""


ALONE = NodeFacts(count=1, rank=0, name="", head="", start="")


@dataclass(frozen=True, kw_only=True)
class JobFacts:
    """The job this process belongs to. Everything is empty or None outside of a job."""

    scheduler: str
    """slurm, pbs, lsf, sge, kubernetes or empty."""
    job_id: str
    """As the scheduler's own commands take it."""
    promised_gpus: int | None
    """GPUs of this job on this node; 0 when the scheduler says none, None when it says nothing."""
    promised_by: str
    """The variable that says so, for example `SLURM_JOB_GPUS`."""
    started_by: str
    """torchrun, mpirun, srun, Kubernetes (a training operator such as Kubeflow's) or empty."""
    num_tasks: int
    """As how many tasks, on all nodes, `started_by` started this program; 1 when nobody did."""
    node: NodeFacts = ALONE
    ends: int | None = None
    """When the scheduler ends this job, in seconds since the epoch; None when it does not say."""


# In the order in which they are trusted: what this step has, then this job on this node, then this job.
SLURM_GPU_LISTS = ("SLURM_STEP_GPUS", "SLURM_JOB_GPUS")
SLURM_GPU_COUNTS = ("SLURM_GPUS_ON_NODE", "SLURM_GPUS_PER_NODE", "SLURM_GPUS_PER_TASK", "SLURM_GPUS")
BATCH_SCHEDULERS = ("slurm", "pbs", "lsf", "sge")

MPI_SIZES = ("OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
"""Of Open MPI and MVAPICH; what others set, srun sets as well."""


@dataclass(frozen=True, kw_only=True)
class NodeVariables:
    """Which variables say where a node stands; of several names the first that is set counts."""

    count: tuple[str, ...]
    rank: tuple[str, ...]
    hosts: tuple[str, ...]
    name: tuple[str, ...]
    start: tuple[str, ...]
    """All of them together."""


# What a step has, before what its job has.
NODE_VARIABLES = {
    "srun": NodeVariables(
        count=("SLURM_STEP_NUM_NODES", "SLURM_NNODES"),
        rank=("SLURM_NODEID",),
        hosts=("SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST"),
        name=("SLURMD_NODENAME",),
        start=("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT"),
    ),
    "torchrun": NodeVariables(
        count=("GROUP_WORLD_SIZE", "NNODES"),
        rank=("GROUP_RANK", "NODE_RANK"),
        hosts=("MASTER_ADDR",),
        name=(),
        # Every run's id is `none`, unless its user names it.
        start=("TORCHELASTIC_RUN_ID", "MASTER_PORT", "TORCHELASTIC_RESTART_COUNT"),
    ),
}
JOB_IDS = {"slurm": "SLURM_JOB_ID", "pbs": "PBS_JOBID", "lsf": "LSB_JOBID", "sge": "JOB_ID"}


def read_job(environ: Mapping[str, str]) -> JobFacts:
    """The job that this environment describes."""
    scheduler = _scheduler(environ)
    promised_gpus, promised_by = _find_allocation(scheduler, environ)
    started_by = _started_by(scheduler, environ)
    return JobFacts(
        scheduler=scheduler,
        job_id=_job_id(scheduler, environ),
        promised_gpus=promised_gpus,
        promised_by=promised_by,
        started_by=started_by,
        num_tasks=_num_tasks(started_by, environ),
        node=_node(started_by, environ),
        ends=_number(environ.get("SLURM_JOB_END_TIME")) if scheduler == "slurm" else None,
    )


def _scheduler(environ: Mapping[str, str]) -> str:
    if environ.get("SLURM_JOB_ID"):
        return "slurm"
    if environ.get("PBS_JOBID"):
        return "pbs"
    if environ.get("LSB_JOBID"):
        return "lsf"
    # JOB_ID alone is too common a name to mean Grid Engine.
    if environ.get("SGE_TASK_ID") and environ.get("JOB_ID"):
        return "sge"
    return "kubernetes" if environ.get("KUBERNETES_SERVICE_HOST") else ""


def _job_id(scheduler: str, environ: Mapping[str, str]) -> str:
    """Of an element of an array of Slurm's as squeue lists it; its SLURM_JOB_ID is a number that nobody has seen."""
    array, element = environ.get("SLURM_ARRAY_JOB_ID", ""), environ.get("SLURM_ARRAY_TASK_ID", "")
    if scheduler == "slurm" and array and element:
        return f"{array}_{element}"
    return environ.get(JOB_IDS.get(scheduler, ""), "")


def _find_allocation(scheduler: str, environ: Mapping[str, str]) -> tuple[int | None, str]:
    if scheduler == "slurm" and (promise := _allocated_by_slurm(environ)):
        return promise
    if scheduler == "pbs" and (count := _number(environ.get("PBS_NGPUS"))) is not None:
        return count, "PBS_NGPUS"
    # Several schedulers say it in no variable of their own.
    if scheduler in BATCH_SCHEDULERS and (count := _named_for_cuda(environ)):
        return count, "CUDA_VISIBLE_DEVICES"
    if scheduler == "slurm":
        # Slurm sets at least one of these in every job that has a GPU, so their absence is a statement.
        return 0, ""
    return _allocated_by_container(environ)


def _named_for_cuda(environ: Mapping[str, str]) -> int:
    entries = environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    return sum(bool(re.fullmatch(r"\d+|(GPU|MIG)-.+", entry.strip())) for entry in entries)


def _allocated_by_slurm(environ: Mapping[str, str]) -> tuple[int, str] | None:
    for name in SLURM_GPU_LISTS:
        if listed := environ.get(name):
            return _length(listed), name
    for name in SLURM_GPU_COUNTS:
        if (count := _number(environ.get(name, "").rpartition(":")[2])) is not None:
            return count, name
    return None


def _allocated_by_container(environ: Mapping[str, str]) -> tuple[int | None, str]:
    # `all` is baked into public CUDA images and holds even where nobody passed a GPU; a device plugin writes UUIDs.
    named = [entry for entry in environ.get("NVIDIA_VISIBLE_DEVICES", "").split(",") if entry[:4] in ("GPU-", "MIG-")]
    return (len(named), "NVIDIA_VISIBLE_DEVICES") if named else (None, "")


def _started_by(scheduler: str, environ: Mapping[str, str]) -> str:
    if environ.get("TORCHELASTIC_RUN_ID"):
        return "torchrun"
    if any(name in environ for name in MPI_SIZES):
        return "mpirun"
    # A batch script has SLURM_PROCID too, but only a step of srun has a step id that is a number. A shell that
    # `srun --pty` opened has both: what people type there is started once, however many tasks the step has.
    in_step = environ.get("SLURM_PROCID") and _number(environ.get("SLURM_STEP_ID")) is not None
    if scheduler == "slurm" and in_step and "SLURM_PTY_PORT" not in environ:
        return "srun"
    is_rank = all(environ.get(name) for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR"))
    return "Kubernetes" if scheduler == "kubernetes" and is_rank else ""


def _num_tasks(started_by: str, environ: Mapping[str, str]) -> int:
    # SLURM_NTASKS may still be what the job was submitted with; the step has a count of its own.
    names = {
        "torchrun": ("WORLD_SIZE",),
        "mpirun": MPI_SIZES,
        "srun": ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"),
        "Kubernetes": ("WORLD_SIZE",),
    }.get(started_by, ())
    return next((count for name in names if (count := _number(environ.get(name)))), 1)


def _node(started_by: str, environ: Mapping[str, str]) -> NodeFacts:
    names = NODE_VARIABLES.get(started_by)
    count, rank = (_number(_first(part, environ)) for part in (names.count, names.rank)) if names else (None, None)
    if names is None or count is None or rank is None or not count > 1 or not rank < count:
        return ALONE
    return NodeFacts(
        count=count,
        rank=rank,
        name=_first(names.name, environ),
        head=next(iter(expand_hosts(_first(names.hosts, environ))), ""),
        start="-".join(re.sub(r"[^A-Za-z0-9_.]", "_", environ.get(name, "0")) for name in names.start),
    )


def _first(names: tuple[str, ...], environ: Mapping[str, str]) -> str:
    return next((value for name in names if (value := environ.get(name))), "")


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() else None


def _length(listed: str) -> int:
    """How many entries `0,1` or `0-3,7` or `GPU-..,GPU-..` has."""
    total = 0
    for entry in listed.split(","):
        first, dash, last = entry.partition("-")
        numbers = _number(first), _number(last)
        total += numbers[1] - numbers[0] + 1 if dash and numbers[0] is not None and numbers[1] is not None else 1
    return total
