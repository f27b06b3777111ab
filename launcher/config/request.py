"""What was asked: the launcher's own settings and, beside them, detectron2's keys.

These dataclasses are the schema of the lower-case half of the composed configuration; defaults and ranges live here
and nowhere else, and `docs/settings.md` is made from them. The upper-case half is generated from the installed
detectron2 (see `known_keys.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from launcher.config.keys import Keys
from launcher.config.ranges import ranged
from launcher.config.task import TRAIN, TaskRequest

DEFAULT_OUTPUT_DIR = "./output"
"""detectron2's; a run whose OUTPUT_DIR is spelled otherwise has been given that folder."""


class DeviceChoice(Enum):
    """A kind of device."""

    auto = "auto"
    """The usable GPUs, otherwise the CPU; shows why."""
    cuda = "cuda"
    """NVIDIA GPUs; refused if too few are usable."""
    cpu = "cpu"
    """The CPU, whatever else is there."""
    mps = "mps"
    """Apple's GPU, which detectron2 does not support: refused, or with `device.on_missing=fall_back` the CPU."""


class OnMissing(Enum):
    """What happens if the requested GPUs are not usable."""

    by_choice = "by_choice"
    """`device.choice=auto` falls back to what is usable unless a scheduler allocated GPUs; `cuda` refuses."""
    refuse = "refuse"
    """The start is refused."""
    fall_back = "fall_back"
    """Fewer GPUs or the CPU replace them."""


class Precision(Enum):
    """A floating-point type."""

    auto = "auto"
    """bfloat16 where every chosen GPU supports it, otherwise float16."""
    float16 = "float16"
    """With gradient scaling."""
    bfloat16 = "bfloat16"
    """Without gradient scaling."""


class Scaling(Enum):
    """What stays the same on another number of processes."""

    keep_batch = "keep_batch"
    """Batch, learning rate and schedule stay; gradients accumulate over as many micro-batches as it takes."""
    linear = "linear"
    """Batch, learning rate and schedule follow the number of processes: detectron2's `SOLVER.REFERENCE_WORLD_SIZE`."""
    none = "none"
    """Batch, learning rate and schedule stay; each process runs its whole per-process batch at once."""


@dataclass(frozen=True, kw_only=True)
class DeviceRequest:
    """Which devices a run trains on."""

    choice: DeviceChoice = DeviceChoice.auto
    """Kind of device; `device=cpu` is short for `device.choice=cpu`."""
    count: Any = 1
    """Number of GPUs, or of processes on the CPU; `all` takes every usable GPU."""
    ids: list[Any] = field(default_factory=list)
    """GPUs to choose from, each an index as `nvidia-smi` counts or a UUID (a unique prefix is enough); `[]` is any."""
    on_missing: OnMissing = OnMissing.by_choice
    """What happens if the requested GPUs are not usable."""
    min_free_gib: float = ranged(1.0, at_least=0)
    """Free memory in GiB that a GPU must have to be chosen."""
    max_used: float = ranged(1.0, at_least=0, at_most=1)
    """Fraction of a GPU's memory that may be in use for it to be chosen; 0.1 asks for idle GPUs."""
    share: bool = False
    """Also choose GPUs that another launcher on this host has claimed."""
    patience_s: float = ranged(45.0, above=0)
    """Seconds after which an NVIDIA driver that does not answer counts as hung."""
    interface: str = ""
    """Network interface, such as `ib0`, over which several nodes talk; empty leaves it to gloo and NCCL."""
    nodes_patience_s: float = ranged(300.0, above=0)
    """Seconds to wait for the launchers of the other nodes, with several nodes."""
    precision: Precision = Precision.auto
    """Floating-point type of mixed precision; only with `SOLVER.AMP.ENABLED=True`. On a CPU `bfloat16` is used even
    where it is slower."""
    micro_batch: int = ranged(0, at_least=0, note="0 leaves it to scaling")
    """Largest micro-batch per device, in images; gradients accumulate up to the batch. 0 leaves it to `scaling`."""


class DatasetKind(Enum):
    """Where a data set's description comes from."""

    registered = "registered"
    """Names in `DATASETS.TRAIN` and `DATASETS.TEST` that detectron2 registers itself, found under `dataset.root`."""
    coco_json = "coco_json"
    """COCO-format files that `dataset.train` and `dataset.val` name."""


class IndexChoice(Enum):
    """Which annotation files are indexed."""

    auto = "auto"
    """Those of 8 MB or more."""
    on = "on"
    """All, whatever their size."""
    off = "off"
    """None: the launcher and every process of the training read all annotations into memory."""


@dataclass(frozen=True, kw_only=True)
class SplitRequest:
    """The files of one split of a `coco_json` data set."""

    json: str = ""
    """COCO-format annotations of this split, only with `dataset=coco_json`; those of val may be left out."""
    images: str = ""
    """Folder that the `file_name` of this split's images is relative to, only with `dataset=coco_json`; left out, it is
    that of the annotations if the images are there."""


@dataclass(frozen=True, kw_only=True)
class ValRequest(SplitRequest):
    """The files to validate with, or the part of the training split that is kept for that."""

    fraction: float = ranged(0.0, at_least=0, below=1, note="0 keeps none")
    """Fraction of the images of `dataset.train.json` that validate and do not train; 0 keeps none. Not together with
    `dataset.val.json`."""
    seed: int = ranged(0, at_least=0)
    """Which images `dataset.val.fraction` keeps: the same ones on every machine; another number keeps others."""


@dataclass(frozen=True, kw_only=True)
class DatasetRequest:
    """What a run trains and evaluates on."""

    kind: DatasetKind = DatasetKind.registered
    """Where the data set's description comes from; `dataset=coco_json` chooses files of your own."""
    name: str = ""
    """Name under which a `coco_json` data set is registered, as `<name>_train` and `<name>_val`."""
    root: str = "datasets"
    """Folder of detectron2's own data sets, by default that of the variable `DETECTRON2_DATASETS` if it is set; with
    `dataset=coco_json`, a folder in which the annotation files and images of train and val are looked for."""
    train: SplitRequest = field(default_factory=SplitRequest)
    """Training split."""
    val: ValRequest = field(default_factory=ValRequest)
    """Validation split; may be left out."""
    check: bool = True
    """Check annotations and image files before training."""
    index: IndexChoice = IndexChoice.auto
    """Whether COCO-format annotations are indexed once and opened by every later start, instead of read by each."""
    max_bad: int = ranged(10, at_least=0, note="0 tolerates none")
    """Unusable training images per process and start that are replaced by other images before the training fails."""


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Where a run lives, and what ends it."""

    root: str = "outputs"
    """Folder of all runs; a run's own folder is `<run.root>/<experiment>/<run.name>`."""
    name: str = ""
    """Name of the run folder; empty derives it from the command line."""
    in_place: bool = False
    """Train in the launcher's own process, for debuggers; a crash then leaves no outcome."""
    time_limit: Any = 0
    """Time after which the run stops and saves, as for Slurm: minutes, H:MM:SS or D-HH:MM:SS; 0 is no limit."""
    allow_changes: list[str] = field(default_factory=list)
    """Settings that may change when the run resumes although that would make it another run."""
    retries: int = ranged(3, at_least=0, note="0 never retries")
    """Retries in a row without a new checkpoint before the launcher gives up; 0 never retries."""
    provenance: bool = True
    """Write provenance.json: the command, the installed packages, and git's commit and diff; only you may read it."""
    hang_minutes: float = ranged(30.0, at_least=0, note="0 disables the check")
    """Minutes without progress after which a training counts as hung and is ended; 0 disables the check."""


class BestMode(Enum):
    """Which value of a metric is better."""

    max = "max"
    """The larger one, as of AP."""
    min = "min"
    """The smaller one, as of a loss."""


@dataclass(frozen=True, kw_only=True)
class CheckpointSettings:
    """When checkpoints are saved, and which are kept."""

    period: int = ranged(0, at_least=0, note="0 takes SOLVER.CHECKPOINT_PERIOD")
    """Iterations between two checkpoints; 0 takes `SOLVER.CHECKPOINT_PERIOD`."""
    every_minutes: float = ranged(0.0, at_least=0, note="0 saves by iterations only")
    """Minutes after which a checkpoint is saved in addition; 0 saves by iterations only."""
    keep_last: int = ranged(2, at_least=0, note="0 keeps all")
    """Number of newest checkpoints that are kept; 0 keeps all."""
    keep_best: str = ""
    """Metric of the evaluation, such as `bbox/AP`, whose best checkpoint stays as model_best.pth; empty keeps none."""
    best_mode: BestMode = BestMode.max
    """Which value of `checkpoint.keep_best` is better."""
    async_: bool = False
    """Write checkpoints in the background, from a copy in memory, while the training continues."""


@dataclass(frozen=True, kw_only=True)
class EmaSettings:
    """An exponential moving average of the weights, which is evaluated and drawn instead of the latest weights."""

    decay: float = ranged(0.0, at_least=0, below=1, note="0 keeps no average")
    """Decay of the moving average of the weights, such as 0.9999; 0 keeps no average."""


@dataclass(frozen=True, kw_only=True)
class EarlyStoppingSettings:
    """When a training ends although iterations are left."""

    metric: str = ""
    """Metric of the evaluation, such as `bbox/AP`, that ends the training when it stops improving; empty never does."""
    patience: int = ranged(5, at_least=1)
    """Evaluations in a row without improvement of `early_stopping.metric` that end the training."""
    min_delta: float = ranged(0.0, at_least=0)
    """Amount by which `early_stopping.metric` must exceed the best value so far to count as an improvement."""
    mode: BestMode = BestMode.max
    """Which value of `early_stopping.metric` is better."""


class EvaluationBackend(Enum):
    """What computes COCO's AP."""

    auto = "auto"
    """The library hotcoco where its numbers are pycocotools' to the last bit, otherwise pycocotools."""
    hotcoco = "hotcoco"
    """The library hotcoco; refused where it is not installed."""
    pycocotools = "pycocotools"
    """COCO's own code."""


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """How detections are measured."""

    backend: EvaluationBackend = EvaluationBackend.auto
    """What computes the AP of boxes, masks and keypoints."""


class Rerun(Enum):
    """Which failed jobs of a sweep are run again. Whatever was interrupted resumes in any case."""

    failed = "failed"
    """All of them."""
    unfinished = "unfinished"
    """Those that may end otherwise now: not those that would meet the same error again, such as a loss that is NaN."""
    none = "none"
    """None of them."""


@dataclass(frozen=True, kw_only=True)
class PoolSettings:
    """The devices of this machine that the jobs of a sweep share."""

    devices: Any = "auto"
    """`auto`, the usable GPUs or else the CPU; `cpu`; or a list of GPUs, each an index or a UUID."""
    gpus_per_job: int = ranged(1, at_least=1)
    """Number of GPUs of each job."""
    max_parallel: int = ranged(0, at_least=0, note="0 is as many as fit")
    """Number of jobs at a time; 0 is as many as fit."""


@dataclass(frozen=True, kw_only=True)
class SweepSettings:
    """What several runs of one command, with `-m`, have in common."""

    name: str = ""
    """Name of the sweep; empty derives it from the command line."""
    metric: str = ""
    """Metric of the evaluation, such as `bbox/AP`, that jobs are compared by; empty is the main one."""
    mode: BestMode = BestMode.max
    """Which value of `sweep.metric` is better."""
    seeds: int = ranged(1, at_least=1)
    """How often each point is run, each time with another seed; the table shows mean and spread."""
    rerun: Rerun = Rerun.unfinished
    """Which failed jobs are run again by the same command."""
    on_failure: str = "continue"
    """What the failure of one job means for the others: `continue`, nothing; `stop`, no other job starts, and those
    that run come to their end."""
    keep: str = ""
    """`best:N` deletes the checkpoints of all finished jobs but the N best; empty keeps all."""


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """How `hydra/sweeper=search` chooses the settings of the next job."""

    n_trials: int = ranged(20, at_least=1)
    """Number of jobs, all starts of the same command together."""
    sampler: str = "tpe"
    """What proposes the settings of a job: `tpe`, `random` or `gp`."""
    sampler_settings: dict[str, Any] = field(default_factory=dict)
    """Settings of the sampler by their names in Optuna, such as `{n_startup_trials: 5}`."""
    pruner: str = "none"
    """What stops jobs that are not worth their end: `median`, `percentile`, `threshold`, `asha`, or `none`."""
    pruner_settings: dict[str, Any] = field(default_factory=dict)
    """Settings of the pruner, such as `{n_warmup_steps: 1000}`; steps are iterations."""
    batch: int = ranged(0, at_least=0, note="0 is as many as the launcher runs at once")
    """Number of jobs that are proposed together where the launcher takes batches; `hydra/launcher=pool` needs none."""


class JobCode(Enum):
    """Which code a submitted job runs."""

    live = "live"
    """That of the files as they are when the job starts; an edit since the submission is logged in one line."""
    snapshot = "snapshot"
    """A copy that is made when the job is submitted."""


class ContainerKind(Enum):
    """What runs the training of a job in a container."""

    none = "none"
    """Nothing: it runs as it is installed on the nodes."""
    srun = "srun"
    """`srun --container-image`, of a site that has pyxis and enroot."""
    apptainer = "apptainer"
    """`apptainer exec`, with the NVIDIA driver where the job has GPUs."""


@dataclass(frozen=True, kw_only=True)
class ContainerSettings:
    """The container that a job's training runs in; the batch script itself stays outside and requeues."""

    kind: ContainerKind = ContainerKind.none
    """What starts it."""
    image: str = ""
    """Its image: a file, or an address that `kind` understands. It has to have the command `launcher`."""
    mounts: list[str] = field(default_factory=list)
    """Folders that are seen in it under the same name, beside the run's and the one of the submission."""


@dataclass(frozen=True, kw_only=True)
class ClusterSettings:
    """The job that `launcher submit`, or a sweep with `hydra/launcher=slurm_array`, asks Slurm for."""

    nodes: int = ranged(1, at_least=1)
    """Number of nodes, each with the same devices."""
    gpus_per_node: int = ranged(0, at_least=0, note="0 asks for a job without GPUs, with device=cpu")
    """Number of GPUs on each node, which is also the number of processes; 0 is a job without, with `device=cpu`."""
    cpus_per_node: int = ranged(0, at_least=0, note="0 follows the processes")
    """Number of CPUs on each node; 0 asks for one for each process and each of its DataLoader workers."""
    memory_gib: float = ranged(0.0, at_least=0, note="0 leaves it to the site")
    """Memory in GiB on each node; 0 leaves it to the site."""
    time: Any = 0
    """Time limit of the job: minutes, H:MM:SS or D-HH:MM:SS; 0 leaves it to the partition."""
    partition: str = ""
    """Partition, or several with commas between; empty is the site's default."""
    account: str = ""
    """Account that is charged; empty is the user's default."""
    qos: str = ""
    """Quality of service; empty is the site's default."""
    constraint: str = ""
    """Features that a node must have, in Slurm's notation, such as `a100&nvlink`; empty is any node."""
    options: list[str] = field(default_factory=list)
    """Further options of sbatch, each with its value, such as `--exclude=n3`."""
    preamble: list[str] = field(default_factory=list)
    """Lines of shell that the job runs before the training, such as `module load cuda`."""
    container: ContainerSettings = field(default_factory=ContainerSettings)
    signal_s: int = ranged(0, at_least=0, at_most=65535, note="0 follows the time that a save takes")
    """Seconds before the time limit at which the run stops and saves; 0 is 120, or more where saves take long."""
    code: JobCode = JobCode.live
    """Which code the job runs: `live`, the files as they are when it starts, or `snapshot`, a copy made now."""
    max_parallel: int = ranged(0, at_least=0, note="0 leaves it to Slurm")
    """Number of jobs of a sweep that run at a time, with `-m hydra/launcher=slurm_array`; 0 leaves it to Slurm."""
    detach: bool = False
    """Submit a sweep and return, with `-m hydra/launcher=slurm_array`, instead of following it; short: `--detach`."""


@dataclass(frozen=True, kw_only=True)
class LoggingSettings:
    """How much is logged."""

    period: int = ranged(20, at_least=1)
    """Iterations between two entries in metrics.json, TensorBoard and plain console output."""
    images: int = ranged(8, at_least=0, note="0 draws none")
    """Number of training inputs and of validation predictions that are drawn; 0 draws none."""
    tensorboard: bool = True
    """Write TensorBoard event files."""
    validation_loss: int = ranged(0, at_least=0, note="0 computes none")
    """Number of validation images whose loss is computed at each evaluation, beside the training loss; 0 computes
    none."""
    quiet: bool = False
    """Print errors and how the run ended, and nothing else; log.txt has the rest."""


@dataclass(frozen=True, kw_only=True)
class Typed:
    """What the command line itself says, as far as a run is named after it."""

    experiment: str
    """The chosen experiment, or empty."""
    overrides: tuple[str, ...]
    """As typed, group choices included, `hydra.*` left out."""
    in_sweep: bool
    """Whether the request is one job of a sweep."""
    swept: tuple[str, ...]
    """In a sweep, those of the overrides that differ from job to job."""
    task: TaskRequest = TRAIN
    """What the command does."""
    folder: str = ""
    """Of a job, its run folder within that of its sweep; empty where the request says it otherwise."""


@dataclass(frozen=True, kw_only=True)
class OwnCode:
    """Code of your own, by name: found on PYTHONPATH, among what is installed and in the current folder."""

    config_extensions: tuple[str, ...] = ()
    """Functions `module:function` that add keys to detectron2's configuration; they are called with its CfgNode."""
    imports: tuple[str, ...] = ()
    """Modules, such as `package.module`, that every training process imports before anything is built: they register
    models, data sets, samplers and evaluators with detectron2."""
    trainer: str = ""
    """Trainer `package.module:MyTrainer`, a subclass of `launcher.train.Trainer`; empty is the launcher's own."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What came of looking for the files of a data set of which less was named."""

    notes: tuple[str, ...] = ()
    """What was found."""
    problems: tuple[str, ...] = ()
    """Why it cannot be said which files are meant."""


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """Everything a user asked for, composed and checked, before this machine has been looked at."""

    typed: Typed
    """The command line."""
    device: DeviceRequest
    """Which devices a run trains on."""
    dataset: DatasetRequest
    """What a run trains and evaluates on."""
    run: RunSettings
    """Where a run lives, and what ends it."""
    resume: str
    """What a run starts from: `auto` (its last valid checkpoint, if there is one), `must` (refused without one),
    `never` (starts over and archives the old content) or the path of a checkpoint."""
    logging: LoggingSettings
    """How much is logged."""
    checkpoint: CheckpointSettings
    """When checkpoints are saved, and which are kept."""
    ema: EmaSettings
    """A moving average of the weights."""
    early_stopping: EarlyStoppingSettings
    """When a training ends although iterations are left."""
    evaluation: EvaluationSettings
    """How detections are measured."""
    cluster: ClusterSettings
    """The job that is asked of Slurm."""
    pool: PoolSettings
    """The devices that the jobs of a sweep share."""
    sweep: SweepSettings
    """What the jobs of a sweep have in common."""
    search: SearchSettings
    """How a search chooses the settings of the next job."""
    scaling: Scaling
    """What stays the same on another number of processes than the configuration was made for."""
    own_code: OwnCode
    """A user's own code, whose settings stand at the root of the configuration."""
    keys: Keys
    """detectron2's keys."""
    found: Found = Found()
    """How `dataset` came to name its files."""

    @property
    def task(self) -> TaskRequest:
        """What is to be done."""
        return self.typed.task
