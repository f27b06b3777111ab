"""A worker's environment variables and, where the driver hangs or crashes, empty driver libraries. Acts on a plan."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from launcher.device.policy.plan import DevicePlan
from launcher.run.handover import with_short_waits

DRIVER_LIBRARIES = ("libcuda.so.1", "libnvidia-ml.so.1")


def write_empty_libraries(folder: Path) -> Path:
    """Make a folder of empty driver libraries; first on LD_LIBRARY_PATH, it keeps a process from loading the real ones.

    Hiding the GPUs is not enough where the driver hangs or crashes: torch's autograd engine calls it all the same.
    The loader rejects an empty file at once, and torch then continues as on a machine without a driver.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in DRIVER_LIBRARIES:
        (folder / name).write_bytes(b"")
    return folder.absolute()


def worker_environment(plan: DevicePlan, base_environ: Mapping[str, str], libraries: Path | None) -> dict[str, str]:
    """`base_environ` with the changes of the plan; `libraries` is where `write_empty_libraries` wrote, if it had to."""
    environment = with_short_waits({**plan.default_environment, **base_environ})
    for name, value in plan.environment.items():
        if value is None:
            environment.pop(name, None)
        else:
            environment[name] = value
    if plan.hide_driver and libraries is not None:
        others = environment.get("LD_LIBRARY_PATH", "")
        environment["LD_LIBRARY_PATH"] = f"{libraries}:{others}".rstrip(":")
    return environment
