"""What is short around a training: memory, disk, limits of a process. None of it keeps a GPU from use."""

from __future__ import annotations

from launcher.device.causes.cause import Cause, Evidence
from launcher.device.diagnosis import Severity
from launcher.device.facts import DeviceFacts

# detectron2's own default; a worker keeps two samples ready, and one large image with its masks is some 10 MiB.
USUAL_WORKERS, SHM_PER_WORKER_MIB = 4, 24
MIN_DISK_MIB, MIN_MEMORY_MIB = 2048, 2048
MIN_OPEN_FILES = 512
MIN_LOCKED_MIB = 64
"""InfiniBand's buffers are locked; the usual 64 KiB or 8 MiB of a container do not suffice."""


def find_small_shm(facts: DeviceFacts) -> Evidence | None:
    platform = facts.platform
    there = platform.shm_there_mib
    needed = min(platform.num_cpus, USUAL_WORKERS) * SHM_PER_WORKER_MIB
    if there is None or there >= needed:
        return None
    return Evidence(
        title=f"/dev/shm has only {there} MiB free: data loader workers may die of a bus error",
        lines=(
            f"/dev/shm: {there} of {platform.shm_mib} MiB free, "
            f"{needed // SHM_PER_WORKER_MIB} workers want about {needed}",
        ),
    )


SHM = Cause(
    code="shm.small",
    severity=Severity.warning,
    title="/dev/shm is too small for the data loader",
    meaning="Workers hand their images over through /dev/shm, of which docker gives 64 MiB.",
    fix="start the container with `--shm-size=8g` or `--ipc=host`, or set DATALOADER.NUM_WORKERS=0",
    symptoms=(
        "is killed by signal: Bus error",
        "Bus error",
        "unable to open shared memory object",
        "DataLoader's workers are out of shared memory",
        "unable to write to file </torch_",
        "unable to write to file </torch_…No space left on device",
        "Unexpected bus error encountered in worker",
        "insufficient shared memory (shm)",
        "SIGBUS",
        "unable to allocate shared memory",
        "/dev/shm has no room for another semaphore",
    ),
    find=find_small_shm,
)


def find_full_disk(facts: DeviceFacts) -> Evidence | None:
    free = facts.platform.disk_free_mib
    if free is None or free >= MIN_DISK_MIB:
        return None
    return Evidence(
        title=f"only {free} MiB are free where runs are written unless run.root names another place",
        lines=("a checkpoint of Mask R-CNN with its optimizer is about 350 MiB",),
    )


DISK = Cause(
    code="disk.full",
    severity=Severity.warning,
    title="the disk for the runs is nearly full",
    meaning="Checkpoints of a detectron2 model with its optimizer take some hundred MiB each.",
    fix="make room, or choose another place with run.root=DIR",
    symptoms=("No space left on device", "Disk quota exceeded"),
    find=find_full_disk,
)


def find_little_memory(facts: DeviceFacts) -> Evidence | None:
    there = facts.platform.memory_mib
    if there is None or there >= MIN_MEMORY_MIB:
        return None
    return Evidence(
        title=f"only {there} MiB of memory are available: the kernel may kill the training",
        lines=("torch, detectron2 and CUDA take about 2 GiB before the first image",),
    )


MEMORY = Cause(
    code="memory.small",
    severity=Severity.warning,
    title="little memory is available",
    meaning="Less is free than a training needs for its start, or the control group of the job or container allows no "
    "more.",
    fix="ask the job or container for more memory, end other programs, or set DATALOADER.NUM_WORKERS=0",
    symptoms=("Cannot allocate memory",),
    find=find_little_memory,
)


def find_few_open_files(facts: DeviceFacts) -> Evidence | None:
    limit = facts.platform.open_files
    if limit is None or limit >= MIN_OPEN_FILES:
        return None
    return Evidence(
        title=f"a process may open only {limit} files: data loader workers may fail with `Too many open files`",
        lines=(f"RLIMIT_NOFILE is {limit}",),
    )


OPEN_FILES = Cause(
    code="limits.open_files",
    severity=Severity.warning,
    title="few open files are allowed",
    meaning="Every tensor that a worker hands over keeps a file open until it is used.",
    fix="`ulimit -n 4096` before the start, or `--ulimit nofile=4096` for the container",
    symptoms=(
        "Too many open files",
        "No further file can be opened",
        "unable to open shared memory object",
        "unable to open shared memory object </torch_…Too many open files",
        "received 0 items of ancdata",
    ),
    find=find_few_open_files,
)


PROCESSES = Cause(
    code="limits.processes",
    title="no further process or thread may be started",
    meaning="The kernel counts processes and threads of a user (`ulimit -u`) and of a container or job (its pids "
    "limit). A training starts a process per GPU and per data loader worker, and each of them some threads.",
    fix="`ulimit -u 4096` before the start, or `--pids-limit=-1` for the container; end other programs; "
    "DATALOADER.NUM_WORKERS=0 needs the fewest",
    symptoms=(
        "No further process or thread can be started",
        "can't start new thread",
        "Resource temporarily unavailable",
        "pthread_create failed",
        "Thread creation failed",
    ),
)


def find_little_locked_memory(facts: DeviceFacts) -> Evidence | None:
    limit = facts.platform.locked_memory_mib
    several = facts.driver is not None and len(facts.driver.gpus) > 1
    if limit is None or limit >= MIN_LOCKED_MIB or not (several and facts.system.infiniband):
        return None
    return Evidence(
        title=f"a process may lock only {limit} MiB of memory: NCCL cannot use InfiniBand",
        lines=("RLIMIT_MEMLOCK is low, and there is InfiniBand hardware",),
    )


LOCKED_MEMORY = Cause(
    code="limits.locked_memory",
    severity=Severity.info,
    title="little memory may be locked",
    meaning="InfiniBand's buffers must stay in memory; without that NCCL fails with an unhandled system error.",
    fix="`ulimit -l unlimited` before the start, or `--ulimit memlock=-1` for the container",
    symptoms=("ibv_reg_mr…Cannot allocate memory", "RLIMIT_MEMLOCK"),
    find=find_little_locked_memory,
)


def find_mixed_libraries(facts: DeviceFacts) -> Evidence | None:
    several = facts.packages.cudnn_packages if len(facts.packages.cudnn_packages) > 1 else ()
    if not facts.packages.torch_cuda or not (facts.system.cuda_folders or several):
        return None
    return Evidence(
        lines=(
            *(f"LD_LIBRARY_PATH: {folder}" for folder in facts.system.cuda_folders),
            *((f"installed over each other: {', '.join(several)}",) if several else ()),
        ),
    )


MIXED_LIBRARIES = Cause(
    code="libraries.mixed",
    severity=Severity.info,
    title="there are CUDA libraries beside torch's own; torch as a wheel does not mind",
    meaning="A folder of LD_LIBRARY_PATH holds libraries that torch brings along, or two packages brought cuDNN. "
    "torch's wheels do not mind; conda and source builds may.",
    fix="nothing while all works; else `unset LD_LIBRARY_PATH`, and keep one nvidia-cudnn package",
    find=find_mixed_libraries,
)

CAUSES = (SHM, DISK, MEMORY, OPEN_FILES, PROCESSES, LOCKED_MEMORY, MIXED_LIBRARIES)
