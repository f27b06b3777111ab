"""One view of each GPU out of what the driver, NVML and the smoke tests saw of it. Merges, does not judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from launcher.device.diagnosis import gpu_label
from launcher.device.facts import DeviceFacts, DriverGpu, NvmlFacts, NvmlGpu, SmokeTest


@dataclass(frozen=True, kw_only=True)
class GpuView:
    index: int | None
    """As `nvidia-smi` counts, which counts no MIG instances; where NVML does not answer, as the driver counts."""
    uuid: str
    """As CUDA_VISIBLE_DEVICES takes it: a MIG instance's starts with `MIG-`."""
    name: str
    visible: bool
    """The driver shows it to this process."""
    capability: tuple[int, int]
    memory_mib: int
    free_mib: int
    nvml: NvmlGpu | None
    smoke: SmokeTest | None

    @property
    def label(self) -> str:
        return f"{gpu_label(self.index, self.uuid)} ({self.name or 'no name known'})"

    @property
    def for_smi(self) -> str:
        """As `nvidia-smi -i` takes it."""
        return self.uuid if self.index is None else str(self.index)


def merge_gpus(facts: DeviceFacts) -> tuple[GpuView, ...]:
    """Every GPU that anyone saw, in `nvidia-smi`'s order; those only the driver knows come last."""
    visible = facts.driver.gpus if facts.driver else ()
    # A Jetson's NVML knows neither memory nor health, and perhaps not even the GPU's UUID.
    listed = facts.nvml.gpus if facts.nvml and not facts.system.tegra else ()
    known = {gpu.uuid for gpu in listed}
    unlisted = [gpu for gpu in visible if gpu.uuid not in known]
    by_index = _without_uuid(listed, unlisted)
    by_uuid = {gpu.uuid: gpu for gpu in visible}
    views = [_view(facts, gpu.index, by_index.get(gpu.index) or by_uuid.get(gpu.uuid), gpu) for gpu in listed]
    # The driver's ordinal would be the index of another one that NVML lists.
    others = [
        (None if listed else ordinal, gpu)
        for ordinal, gpu in enumerate(visible)
        if gpu in unlisted and gpu not in by_index.values()
    ]
    return (*views, *(_view(facts, index, gpu, None) for index, gpu in others))


def _without_uuid(listed: Sequence[NvmlGpu], unlisted: Sequence[DriverGpu]) -> dict[int, DriverGpu]:
    """Which of the driver's GPUs are those that NVML lists but has lost, by NVML's index.

    Of a lost one NVML knows not even the UUID, and the driver may still show it: it must not count twice.
    """
    lost = [gpu.index for gpu in listed if not gpu.uuid]
    divided = any(gpu.mig for gpu in listed)
    return dict(zip(lost, unlisted, strict=True)) if len(lost) == len(unlisted) and not divided else {}


def cuda_name(uuid: str, nvml: NvmlFacts | None) -> str:
    """What CUDA_VISIBLE_DEVICES has to say for a GPU that the driver shows.

    A device that NVML does not list on a machine with divided GPUs is a MIG instance, and is addressed as one.
    """
    listed = nvml.gpus if nvml else ()
    is_instance = any(gpu.mig for gpu in listed) and all(gpu.uuid != uuid for gpu in listed)
    return uuid.replace("GPU-", "MIG-", 1) if is_instance else uuid


def _view(facts: DeviceFacts, index: int | None, driver: DriverGpu | None, nvml: NvmlGpu | None) -> GpuView:
    uuid = cuda_name(driver.uuid, facts.nvml) if driver else nvml.uuid if nvml else ""
    memory_mib = (nvml.memory_mib if nvml else None) or (driver.memory_mib if driver else 0)
    free_mib = nvml.free_mib if nvml and nvml.free_mib is not None else memory_mib
    return GpuView(
        index=index,
        uuid=uuid,
        name=driver.name if driver else nvml.name if nvml else "",
        visible=driver is not None,
        capability=driver.capability if driver else (nvml.capability if nvml else None) or (0, 0),
        memory_mib=memory_mib,
        free_mib=free_mib,
        nvml=nvml,
        smoke=next((test for test in (facts.torch.smoke_tests if facts.torch else ()) if test.uuid == uuid), None),
    )
