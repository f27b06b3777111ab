"""Looks at this machine: the only place where the device facts come from. Everything that may hang is a child."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.cluster.job import read_job
from launcher.config.values import from_plain, to_plain
from launcher.device.arches import cuda_version
from launcher.device.children import Child, ChildAnswer
from launcher.device.facts import DeviceFacts, DriverFacts, NvmlFacts, PackageFacts, TorchFacts
from launcher.device.files import look_at_packages, look_at_platform, look_at_system, relevant
from launcher.device.gpus import cuda_name

HERE = Path(__file__).parent
STAGES = ("context", "allocate", "copy", "fill", "matmul", "sync")


@dataclass(frozen=True, kw_only=True)
class Deadlines:
    """How long a child may take before it counts as hung."""

    driver_s: float = 45.0
    """Without a persistence daemon a driver takes seconds per GPU to wake up."""
    torch_s: float = 120.0
    """For the whole torch child: a first import over a network file system takes a minute."""
    stage_s: float = 30.0
    """For one stage of a smoke test."""


def look_at_devices(
    environ: Mapping[str, str],
    *,
    full: bool,
    try_gpus: bool = True,
    root: Path = Path("/"),
    stages: Iterable[str] = STAGES,
    deadlines: Deadlines = Deadlines(),
) -> DeviceFacts:
    """Everything that can be seen of this machine's GPUs and of what is installed to use them.

    `full=False` leaves out the torch child (seconds) where the quick looks already show that no GPU is usable, and
    with `try_gpus=False`, for a run that wants none, everywhere.
    """
    platform = look_at_platform(root)
    system = look_at_system(root, environ, platform.kernel)
    packages = look_at_packages()
    driver, nvml = _ask_driver(environ, system.device_nodes, deadlines) if platform.system != "darwin" else (None, None)
    ask_torch = full or (try_gpus and _could_compute(driver, nvml, packages))
    return DeviceFacts(
        platform=platform,
        environment=relevant(environ),
        job=read_job(environ),
        system=system,
        packages=packages,
        driver=driver,
        nvml=nvml,
        torch=_ask_torch(environ, driver, nvml, packages, tuple(stages), deadlines) if ask_torch else None,
    )


def _could_compute(driver: DriverFacts | None, nvml: NvmlFacts | None, packages: PackageFacts) -> bool:
    needs, _ = cuda_version(packages.torch_cuda)
    fits = bool(driver and driver.gpus and needs and driver.cuda_version // 1000 >= needs)
    return fits and _calm(driver, nvml)


def _calm(driver: DriverFacts | None, nvml: NvmlFacts | None) -> bool:
    """Neither hangs nor kills: torch can be asked for GPUs."""
    return all(answer is None or answer.end.how == "answered" for answer in (driver, nvml))


def _ask_driver(
    environ: Mapping[str, str], nodes: tuple[str, ...], deadlines: Deadlines
) -> tuple[DriverFacts, NvmlFacts]:
    # Both start before either is waited for: a sleepy driver then costs its time once.
    with ExitStack() as stack:
        children = [
            stack.enter_context(Child(HERE / script, environ=environ, ask=ask, deadline_s=deadlines.driver_s))
            for script, ask in (
                ("child_driver.py", {"library": "libcuda.so.1", "nodes": nodes}),
                ("child_nvml.py", {"library": "libnvidia-ml.so.1"}),
            )
        ]
        driver, nvml = (child.answer() for child in children)
    return _facts(DriverFacts, driver), _facts(NvmlFacts, nvml)


def _ask_torch(
    environ: Mapping[str, str],
    driver: DriverFacts | None,
    nvml: NvmlFacts | None,
    packages: PackageFacts,
    stages: tuple[str, ...],
    deadlines: Deadlines,
) -> TorchFacts | None:
    if not packages.torch:
        return None
    calm = _calm(driver, nvml)
    shown = driver.gpus if driver else ()
    with Child(
        HERE / "child_torch.py",
        environ=environ,
        ask={
            "path": [entry or str(Path.cwd()) for entry in sys.path],
            "gpus": [cuda_name(gpu.uuid, nvml) for gpu in shown] if calm and packages.torch_cuda else [],
            "availability": calm,
            "stages": stages,
            "stage_s": deadlines.stage_s,
        },
        deadline_s=deadlines.torch_s,
    ) as child:
        answer = child.answer()
    return _facts(TorchFacts, answer)


def _facts(kind: type[Any], answer: ChildAnswer) -> Any:
    return from_plain(kind, {**answer.said, "end": to_plain(answer.end)})
