"""What a run has to change because of its devices: settings, precision, operators. Decides only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from launcher.config.adjustment import Adjustment
from launcher.config.asked import count_of
from launcher.config.keys import Keys
from launcher.config.request import DeviceRequest, Precision
from launcher.device.diagnosis import Diagnosis, UsableGpu
from launcher.device.policy.cpu_precision import asks_for_amp
from launcher.device.policy.shared_memory import needed_per_worker_mib

SYNC_NORMS = ("SyncBN", "nnSyncBN", "naiveSyncBN", "naiveSyncBN_N")
# detectron2's own synchronised norms use plain collectives, which gloo has; torch's requires a GPU.
SYNC_NORMS_ON_CPU = ("naiveSyncBN", "naiveSyncBN_N")
BFLOAT16_SINCE = (8, 0)
"""Compute capability; older GPUs only imitate it, slowly."""
ROTATED = {
    "MODEL.PROPOSAL_GENERATOR.NAME": "RRPN",
    "MODEL.ROI_HEADS.NAME": "RROIHeads",
    "MODEL.ROI_BOX_HEAD.POOLER_TYPE": "ROIAlignRotated",
}
SPARSE_SUMS = "sparse sums"
WITHOUT_ROI_ALIGN = ("RetinaNet", "FCOS", "SemanticSegmentor", "PanopticDeepLab", "ProposalNetwork")
# Findings that leave detectron2 without its operators; a source tree that hides an installation has none either.
OPERATOR_CODES = ("detectron2.no_ops", "detectron2.ops_", "detectron2.shadowed")
FINE_ON_CPU = {"detectron2.ops_cpu_only", "detectron2.ops_arch", "detectron2.ops_fail"}


# Settings


def adjust_count(asked: DeviceRequest, planned: int, reason: str, *, usable: int = 0) -> Iterator[Adjustment]:
    """`all` is what was asked for where several of the usable GPUs train, and all of them."""
    if asked.count == "all" and 1 < planned == usable:
        return
    if count_of(asked) != planned:
        yield Adjustment(setting="device.count", asked=asked.count, planned=planned, reason=reason)


def adjust_device(keys: Keys, planned: str, reason: str) -> Iterator[Adjustment]:
    device = keys.get("MODEL.DEVICE", planned)
    if device != planned:
        yield Adjustment(setting="MODEL.DEVICE", asked=device, planned=planned, reason=reason)


def without_ids(asked: DeviceRequest, reason: str) -> Iterator[Adjustment]:
    if asked.ids:
        yield Adjustment(setting="device.ids", asked=list(asked.ids), planned=[], reason=reason)


def without_sync_norms(keys: Keys, num_processes: int) -> Iterator[Adjustment]:
    norms = ((name, value) for name, value in keys.leaves() if name.endswith("NORM") and value in SYNC_NORMS)
    for setting, norm in norms:
        if num_processes == 1:
            planned, reason = "BN", "a single process has nothing to synchronise"
        elif norm in SYNC_NORMS_ON_CPU:
            continue
        else:
            planned, reason = "naiveSyncBN", "torch's SyncBatchNorm requires GPUs, detectron2's own does not"
        yield Adjustment(setting=setting, asked=norm, planned=planned, reason=reason)


def fewer_workers(keys: Keys, diagnosis: Diagnosis, num_processes: int, images: int) -> Iterator[Adjustment]:
    """No more than there are CPUs and than /dev/shm has room for, with that many images in a batch of each process.

    Every process has its own loader workers.
    """
    asked = keys.get("DATALOADER.NUM_WORKERS", 0)
    if not isinstance(asked, int):
        return
    each = f" for {num_processes} processes" if num_processes > 1 else ""
    limits = [
        *_workers_by_cpus(diagnosis.num_cpus, num_processes, each),
        *_workers_by_shared_memory(diagnosis.shm_mib, needed_per_worker_mib(keys, images) * num_processes, asked, each),
    ]
    planned, reason = min(limits, key=lambda limit: limit[0], default=(asked, ""))
    if asked > planned:
        yield Adjustment(setting="DATALOADER.NUM_WORKERS", asked=asked, planned=planned, reason=reason)


def _workers_by_cpus(num_cpus: int, num_processes: int, each: str) -> Iterator[tuple[int, str]]:
    if num_cpus:
        cpus = "1 CPU is" if num_cpus == 1 else f"{num_cpus} CPUs are"
        yield max(1, num_cpus // num_processes), f"{cpus} available{each}"


def _workers_by_shared_memory(there: int | None, needed: int, asked: int, each: str) -> Iterator[tuple[int, str]]:
    """`needed` for one worker of every process, in MiB."""
    if there is not None and needed:
        workers = "1 worker needs" if asked == 1 else f"{asked} workers need"
        total = asked * needed
        yield there // needed, f"/dev/shm has {there} MiB free; {workers} up to {total} MiB{each} (shm.small)"


# Mixed precision


def precision_on(gpus: Sequence[UsableGpu], asked: Precision, keys: Keys) -> str:
    """The data type of mixed precision on these GPUs; empty where SOLVER.AMP.ENABLED is false."""
    if not asks_for_amp(keys):
        return ""
    if asked is Precision.float16 or _without_bfloat16(gpus):
        return "float16"
    return "bfloat16"


def adjust_precision(gpus: Sequence[UsableGpu], asked: Precision, planned: str) -> Iterator[Adjustment]:
    if asked is Precision.bfloat16 and planned == "float16":
        older = ", ".join(f"{gpu.name} has {gpu.capability[0]}.{gpu.capability[1]}" for gpu in _without_bfloat16(gpus))
        reason = f"bfloat16 requires compute capability 8.0, and {older}"
        yield Adjustment(setting="device.precision", asked=asked.value, planned=planned, reason=reason)


def notices_of_precision(asked: Precision, planned: str) -> Iterator[str]:
    if asked is Precision.auto and planned == "bfloat16":
        yield "mixed precision runs in bfloat16, which these GPUs support (device.precision=float16 selects float16)"
    if asked is not Precision.auto and not planned:
        yield f"device.precision={asked.value} has no effect: mixed precision is off (SOLVER.AMP.ENABLED)"


def _without_bfloat16(gpus: Sequence[UsableGpu]) -> list[UsableGpu]:
    return [gpu for gpu in gpus if gpu.capability < BFLOAT16_SINCE]


# Operators that detectron2 has only when it is compiled


def deformable_by(kind: str, keys: Keys, diagnosis: Diagnosis) -> str:
    """`torchvision` where the model has deformable convolutions that detectron2 itself cannot train here."""
    stages = keys.get("MODEL.RESNETS.DEFORM_ON_PER_STAGE", [])
    if not isinstance(stages, (list, tuple)) or not any(stages):
        return ""
    # detectron2's have no backward pass on the CPU, however it was built.
    return "torchvision" if kind == "cpu" or _lacks_operators(kind, diagnosis) else ""


def notices_of_deformable(kind: str, planned: str) -> Iterator[str]:
    if planned:
        why = "cannot train on the CPU" if kind == "cpu" else "require its compiled CUDA operators"
        yield f"deformable convolutions use {planned}, because detectron2's own {why}; weights are compatible"


def roi_align_by(keys: Keys) -> str:
    """`sparse sums` on the CPU for whoever asks for mixed precision, and with it for speed before the last digits."""
    if not asks_for_amp(keys) or keys.get("MODEL.META_ARCHITECTURE", "") in WITHOUT_ROI_ALIGN:
        return ""
    return SPARSE_SUMS


def notices_of_roi_align(planned: str) -> Iterator[str]:
    if planned:
        yield f"ROIAlign runs as {planned}, several times as fast on the CPU; results differ in the last digits"


def unmet_needs(kind: str, keys: Keys, diagnosis: Diagnosis) -> Iterator[str]:
    """What the model needs and no other operator can replace."""
    if not _lacks_operators(kind, diagnosis):
        return
    rotated = [f"{setting}={name}" for setting, name in ROTATED.items() if keys.get(setting, "") == name]
    if rotated:
        yield (
            f"{', '.join(rotated)}: rotated boxes require detectron2's compiled operators"
            f"{' for CUDA' if kind == 'cuda' else ''}, which this detectron2 does not have. "
            "Build detectron2 from source, or choose a model with upright boxes."
        )


def _lacks_operators(kind: str, diagnosis: Diagnosis) -> bool:
    codes = {finding.code for finding in diagnosis.findings if finding.code.startswith(OPERATOR_CODES)}
    return bool(codes - FINE_ON_CPU if kind == "cpu" else codes)
