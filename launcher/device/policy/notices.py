"""The findings that are reported before a run starts: those that concern it, in a line each. Decides only."""

from __future__ import annotations

from collections.abc import Iterator

from launcher.config.keys import Keys
from launcher.config.request import DeviceRequest
from launcher.device.diagnosis import Diagnosis, Finding, gpu_label, in_order
from launcher.device.policy.choice import named_gpus
from launcher.device.policy.why import Why

FOR_EVERY_RUN = {"disk.full", "memory.small", "detectron2.shadowed"}
FOR_LOADERS = {"shm.small", "limits.open_files"}
"""They concern the data loader's worker processes."""
FOR_GPUS = {"nvml.failed", "visible.wrong", "gpu.vanished", "torch.slow"}
# Other findings name the reason for the CPU, concern GPUs that are left out (reported one by one), keep GPUs from
# training together (an adjustment), or are about operators of detectron2 that plain models do without.


def notices_of_diagnosis(
    diagnosis: Diagnosis, asked: DeviceRequest, keys: Keys, *, with_gpus: bool, told: Why | None
) -> Iterator[str]:
    """What concerns this run, unless it has been `told` as the reason for its devices.

    `with_gpus`: it has, or would have had, GPUs.
    """
    if with_gpus and (left_out := list(_left_out(diagnosis, asked, told))):
        yield f"left out: {'; '.join(left_out)}"
    codes = FOR_EVERY_RUN | (FOR_GPUS if with_gpus else set())
    if keys.get("DATALOADER.NUM_WORKERS", 1):
        codes |= FOR_LOADERS
    for finding in diagnosis.findings:
        if finding.code in codes and not (told and told.covers(finding)):
            yield f"{finding.cause} ({finding.code}){_not_judged(finding, asked)}"


def _left_out(diagnosis: Diagnosis, asked: DeviceRequest, told: Why | None) -> Iterator[str]:
    """GPUs that this run could have had, each with the reason why it does not get it."""
    _, excluded = named_gpus(asked, diagnosis)
    # Others are out of reach because they are meant to be: hidden from this process, or divided into MIG instances.
    worth = {finding.code for finding in diagnosis.findings} | {"policy"}
    for gpu in sorted(excluded, key=lambda gpu: in_order(gpu.index)):
        if gpu.code in worth and not (told and gpu.uuid in told.gpus):
            code = "" if gpu.code == "policy" else f" ({gpu.code})"
            yield f"{gpu_label(gpu.index, gpu.uuid)} {gpu.cause}{code}"


def _not_judged(finding: Finding, asked: DeviceRequest) -> str:
    if finding.code != "nvml.failed":
        return ""
    typed = {"min_free_gib": asked.min_free_gib, "max_used": asked.max_used}
    limits = [f"device.{name}={limit}" for name, limit in typed.items() if limit != getattr(DeviceRequest, name)]
    return f"; {' and '.join(limits)} cannot be judged" if limits else ""
