"""How a run ends before its time. Shows only while something runs, so nothing here is looked for on a machine.

An outcome has one of these codes, or that of a cause of the GPU or the driver.
"""

from __future__ import annotations

from launcher.device.causes.cause import Cause

SAME_COMMAND = "the same command resumes the run from its last valid checkpoint"
STACKS = "`stacks.txt` in the attempt's folder shows where every thread stood"

# Memory

OUT_OF_MEMORY = Cause(
    code="run.out_of_memory",
    title="the GPU ran out of memory",
    meaning="Model, images and gradients together are larger than the GPU's free memory. The launcher retries with "
    "half the micro-batch and the same effective batch, until one image is left.",
    fix="a smaller device.micro_batch or INPUT.MIN_SIZE_TRAIN, SOLVER.AMP.ENABLED=true, or a GPU with more memory; see "
    "in `launcher doctor` whether others use it",
    symptoms=(
        "CUDA out of memory. Tried to allocate",
        "torch.OutOfMemoryError",
        "torch.cuda.OutOfMemoryError",
        "CUDA error 2",
    ),
)

HOST_MEMORY = Cause(
    code="run.host_memory",
    title="the machine, or the control group of the job or container, ran out of memory",
    meaning="An allocation in main memory failed, or the kernel's OOM killer ended the training process. Every data "
    "loader worker holds the data set's list and its images. The launcher retries with half the workers.",
    fix="a smaller DATALOADER.NUM_WORKERS, device.micro_batch or INPUT.MIN_SIZE_TRAIN, or more memory for the job or "
    "container; `sudo dmesg | grep -i oom` names what was killed",
    symptoms=(
        "DefaultCPUAllocator: can't allocate memory",
        "not enough memory: you tried",
        "Unable to allocate…for an array with shape",
        "oom-kill",
        "Out of memory: Killed process",
        "oom_kill event",
    ),
)

LOADER_KILLED = Cause(
    code="run.loader_killed",
    title="a DataLoader worker was killed",
    meaning="Most often the kernel's out-of-memory killer: every worker holds the data set's list and its images. Or "
    "shared memory ran out.",
    fix="a smaller DATALOADER.NUM_WORKERS, more memory for the job or container, or more shared memory for the "
    "container (`--shm-size=8g`)",
    symptoms=(
        "DataLoader worker (pid…is killed by signal: Killed",
        "DataLoader worker (pid…exited unexpectedly",
    ),
)

# The process

CRASH = Cause(
    code="run.crash",
    title="the training process crashed",
    meaning="Compiled code ended the process: an operator, a library, the driver, or bad memory. The launcher retries; "
    "for a CPU run that crashes in its first pass it hides the NVIDIA driver.",
    fix=f"{STACKS}; `launcher doctor` tries driver, libraries and GPUs; extensions of your own must be built for this "
    "torch",
    symptoms=("SIGSEGV", "SIGABRT", "Segmentation fault", "Fatal Python error", "exitcode: -11"),
)

KILLED = Cause(
    code="run.killed",
    title="the training process was killed",
    meaning="Only the kernel, a scheduler or a user sends SIGKILL: as a rule memory ran out, or a limit was reached.",
    fix=f"`sudo dmesg | grep -i oom`; more memory, fewer workers; {SAME_COMMAND}",
    symptoms=("exitcode: -9", "SIGKILL", "Killed"),
)

HANG = Cause(
    code="run.hang",
    title="the training showed no progress",
    meaning="For `run.hang_minutes` there was no iteration, no evaluated batch and no other step, so the launcher "
    "ended it: processes that wait for each other, a file system that does not answer, a GPU or driver that is stuck, "
    "or a step that takes longer than that.",
    fix=f"{STACKS}; `launcher doctor` tries the GPUs; a larger run.hang_minutes if it was only slow",
)

INTERRUPTED = Cause(
    code="run.interrupted",
    title="the run was interrupted a second time",
    meaning="The first Ctrl-C lets the run save a checkpoint; the second one ends it at once, so what came after the "
    "last checkpoint is lost.",
    fix=SAME_COMMAND,
)

# Losses and kernels

DIVERGED = Cause(
    code="run.diverged",
    title="the loss is NaN or Inf",
    meaning="The learning rate is too high for the batch, boxes are degenerate, or mixed precision overflowed. Trying "
    "again gives the same.",
    fix="a lower SOLVER.BASE_LR (it scales with the batch), SOLVER.CLIP_GRADIENTS.ENABLED=true, a longer "
    "SOLVER.WARMUP_ITERS; look at the images that the message names and their annotations",
    symptoms=(
        "Loss became infinite or NaN at iteration",
        "FloatingPointError: Loss became",
        "Predicted boxes or scores contain Inf/NaN",
        "Training has diverged",
    ),
)

ASSERT = Cause(
    code="run.assert",
    title="a kernel stopped on an index out of range",
    meaning="Most often a category or keypoint number is as large as MODEL.ROI_HEADS.NUM_CLASSES or larger. Every "
    "later call in that process fails too.",
    fix="compare the classes of the data set with NUM_CLASSES (the check of the data does); on the CPU (device=cpu) "
    "the error names the line",
    symptoms=(
        "device-side assert triggered",
        "cudaErrorAssert",
        "Assertion `t >= 0 && t < n_classes` failed",
        "Error 710:",
    ),
)

ILLEGAL_ACCESS = Cause(
    code="run.illegal_access",
    title="a kernel accessed memory that is not its own",
    meaning="An error of an operator, or a GPU that goes bad. The process cannot use CUDA any more; the place that the "
    "traceback shows may be a later one.",
    fix="`CUDA_LAUNCH_BLOCKING=1 launcher train ...` shows the place; `launcher doctor` tries the GPU",
    symptoms=(
        "an illegal memory access was encountered",
        "cudaErrorIllegalAddress",
        "Error 700:",
        "misaligned address",
        "Error 716:",
        "operation not supported on global/shared address space",
        "Error 717:",
        "invalid program counter",
        "Error 718:",
    ),
)

LAUNCH_FAILURE = Cause(
    code="run.launch_failure",
    title="a kernel failed",
    meaning="An error of an operator or of the hardware; the process cannot use CUDA any more.",
    fix="run the same command again, which resumes; if it comes back on one GPU only, that one is sick",
    symptoms=(
        "unspecified launch failure",
        "cudaErrorLaunchFailure",
        "Error 719:",
        "an illegal instruction was encountered",
        "Error 715:",
        "too many resources requested for launch",
        "Error 701:",
    ),
)

CUDA_ERROR = Cause(
    code="run.cuda_error",
    title="CUDA failed with an error that has no code of its own",
    meaning="torch reported an error of CUDA, cuDNN, cuBLAS or NCCL that the launcher knows no closer cause of. "
    "`unknown error` (999) in a running training is often a GPU that was lost, or a machine that was suspended.",
    fix="`launcher doctor` tries driver and GPUs; `CUDA_LAUNCH_BLOCKING=1 launcher train ...` shows the place; `sudo "
    "dmesg | grep -i -e xid -e nvrm` shows what the driver logged",
    symptoms=("CUDA error: unknown error", "cudaErrorUnknown", "cuda runtime error (999)"),
)

# The request, the data and the folder

REQUEST = Cause(
    code="run.request",
    title="the configuration was found wrong while the run was starting",
    meaning="Some mistakes show only when detectron2 builds the model, the data loader or the optimizer, or when a "
    "checkpoint is loaded. Trying again gives the same.",
    fix="change the setting that the message names, then run the command again",
)

DATA = Cause(
    code="run.data",
    title="the data was found wrong while training",
    meaning="Images or annotations that passed the check of the data set's files cannot be used. Trying again gives "
    "the same.",
    fix="repair or remove what the message names, then run the command again; log.txt has every file",
)

UNREADABLE_IMAGES = Cause(
    code="run.unreadable_images",
    title="some images could not be read, and the rest was predicted on",
    meaning="A file is missing, cut off, or no image. Results of all others are written; the exit code is 1.",
    fix="repair or remove the files that the message names and run the command again: only those are done again",
)

DISK_FULL = Cause(
    code="run.disk_full",
    title="the disk of the run folder is full",
    meaning="A checkpoint or a log could not be written: no space, or a quota. Checkpoints of a detectron2 model with "
    "its optimizer take some hundred MiB each.",
    fix=f"make room, or choose another place with run.root=DIR; {SAME_COMMAND}",
    symptoms=("No space left on device", "Disk quota exceeded"),
)

WEIGHTS_UNAVAILABLE = Cause(
    code="run.weights_unavailable",
    title="MODEL.WEIGHTS could not be downloaded",
    meaning="The file is named by an address, and this machine does not reach it: no internet on a compute node, a "
    "proxy, or a server that is down.",
    fix="put the file on this machine and name it with MODEL.WEIGHTS=PATH, or start from random weights with "
    'MODEL.WEIGHTS=\\"\\"',
    symptoms=("urlopen error",),
)

FENCED = Cause(
    code="run.fenced",
    title="another attempt took over the run folder",
    meaning="A later start of the same run trains in this folder, perhaps on another host, so this attempt ended "
    "without writing.",
    fix="nothing: the later attempt is the run. `outcome.json` and `log.txt` in the newest folder of attempts/ show "
    "how it goes",
)

BUSY = Cause(
    code="run.busy",
    title="another launch trains in the run folder",
    meaning="One launch at a time trains in a folder. Nothing was changed, and the exit code is 5. Where that launch "
    "has died and only its worker is left, which finishes its iteration and saves, the same command waits for it.",
    fix="wait for it, stop it with SIGTERM, or choose another folder with run.name=NAME",
    symptoms=("is being trained right now by",),
)

NODE = Cause(
    code="run.node",
    title="a node cannot do its part",
    meaning="Of several nodes one did not come, has other devices than the first one, does not see the run's folder, "
    "data or weights, or its processes do not reach the others. Exit code 75: the scheduler may give another node.",
    fix="a run.root, data and weights on a disk that all nodes share; the same number of GPUs on each "
    "(cluster.gpus_per_node); device.interface=NAME where a host has several networks, as `ip -br address` lists them",
)

SUBMISSION_REFUSED = Cause(
    code="run.submission_refused",
    title="the scheduler refused the job",
    meaning="`launcher submit` wrote the batch script and Slurm did not take it, for the reason that it gives: most "
    "often a partition, account or limit that is not yours. Nothing runs.",
    fix="settings of cluster= that your site allows (`sinfo` lists partitions, `sacctmgr show assoc user=$USER` "
    "accounts); then the same command submits the run",
    symptoms=("sbatch: error: Batch job submission failed", "sbatch: error: invalid partition specified"),
)

CHECKPOINT_GONE = Cause(
    code="run.checkpoint_gone",
    title="the checkpoint to resume from has gone",
    meaning="Between planning and loading another process removed the file. The launcher plans again with the newest "
    "valid checkpoint.",
    fix=f"{SAME_COMMAND}; see that no other program deletes files in checkpoints/",
)

FAILED = Cause(
    code="run.failed",
    title="the training ended with an error",
    meaning="An exception that the launcher has no closer code for: of your own code, of detectron2 or of a library. "
    "It is not retried, because it would come again.",
    fix="the traceback in the attempt's log.txt shows the place; when that is fixed, the same command resumes the run. "
    "Before the first iteration, or twice from the same place, it follows from settings, data or code",
)

CAUSES = (
    OUT_OF_MEMORY,
    HOST_MEMORY,
    LOADER_KILLED,
    CRASH,
    KILLED,
    HANG,
    INTERRUPTED,
    DIVERGED,
    ASSERT,
    ILLEGAL_ACCESS,
    LAUNCH_FAILURE,
    CUDA_ERROR,
    REQUEST,
    DATA,
    UNREADABLE_IMAGES,
    DISK_FULL,
    WEIGHTS_UNAVAILABLE,
    FENCED,
    BUSY,
    NODE,
    SUBMISSION_REFUSED,
    CHECKPOINT_GONE,
    FAILED,
)
