"""A worker's environment variables and, where the driver hangs or crashes, empty driver libraries. Acts on a plan."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from launcher.device.policy.plan import DevicePlan

# A thread of torch that waits for the others first spins: for milliseconds by default, in which it keeps a core from
# whoever else wants it, from its own fellow threads above all. See docs/performance.md for what was measured.
SHORT_WAITS = {"GOMP_SPINCOUNT": "10000"}
HOW_TO_WAIT = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
"""Variables by which users say themselves how threads wait."""
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


def with_short_waits(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` in which threads do not spin for long, unless it says how they wait.

    The OpenMP of torch reads it when it is loaded, so a worker that is started before its plan is there has it too.
    """
    return {**environ} if any(name in environ for name in HOW_TO_WAIT) else {**SHORT_WAITS, **environ}


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
