"""Which devices a run gets, and what has to change because of them. Decides only: no torch, no disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from launcher.config.adjustment import Adjustment
from launcher.config.request import DeviceRequest
from launcher.device.diagnosis import Diagnosis


@dataclass(frozen=True, kw_only=True)
class DevicePlan:
    """The devices of one run and the surroundings that its worker process gets."""

    kind: str
    """cuda, cpu or mps: becomes MODEL.DEVICE."""
    asked: str
    """The choice as asked, for example `auto`."""
    reason: str
    """Why this kind: one clause such as `no NVIDIA GPU in this machine`, or the names of the GPUs chosen."""
    gpu_uuids: tuple[str, ...]
    num_processes: int
    """One per GPU; on the CPU as many as `device.count`."""
    environment: Mapping[str, str | None]
    """Set (or, for None, removed) in the worker's environment on top of the launcher's own."""
    mask_driver: bool
    """Put zero-byte driver libraries first on LD_LIBRARY_PATH: the driver hangs or crashes whoever touches it."""
    adjustments: tuple[Adjustment, ...]
