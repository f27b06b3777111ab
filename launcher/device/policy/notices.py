"""What of the diagnosis a run is told before it starts: what concerns it, in a line each. Decides only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from launcher.config.adjustment import Adjustment
from launcher.config.keys import Keys
from launcher.config.request import DeviceRequest
from launcher.device.diagnosis import Diagnosis, Finding, called, in_order
from launcher.device.policy.choice import named_gpus

FOR_EVERY_RUN = {"disk.full", "memory.small", "detectron2.shadowed"}
FOR_LOADERS = {"shm.small", "limits.open_files"}
"""They concern the data loader's worker processes."""
FOR_GPUS = {"nvml.failed", "visible.wrong", "gpu.vanished", "torch.slow"}
# Other findings name the reason for the CPU, concern GPUs that are left out (told one by one), keep GPUs from training
# together (an adjustment), or are about operators of detectron2 that plain models do without.


def notices_of_diagnosis(
    diagnosis: Diagnosis,
    asked: DeviceRequest,
    keys: Keys,
    *,
    with_gpus: bool,
    reason: str,
    adjustments: Sequence[Adjustment],
) -> Iterator[str]:
    """What concerns this run, unless its reason or an adjustment says it anyway.

    `with_gpus`: it has, or would have had, GPUs.
    """
    said = "; ".join([reason, *(adjustment.reason for adjustment in adjustments)])
    if with_gpus and (left_out := list(_left_out(diagnosis, asked, reason, said))):
        yield f"left out: {'; '.join(left_out)}"
    codes = FOR_EVERY_RUN | (FOR_GPUS if with_gpus else set())
    if keys.get("DATALOADER.NUM_WORKERS", 1):
        codes |= FOR_LOADERS
    for finding in diagnosis.findings:
        if finding.code in codes and finding.cause not in said:
            yield f"{finding.cause} ({finding.code}){_not_judged(finding, asked)}"


def _left_out(diagnosis: Diagnosis, asked: DeviceRequest, reason: str, said: str) -> Iterator[str]:
    """GPUs that this run could have had, each with the reason why it does not get it."""
    _, excluded = named_gpus(asked, diagnosis)
    # Others are out of reach because they are meant to be: hidden from this process, or cut into slices.
    worth = {finding.code for finding in diagnosis.findings} | {"policy"}
    for gpu in sorted(excluded, key=lambda gpu: in_order(gpu.index)):
        label = called(gpu.index, gpu.uuid)
        # What keeps all GPUs from use is the reason itself; of a single one a finding gives the model too.
        is_said = gpu.cause == reason or any(
            f"{name} {gpu.cause}" in said for name in (label, f"{label} ({gpu.name or 'no name known'})")
        )
        if gpu.code in worth and not is_said:
            yield f"{label} {gpu.cause}" + ("" if gpu.code == "policy" else f" ({gpu.code})")


def _not_judged(finding: Finding, asked: DeviceRequest) -> str:
    if finding.code != "nvml.failed":
        return ""
    typed = {"min_free_gib": asked.min_free_gib, "max_used": asked.max_used}
    limits = [f"device.{name}={limit}" for name, limit in typed.items() if limit != getattr(DeviceRequest, name)]
    return f"; {' and '.join(limits)} cannot be judged" if limits else ""
