"""Which of this process's GPUs has a UUID: torch counts those that CUDA_VISIBLE_DEVICES leaves, in CUDA's own order."""

from __future__ import annotations

import torch

from launcher.errors import DeviceUnavailableError


def number_of(uuid: str) -> int:
    """torch's number of that GPU.

    Raises:
        DeviceUnavailableError: this process does not see it.
    """
    seen = {str(torch.cuda.get_device_properties(number).uuid): number for number in range(torch.cuda.device_count())}
    # A MIG instance is the only one that a process sees.
    found = seen.get(uuid.removeprefix("GPU-"), 0 if uuid.startswith("MIG-") and len(seen) == 1 else None)
    if found is None:
        raise DeviceUnavailableError(
            f"{uuid} was chosen, but this process sees {', '.join(seen) or 'no GPU'}. It was started with other "
            "GPUs in CUDA_VISIBLE_DEVICES than it has now: set that before Python is started."
        )
    return found
