"""What will happen: everything a worker needs, decided before anything is touched."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from launcher.config.adjustment import Adjustment, look_up
from launcher.config.request import (
    CheckpointSettings,
    EarlyStoppingSettings,
    EmaSettings,
    LoggingSettings,
)
from launcher.config.values import to_plain
from launcher.data.plan import CocoSplit
from launcher.device.policy.plan import DevicePlan
from launcher.run.changed import ChangedSetting
from launcher.run.outcome import EarlyStop
from launcher.run.resume import DamagedCheckpoint, ResumePoint


@dataclass(frozen=True, kw_only=True)
class Lessons:
    """What earlier attempts of this run taught."""

    avoid_gpus: Mapping[str, str] = field(default_factory=dict)
    """UUIDs of GPUs that failed, and how."""
    suspects: tuple[str, ...] = ()
    """UUIDs of GPUs that failed once, in a way that need not be their fault."""
    micro_batch: int | None = None
    """Most images of one forward pass that fit into memory, as far as is known."""
    num_workers: int | None = None
    """Most data loader processes that lived."""
    mask_driver: bool = False
    """Even a CPU training hung in, or was crashed by, the driver."""
    in_vain: int = 0
    """Attempts in a row that failed without a new checkpoint and without teaching anything else."""
    reason: str = ""
    """What the latest attempt taught, for people."""

    @property
    def lasting(self) -> Lessons:
        """What still holds when the same command is typed again: memory stays as it is, GPUs get repaired."""
        return Lessons(micro_batch=self.micro_batch, num_workers=self.num_workers)


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """One attempt at one run, complete: the worker makes no choices of its own."""

    folder: str
    identity: Mapping[str, Any]
    """What later starts in the folder are compared with."""
    attempt: int
    already_finished: bool
    """Nothing is to be done: the run reached its last iteration, or stopped early, in an earlier attempt."""
    sets_aside: bool
    """The folder's former content is renamed away first (`resume=never`)."""
    resume: ResumePoint | None
    damaged: tuple[DamagedCheckpoint, ...]
    """Checkpoints that are set aside by name before the start."""
    devices: DevicePlan
    splits: tuple[CocoSplit, ...]
    environment: Mapping[str, str]
    """For the data; the devices have their own."""
    detectron2: Mapping[str, Any]
    """detectron2's keys as they will be, adjustments included."""
    config_extensions: tuple[str, ...]
    logging: LoggingSettings
    adjustments: tuple[Adjustment, ...]
    notices: tuple[str, ...]
    checkpoint: CheckpointSettings = field(default_factory=CheckpointSettings)
    ema: EmaSettings = field(default_factory=EmaSettings)
    early_stopping: EarlyStoppingSettings = field(default_factory=EarlyStoppingSettings)
    stopped_early: EarlyStop | None = None
    """Why the run had come to its end before the last iteration, when this attempt was planned."""
    max_bad: int = 0
    """Training images that may turn out to be unusable."""
    train_checksum: int = 0
    may_reorder: bool = False
    """The checkpoint may be of another order of samples: another run's, or one whose settings were insisted on."""
    begun_with: int = 1
    """Processes with which this run began."""
    changed: tuple[ChangedSetting, ...] = ()
    """Since the attempt before."""
    stop_at: float = 0.0
    """When to stop and save, in seconds since the epoch; 0 for never."""
    accumulate: int = 1
    """Forward passes into which each process splits its share of a batch."""
    retries: int = 0
    hang_minutes: float = 0.0
    lessons: Lessons = field(default_factory=Lessons)
    """What earlier attempts taught this one."""

    @property
    def fingerprint(self) -> str:
        """Of what makes this run the one it is."""
        return hashlib.sha256(json.dumps(to_plain(self.identity), sort_keys=True).encode()).hexdigest()[:16]

    @property
    def first_iteration(self) -> int:
        """The index of the first iteration of this attempt, as far as it is known beforehand."""
        return self.resume.next_iteration or 0 if self.resume else 0

    @property
    def images_per_pass(self) -> int:
        """Most images of one forward pass of one process."""
        share = look_up(self.detectron2, "SOLVER.IMS_PER_BATCH") // self.devices.num_processes
        return -(-share // self.accumulate)
