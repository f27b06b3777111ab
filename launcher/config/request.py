"""What was asked: the launcher's own settings and, beside them, detectron2's keys.

These dataclasses are the schema of the lower-case half of the composed configuration; defaults live here and
nowhere else. The upper-case half is generated from the installed detectron2 (see `keys.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from launcher.config.keys import Keys


class DeviceChoice(Enum):
    auto = "auto"
    cuda = "cuda"
    cpu = "cpu"
    mps = "mps"


class OnMissing(Enum):
    """What to do when the GPUs that were asked for are not usable."""

    by_choice = "by_choice"
    """`auto` falls back (unless a scheduler promised GPUs), `cuda` refuses."""
    refuse = "refuse"
    fall_back = "fall_back"


class Precision(Enum):
    """In what automatic mixed precision (SOLVER.AMP.ENABLED) computes."""

    auto = "auto"
    """bfloat16 where every chosen GPU has it, else float16."""
    float16 = "float16"
    bfloat16 = "bfloat16"


class Scaling(Enum):
    """What another number of processes than the configuration was made for does to batch and learning rate."""

    keep_batch = "keep_batch"
    """Nothing: the total batch stays, and gradients accumulate over as many forward passes as it takes."""
    linear = "linear"
    """detectron2's rule of SOLVER.REFERENCE_WORLD_SIZE: batch and learning rate follow the number of processes."""
    none = "none"
    """The total batch stays and is shared in one forward pass, whatever memory that takes."""


@dataclass(frozen=True, kw_only=True)
class DeviceRequest:
    choice: DeviceChoice = DeviceChoice.auto
    count: Any = 1
    """How many GPUs, or how many processes on the CPU; `all` takes every usable GPU."""
    ids: list[Any] = field(default_factory=list)
    """GPUs to choose from, each an index as `nvidia-smi` counts or a UUID (a unique prefix is enough)."""
    on_missing: OnMissing = OnMissing.by_choice
    min_free_gib: float = 1.0
    """GPUs with less free memory are not taken."""
    max_used: float = 1.0
    """GPUs of whose memory more than this share is in use are not taken; 0.1 asks for idle ones."""
    share: bool = False
    """Take GPUs also where another launch on this host has claimed them."""
    patience_s: float = 45.0
    """Seconds that a driver may take to answer before it counts as hung."""
    precision: Precision = Precision.auto
    micro_batch: int = 0
    """Most images of one forward pass on one device; 0 takes those of the reference (see `scaling`)."""


class DatasetKind(Enum):
    registered = "registered"
    """Names that detectron2 registers itself, found under `dataset.root`."""
    coco_json = "coco_json"
    """COCO-format files named by `dataset.train` and `dataset.val`."""


@dataclass(frozen=True, kw_only=True)
class SplitRequest:
    json: str = ""
    images: str = ""


@dataclass(frozen=True, kw_only=True)
class DatasetRequest:
    kind: DatasetKind = DatasetKind.registered
    name: str = ""
    """Under what name a `coco_json` data set is registered: `<name>_train` and `<name>_val`."""
    root: str = "datasets"
    """Where detectron2's own data sets live (detectron2's DETECTRON2_DATASETS)."""
    train: SplitRequest = field(default_factory=SplitRequest)
    val: SplitRequest = field(default_factory=SplitRequest)
    check: bool = True
    """Read the annotations and look for the images before training."""
    max_bad: int = 10
    """How many training images may turn out to be unusable, each replaced by another one; 0 tolerates none.

    Counted by every process for itself, from its start.
    """


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    root: str = "outputs"
    name: str = ""
    """Names the run folder; empty derives it from the overrides that matter."""
    in_place: bool = False
    """Train in the launcher's own process, for debuggers; a crash then leaves no outcome."""
    time_limit: Any = 0
    """After which to stop and save, as Slurm's --time: minutes, H:MM:SS or D-HH:MM:SS; 0 for none."""
    allow_changes: list[str] = field(default_factory=list)
    """Settings that may differ from those with which the run began although that makes it another one."""
    retries: int = 3
    """Failed attempts without a new checkpoint after which the launcher gives up."""
    hang_minutes: float = 30.0
    """How long a training may show no progress before it counts as hung; 0 waits for ever."""


class BestMode(Enum):
    """Which value of a metric is the better one."""

    max = "max"
    min = "min"


@dataclass(frozen=True, kw_only=True)
class CheckpointSettings:
    period: int = 0
    """Iterations between two checkpoints; 0 takes SOLVER.CHECKPOINT_PERIOD."""
    every_minutes: float = 0.0
    """Saves also when that much time has passed since the last one; 0 never does."""
    keep_last: int = 2
    """How many of the newest numbered checkpoints stay; 0 keeps all."""
    keep_best: str = ""
    """A metric of the evaluation, such as `bbox/AP`, whose best checkpoint is kept as model_best.pth."""
    best_mode: BestMode = BestMode.max
    async_: bool = False
    """Typed `checkpoint.async`: training goes on from a copy in memory while the file is written."""


@dataclass(frozen=True, kw_only=True)
class EmaSettings:
    """An average of the weights over the iterations, which is evaluated and drawn in place of the latest ones."""

    decay: float = 0.0
    """How much of the average stays in each iteration, such as 0.9999; 0 keeps no average."""


@dataclass(frozen=True, kw_only=True)
class EarlyStoppingSettings:
    """When a training ends although iterations are left."""

    metric: str = ""
    """A metric of the evaluation, such as `bbox/AP`; empty never stops early."""
    patience: int = 5
    """Evaluations in a row without improvement that end the training."""
    min_delta: float = 0.0
    """By how much more than this a metric must be better to count as improved."""
    mode: BestMode = BestMode.max


@dataclass(frozen=True, kw_only=True)
class LoggingSettings:
    period: int = 20
    """Iterations between two entries in metrics.json, TensorBoard and plain console lines."""
    images: int = 8
    """How many sample inputs and validation predictions are drawn; 0 draws none."""
    tensorboard: bool = True


@dataclass(frozen=True, kw_only=True)
class Typed:
    """What the command line itself says, as far as a run is named after it."""

    experiment: str
    """The chosen experiment, or empty."""
    overrides: tuple[str, ...]
    """As typed, group choices included, `hydra.*` left out."""
    in_sweep: bool
    swept: tuple[str, ...]
    """In a sweep, those of the overrides that differ from job to job."""


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """Everything a user asked for, composed and checked, before this machine has been looked at."""

    typed: Typed
    device: DeviceRequest
    dataset: DatasetRequest
    run: RunSettings
    resume: str
    """auto, must, never, or the path of a checkpoint."""
    logging: LoggingSettings
    checkpoint: CheckpointSettings
    ema: EmaSettings
    early_stopping: EarlyStoppingSettings
    scaling: Scaling
    config_extensions: tuple[str, ...]
    """`module:function` that add keys to detectron2's configuration, called with its CfgNode."""
    keys: Keys
    """detectron2's."""
