"""What is short around a training, or worth knowing about its GPUs: pure rules, none of which keeps a GPU from use."""

from __future__ import annotations

from launcher.device.causes.evidence import (
    LAUNCH_TIMEOUT,
    NVML_MISMATCH,
    Seen,
    driver_works,
    how_it_ended,
    nvml_failed,
    raw_codes,
)
from launcher.device.facts import DeviceFacts, NvmlGpu

# detectron2's own default; a worker keeps two samples ready, and one large picture with its masks is some 10 MiB.
USUAL_WORKERS, SHM_PER_WORKER_MIB = 4, 24
MIN_DISK_MIB, MIN_MEMORY_MIB = 2048, 2048
MIN_OPEN_FILES = 512
MIN_LOCKED_MIB = 64
"""InfiniBand's buffers are locked; the usual 64 KiB or 8 MiB of a container do not suffice."""

# Of NVML's reasons for lower clocks those that are no ordinary saving of power.
THROTTLED = {0x8: "the hardware slows down", 0x20: "too hot", 0x40: "too hot", 0x80: "too little power"}
SLOW_START_S = 2.0


def shm_small(facts: DeviceFacts) -> Seen | None:
    platform = facts.platform
    there = platform.shm_mib if platform.shm_free_mib is None else platform.shm_free_mib
    needed = min(platform.num_cpus, USUAL_WORKERS) * SHM_PER_WORKER_MIB
    if there is None or there >= needed:
        return None
    return Seen(
        cause=f"/dev/shm has only {there} MiB free: data loader workers may die of a bus error",
        evidence=(
            f"/dev/shm: {there} of {platform.shm_mib} MiB free, "
            f"{needed // SHM_PER_WORKER_MIB} workers want about {needed}",
        ),
        fix="start the container with `--shm-size=8g` or `--ipc=host`, or set DATALOADER.NUM_WORKERS=0",
    )


def disk_full(facts: DeviceFacts) -> Seen | None:
    free = facts.platform.disk_free_mib
    if free is None or free >= MIN_DISK_MIB:
        return None
    return Seen(
        cause=f"only {free} MiB are free where runs are written unless run.root names another place",
        evidence=("a checkpoint of Mask R-CNN with its optimizer is about 350 MiB",),
        fix="make room, or choose another place with run.root=DIR",
    )


def memory_small(facts: DeviceFacts) -> Seen | None:
    there = facts.platform.memory_mib
    if there is None or there >= MIN_MEMORY_MIB:
        return None
    return Seen(
        cause=f"only {there} MiB of memory are available: the kernel may kill the training",
        evidence=("torch, detectron2 and CUDA take about 2 GiB before the first picture",),
        fix="ask the job or container for more memory, end other programs, or set DATALOADER.NUM_WORKERS=0",
    )


def open_files_few(facts: DeviceFacts) -> Seen | None:
    limit = facts.platform.open_files
    if limit is None or limit >= MIN_OPEN_FILES:
        return None
    return Seen(
        cause=f"a process may open only {limit} files: data loader workers may fail with `Too many open files`",
        evidence=(f"RLIMIT_NOFILE is {limit}",),
        fix="`ulimit -n 4096` before the start, or `--ulimit nofile=4096` for the container",
    )


def locked_memory_small(facts: DeviceFacts) -> Seen | None:
    limit = facts.platform.locked_memory_mib
    several = facts.driver is not None and len(facts.driver.gpus) > 1
    if limit is None or limit >= MIN_LOCKED_MIB or not (several and facts.system.infiniband):
        return None
    return Seen(
        cause=f"a process may lock only {limit} MiB of memory: NCCL cannot use InfiniBand",
        evidence=("RLIMIT_MEMLOCK is low, and there is InfiniBand hardware",),
        fix="`ulimit -l unlimited` before the start, or `--ulimit memlock=-1` for the container",
    )


def nccl_hangs(facts: DeviceFacts) -> Seen | None:
    test = facts.torch.all_reduce if facts.torch else None
    if test is None or test.end.how != "hung":
        return None
    return Seen(
        cause="the GPUs do not finish talking to each other (NCCL)",
        evidence=(how_it_ended(test.end), _nccl_surroundings(facts)),
        fix="try `export NCCL_P2P_DISABLE=1` (IOMMU or PCIe ACS break direct copies), else NCCL_SOCKET_IFNAME; "
        "NCCL_DEBUG=INFO tells more; device.count=1 works meanwhile",
    )


def nccl_failed(facts: DeviceFacts) -> Seen | None:
    test = facts.torch.all_reduce if facts.torch else None
    if test is None or not (test.failed or test.end.how != "answered"):
        return None
    return Seen(
        cause="the GPUs cannot talk to each other (NCCL)",
        evidence=(
            f"all-reduce: `{test.failed or test.end.stage}` failed: "
            + (test.error.partition("\n")[0] or how_it_ended(test.end)),
            _nccl_surroundings(facts),
        ),
        fix="`export NCCL_DEBUG=INFO` tells why; try NCCL_P2P_DISABLE=1, a larger /dev/shm (`--shm-size=8g`), "
        "`ulimit -l unlimited`; device.count=1 works meanwhile",
    )


def _nccl_surroundings(facts: DeviceFacts) -> str:
    locked = facts.platform.locked_memory_mib
    return f"/dev/shm {facts.platform.shm_mib} MiB, locked memory {'no limit' if locked is None else f'{locked} MiB'}"


def nvml_silent(facts: DeviceFacts) -> Seen | None:
    if facts.nvml is None or not driver_works(facts) or facts.nvml.init_code == 0 or facts.system.tegra:
        return None
    return Seen(
        cause="NVML does not answer, so free memory and health of the GPUs are unknown",
        evidence=raw_codes(facts),
        fix="reboot when it suits (an update replaced the driver's libraries); until then trainings work"
        if nvml_failed(facts, NVML_MISMATCH)
        else "`nvidia-smi` shows the same; in a container add NVIDIA_DRIVER_CAPABILITIES=compute,utility",
    )


def libraries_mixed(facts: DeviceFacts) -> Seen | None:
    several = facts.packages.cudnn_packages if len(facts.packages.cudnn_packages) > 1 else ()
    if not facts.packages.torch_cuda or not (facts.system.cuda_folders or several):
        return None
    return Seen(
        cause="there are CUDA libraries beside torch's own; torch as a wheel does not mind",
        evidence=(
            *(f"LD_LIBRARY_PATH: {folder}" for folder in facts.system.cuda_folders),
            *((f"installed over each other: {', '.join(several)}",) if several else ()),
        ),
        fix="nothing while all works; else `unset LD_LIBRARY_PATH`, and keep one nvidia-cudnn package",
    )


def gpu_mixed(facts: DeviceFacts) -> Seen | None:
    names = {gpu.name for gpu in _listed(facts) if gpu.name}
    if len(names) < 2 or facts.environment.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID":
        return None
    return Seen(
        cause="the GPUs differ, and CUDA counts them in another order than `nvidia-smi`",
        evidence=(", ".join(sorted(names)), "CUDA_DEVICE_ORDER is not PCI_BUS_ID"),
        fix="nothing: device.ids counts as `nvidia-smi`, and GPUs are handed over by UUID; "
        "elsewhere `export CUDA_DEVICE_ORDER=PCI_BUS_ID`",
    )


def gpu_vanished(facts: DeviceFacts) -> Seen | None:
    bound = [gpu for gpu in facts.system.pci_gpus if gpu.vendor == "nvidia" and gpu.kernel_driver == "nvidia"]
    # Containers, jobs and permissions hide GPUs on purpose, while the bus shows them all.
    hidden = facts.system.container or facts.job.scheduler or _closed_nodes(facts)
    asked = facts.nvml is not None and facts.nvml.init_code == 0
    if hidden or not asked or not 0 < len(_listed(facts)) < len(bound):
        return None
    known = {gpu.pci[-12:] for gpu in _listed(facts) if gpu.pci}
    gone = [gpu.address for gpu in bound if gpu.address.lower()[-12:] not in known]
    return Seen(
        cause=f"{len(bound)} NVIDIA GPUs are in this machine, but the driver answers for {len(_listed(facts))}",
        evidence=(f"silent: PCI {', '.join(gone)}" if known and gone else "counted on the PCI bus and by NVML",),
        fix="`sudo dmesg | grep -i xid` names the fault; power-cycle the machine, check power and cooling",
    )


def gpu_watchdog(facts: DeviceFacts) -> Seen | None:
    ended = {test.uuid for test in (facts.torch.smoke_tests if facts.torch else ()) if test.code == LAUNCH_TIMEOUT}
    shown = [gpu for gpu in _listed(facts) if gpu.display and gpu.uuid not in ended]
    if not shown:
        return None
    return Seen(
        cause=f"a screen runs on GPU {', '.join(str(gpu.index) for gpu in shown)}: the driver may end long kernels",
        evidence=("NVML: display active",),
        fix="nothing usually; choose another GPU with device.ids if a run ends with `the launch timed out`",
    )


def gpu_throttled(facts: DeviceFacts) -> Seen | None:
    slowed = [(gpu, reason) for gpu in _listed(facts) if (reason := _why_slow(gpu))]
    if not slowed:
        return None
    return Seen(
        cause=f"GPU {', '.join(str(gpu.index) for gpu, _ in slowed)} runs below its speed",
        evidence=tuple(f"GPU {gpu.index}: {reason}" for gpu, reason in slowed),
        fix="check cooling and power (`nvidia-smi -q -d PERFORMANCE`); trainings are right but slower",
    )


def _why_slow(gpu: NvmlGpu) -> str:
    return ", ".join(dict.fromkeys(text for bit, text in THROTTLED.items() if gpu.throttle_reasons & bit))


def gpu_slow_link(facts: DeviceFacts) -> Seen | None:
    # Half the lanes are how many boards are built; a quarter and less is a riser or a bad contact.
    narrow = [gpu for gpu in _listed(facts) if gpu.link_width and gpu.link_width * 4 <= (gpu.link_width_max or 0)]
    if not narrow:
        return None
    return Seen(
        cause=f"GPU {', '.join(str(gpu.index) for gpu in narrow)} is connected by few PCIe lanes",
        evidence=tuple(f"GPU {gpu.index}: {gpu.link_width} of {gpu.link_width_max} lanes" for gpu in narrow),
        fix="reseat the card or use another slot; trainings are right but load their pictures more slowly",
    )


def driver_slow_start(facts: DeviceFacts) -> Seen | None:
    if not driver_works(facts) or facts.driver is None or facts.driver.end.seconds < SLOW_START_S:
        return None
    if not any(gpu.persistent is False for gpu in _listed(facts)):
        return None
    return Seen(
        cause=f"the driver took {facts.driver.end.seconds:.1f} s to wake up",
        evidence=("NVML: persistence mode is off",),
        fix="`sudo systemctl enable --now nvidia-persistenced` keeps it awake",
    )


def _listed(facts: DeviceFacts) -> tuple[NvmlGpu, ...]:
    return facts.nvml.gpus if facts.nvml else ()


def _closed_nodes(facts: DeviceFacts) -> bool:
    return any(node.error for node in facts.driver.nodes) if facts.driver else False
