"""What the facts mean: findings with stable codes, and a verdict."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum

MAX_NAMED = 2
"""GPUs that a verdict names one by one; of more it gives the models."""


class Severity(Enum):
    info = "info"
    warning = "warning"
    error = "error"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing found out about this machine."""

    code: str
    """Stable, for example `driver.too_old`."""
    severity: Severity
    cause: str
    """One clause without a full stop, for example `no NVIDIA GPU in this machine`."""
    evidence: tuple[str, ...]
    fix: str
    """What to type or do next."""
    gpu: str = ""
    """UUID of the one GPU that it is about; empty where it is about the machine."""


def gpu_label(index: int | None, uuid: str) -> str:
    """A GPU's name for people: its index, or the start of its UUID, both of which `device.ids` takes."""
    return uuid[:12] if index is None else f"GPU {index}"


def in_order(index: int | None) -> tuple[bool, int]:
    """To sort by: what has no index comes last."""
    return index is None, index or 0


@dataclass(frozen=True, kw_only=True)
class UsableGpu:
    index: int | None
    """As `nvidia-smi` counts; None for what it does not count, such as a MIG instance."""
    uuid: str
    name: str
    capability: tuple[int, int]
    memory_mib: int
    free_mib: int

    @property
    def is_mig_instance(self) -> bool:
        """Of a GPU in MIG mode."""
        return self.uuid.startswith("MIG-")


def can_train_on(usable: tuple[UsableGpu, ...]) -> str:
    """The verdict where there are GPUs to use."""
    number = "1 GPU" if len(usable) == 1 else f"{len(usable)} GPUs"
    in_their_order = sorted(usable, key=lambda gpu: in_order(gpu.index))
    models = Counter(gpu.name for gpu in in_their_order)
    if len(usable) <= MAX_NAMED:
        names = [f"{gpu_label(gpu.index, gpu.uuid)} {gpu.name}" for gpu in in_their_order]
    else:
        names = [f"{of_it} x {name}" for name, of_it in models.items()]
    return f"detectron2 can train on {number}: {', '.join(names)}"


@dataclass(frozen=True, kw_only=True)
class ExcludedGpu:
    """A GPU of this machine that a run must not get, and why."""

    index: int | None
    uuid: str
    name: str
    code: str
    """Of the finding that excludes it."""
    cause: str


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What the facts mean for a detectron2 run on this machine."""

    verdict: str
    """One sentence."""
    findings: tuple[Finding, ...]
    """Root causes first; consequences of a finding are left out."""
    usable_gpus: tuple[UsableGpu, ...]
    """Best first."""
    driver_is_dangerous: bool
    """It hangs or crashes processes, so even a CPU run must not be able to load it."""
    gpus_allocated: bool
    """A scheduler or container runtime allocated GPUs to this job."""
    excluded_gpus: tuple[ExcludedGpu, ...] = ()
    blocking: Finding | None = None
    """Why no GPU can be used: its cause is the verdict's, its fix is what to do. None where one can."""
    fatal: tuple[Finding, ...] = ()
    """What keeps even the CPU from training; the verdict names it."""
    num_cpus: int = 0
    """CPUs that this process may use; 0 when nobody counted."""
    shm_mib: int | None = None
    """Free in /dev/shm; None where nobody can tell."""
    started_by: str = ""
    """`srun`, `torchrun`, `mpirun` or `Kubernetes`, when it started this process."""
    num_launchers: int = 1
    """As how many tasks it did, on all nodes."""
    num_nodes: int = 1
    """On how many nodes."""
