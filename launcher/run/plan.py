"""What one attempt at a run will do: everything a worker needs, as values. Decides nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launcher.config.adjustment import Adjustment
from launcher.config.keys import Keys
from launcher.config.request import (
    CheckpointSettings,
    EarlyStoppingSettings,
    EmaSettings,
    EvaluationSettings,
    LoggingSettings,
    OwnCode,
)
from launcher.data.plan import DatasetPlan
from launcher.device.policy.plan import DevicePlan
from launcher.run.changed import ChangedSetting
from launcher.run.identity import fingerprint_of
from launcher.run.outcome import EarlyStop
from launcher.run.paths import AttemptPaths, RunPaths
from launcher.run.resume import DamagedCheckpoint, ResumePoint

PLAN_VERSION = 3
"""Of plan.json; files without a version are of the first."""


@dataclass(frozen=True, kw_only=True)
class Lessons:
    """What earlier attempts of this run taught."""

    avoid_gpus: Mapping[str, str] = field(default_factory=dict)
    """UUIDs of GPUs that failed, and how."""
    suspects: tuple[str, ...] = ()
    """UUIDs of GPUs that failed once, in a way that need not be their fault."""
    micro_batch: int | None = None
    """The largest micro-batch that fits into memory, as far as is known."""
    num_workers: int | None = None
    """The largest number of data loader processes that survived."""
    hide_driver: bool = False
    """Even a CPU training hung in the driver, or was crashed by it."""
    in_vain: int = 0
    """Attempts in a row that failed without a new checkpoint and without teaching anything else."""
    reason: str = ""
    """What the latest attempt taught, for people."""

    @property
    def lasting(self) -> Lessons:
        """What still holds when the same command is run again: memory stays as it is, GPUs get fixed."""
        return Lessons(micro_batch=self.micro_batch, num_workers=self.num_workers)


@dataclass(frozen=True, kw_only=True)
class New:
    """The training begins at iteration 0."""

    archives: bool
    """The existing folder is renamed first (`resume=never`)."""


@dataclass(frozen=True, kw_only=True)
class Resume:
    """The training continues from a checkpoint."""

    point: ResumePoint
    damaged: tuple[DamagedCheckpoint, ...]
    """Newer checkpoints, which are renamed before the start."""
    may_reorder: bool
    """The checkpoint may be of another order of samples: another run's, or one whose settings were insisted on."""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """Nothing is to be done: the run came to its end in an earlier attempt."""

    stopped_early: EarlyStop | None
    """Why before its last iteration; None when all iterations are done."""
    pruned: str = ""
    """Why a search stopped it, where one did."""


@dataclass(frozen=True, kw_only=True)
class Continue:
    """An evaluation or prediction does what earlier attempts have left."""

    done: int
    """Images whose results are kept."""


Start = New | Resume | Continue | Finished


@dataclass(frozen=True, kw_only=True)
class Train:
    """How the worker trains, beside what detectron2's keys say."""

    logging: LoggingSettings
    checkpoint: CheckpointSettings
    ema: EmaSettings
    early_stopping: EarlyStoppingSettings
    evaluation: EvaluationSettings
    max_bad: int
    """Training images that may turn out to be unusable."""
    accumulate: int
    """Micro-batches into which each process splits its part of a batch."""
    begun_with: int
    """Processes with which this run began."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """Where the model of an evaluation or prediction comes from, beside MODEL.WEIGHTS."""

    averaged: bool
    """Its averaged weights are meant, where the file has such."""
    batch: int
    """The largest number of images that each process gives it at once."""
    classes: str
    """The file that names its classes; empty where only the data set of its training does."""
    annotations: str
    """A COCO-format file of its training, absolute; empty for none."""


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """How the worker evaluates on DATASETS.TEST."""

    model: Model
    evaluation: EvaluationSettings
    images: int
    """Validation images that are drawn with what was found; 0 draws nothing."""
    quiet: bool = False
    """Nothing is printed before the end."""


@dataclass(frozen=True, kw_only=True)
class Predict:
    """How the worker predicts."""

    model: Model
    files: tuple[str, ...]
    """Images, absolute, those that are done included."""
    threshold: float
    """Score from which on objects are counted and drawn."""
    draw: bool
    images_json: str
    """A COCO-format file that gives image ids by file name; empty for none."""
    quiet: bool = False
    """Nothing is printed before the end."""


Task = Train | Evaluate | Predict


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When an attempt, or the launcher, gives up."""

    stop_at: float
    """When to stop and save, in seconds since the epoch; 0 for never."""
    retries: int
    """Failed attempts in a row without a new checkpoint."""
    hang_minutes: float
    """Without progress; 0 disables the check."""


@dataclass(frozen=True, kw_only=True)
class PlanWarning:
    """Something about a plan that can hardly be meant, and runs all the same."""

    code: str
    text: str


@dataclass(frozen=True, kw_only=True)
class NodePlan:
    """The node of this plan among those that train together."""

    count: int
    rank: int
    """From 0, the node that writes the run's folder."""
    address: str
    """`HOST:PORT` at which all processes meet; empty for one node."""
    meeting: str
    """What the processes of this attempt, and of no other, say when they meet there."""


ONE_NODE = NodePlan(count=1, rank=0, address="", meeting="")


@dataclass(frozen=True, kw_only=True)
class Report:
    """What is reported before the start."""

    adjustments: tuple[Adjustment, ...]
    """Everything that the run gets otherwise than asked."""
    warnings: tuple[PlanWarning, ...]
    notices: tuple[str, ...]
    changed: tuple[ChangedSetting, ...]
    """Settings whose values were others in the previous attempt."""


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """One attempt at one run, complete: the worker makes no choices of its own."""

    folder: str
    attempt: int
    identity: Mapping[str, Any]
    """What later starts in the folder are compared with."""
    start: Start
    data: DatasetPlan
    devices: DevicePlan
    """Of this node."""
    nodes: NodePlan
    keys: Keys
    """detectron2's as they will be, adjustments included."""
    own_code: OwnCode
    """Code of the user's own that every rank imports."""
    task: Task
    limits: Limits
    lessons: Lessons
    """What earlier attempts taught this one."""
    report: Report

    @property
    def paths(self) -> RunPaths:
        return RunPaths(Path(self.folder))

    @property
    def attempt_paths(self) -> AttemptPaths:
        return self.paths.attempt(self.attempt)

    @property
    def file(self) -> Path:
        """That the worker of this node reads."""
        return self.attempt_paths.plan_of(self.nodes.rank)

    @property
    def num_processes(self) -> int:
        """On all nodes."""
        return self.nodes.count * self.devices.num_processes

    @property
    def first_rank(self) -> int:
        """Of this node's processes."""
        return self.nodes.rank * self.devices.num_processes

    @property
    def resume(self) -> ResumePoint | None:
        """The checkpoint to continue from."""
        return self.start.point if isinstance(self.start, Resume) else None

    @property
    def quiet(self) -> bool:
        """Whether nothing but errors and the end is printed."""
        return self.task.logging.quiet if isinstance(self.task, Train) else self.task.quiet

    @property
    def fingerprint(self) -> str:
        """Of what makes this run the one it is."""
        return fingerprint_of(self.identity)

    @property
    def first_iteration(self) -> int:
        """The iterations, or images, that are done before this attempt, as far as it is known beforehand."""
        if isinstance(self.start, Continue):
            return self.start.done
        return self.resume.next_iteration or 0 if self.resume else 0

    @property
    def micro_batch(self) -> int:
        """The largest number of images that go through the model of one process at once."""
        if not isinstance(self.task, Train):
            return self.task.model.batch
        per_process: int = self.keys["SOLVER.IMS_PER_BATCH"] // self.num_processes
        return -(-per_process // self.task.accumulate)
