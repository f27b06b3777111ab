"""The surroundings of a worker process: its environment variables and, against a bad driver, a mask. Acts on a plan."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from launcher.device.policy.plan import DevicePlan

MASKED_LIBRARIES = ("libcuda.so.1", "libnvidia-ml.so.1")


def make_driver_mask(folder: Path) -> Path:
    """A folder with empty driver libraries: first on LD_LIBRARY_PATH it keeps a process from loading the real ones.

    Hiding the GPUs is not enough where the driver hangs or crashes: torch's autograd engine calls it all the same.
    An empty file is what the loader refuses at once, and torch then goes on as on a machine without a driver.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in MASKED_LIBRARIES:
        (folder / name).write_bytes(b"")
    return folder.absolute()


def worker_environment(plan: DevicePlan, base_environ: Mapping[str, str], mask_folder: Path | None) -> dict[str, str]:
    """`base_environ` as the plan changes it; `mask_folder` is what `make_driver_mask` made, if the plan wants it."""
    environment = {**plan.default_environment, **base_environ}
    for name, value in plan.environment.items():
        if value is None:
            environment.pop(name, None)
        else:
            environment[name] = value
    if plan.mask_driver and mask_folder is not None:
        others = environment.get("LD_LIBRARY_PATH", "")
        environment["LD_LIBRARY_PATH"] = f"{mask_folder}:{others}".rstrip(":")
    return environment
