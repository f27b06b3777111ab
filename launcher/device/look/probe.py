"""Looks at this machine: the only place where the device facts come from. Everything that may hang is a child."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from launcher.ahead import Ahead
from launcher.config.values import from_plain, to_plain
from launcher.device.arches import cuda_version
from launcher.device.facts import DeviceFacts, DriverFacts, NvmlFacts, PackageFacts, TorchFacts
from launcher.device.gpus import cuda_name
from launcher.device.job import read_job
from launcher.device.look.children import Child, ChildAnswer
from launcher.device.look.files import device_nodes, look_at_packages, look_at_platform, look_at_system, relevant
from launcher.forking import differing
from launcher.safe_start import import_path

HERE = Path(__file__).parent
STAGES = ("context", "allocate", "copy", "fill", "matmul", "sync", "convolution", "nms", "operators")
"""Of the smoke test. After `sync` a GPU computes; the others each need one more library."""


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
    backend: str = "nccl",
    deadlines: Deadlines = Deadlines(),
    meanwhile: Callable[[], object] = lambda: None,
) -> DeviceFacts:
    """Everything that can be seen of this machine's GPUs and of what is installed to use them.

    `full=False` leaves out the torch child (seconds) where the quick looks already show that no GPU is usable, and
    with `try_gpus=False`, for a run that wants none, everywhere. `backend` is what two GPUs try to talk through; empty
    for not at all, for a run that wants one. `meanwhile` is done while torch is being imported.
    """
    platform = look_at_platform(root)
    system = look_at_system(root, environ, platform.kernel)
    packages = look_at_packages()
    driver = nvml = torch = None
    with ExitStack() as stack:
        stack.callback(_TORCH.drop)
        start_torch = partial(_start_torch, stack, environ, deadlines)
        # Importing torch takes longer than all the rest, so it begins before it is known what there is to try.
        child = start_torch() if packages.torch and (full or (try_gpus and system.device_nodes)) else None
        meanwhile()
        if platform.system != "darwin":
            driver, nvml = _ask_driver(environ, system.device_nodes, deadlines)
        if packages.torch and (full or (try_gpus and _could_compute(driver, nvml, packages))):
            child = child or start_torch()
            child.tell(torch_question(driver, nvml, packages, stages=stages, backend=backend, deadlines=deadlines))
            torch = torch_facts(child.answer())
    return DeviceFacts(
        platform=platform,
        environment=relevant(environ),
        job=read_job(environ),
        system=system,
        packages=packages,
        driver=driver,
        nvml=nvml,
        torch=torch,
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


def torch_ahead(environ: Mapping[str, str], root: Path = Path("/")) -> AbstractContextManager[None]:
    """Import torch in the block for a look at GPUs in it, where there seem to be any."""
    if not any(device_nodes(root)):
        return nullcontext()
    return _TORCH.started(partial(_torch_child, environ, _first_question(), Deadlines()))


_TORCH: Ahead[Child] = Ahead(Child.end)
SET_WHILE_COMPOSING = {"HYDRA_FULL_ERROR"}
"""Variables that mean nothing to torch."""


def _start_torch(stack: ExitStack, environ: Mapping[str, str], deadlines: Deadlines) -> Child:
    ask = _first_question()
    child = _TORCH.take_if(lambda ahead: _serves(ahead, environ, ask, deadlines))
    return stack.enter_context(child or _torch_child(environ, ask, deadlines))


def _serves(child: Child, environ: Mapping[str, str], ask: Mapping[str, Any], deadlines: Deadlines) -> bool:
    before, asked = child.asked
    return (asked, child.deadline_s) == (ask, deadlines.torch_s) and differing(before, environ) <= SET_WHILE_COMPOSING


def _first_question() -> dict[str, Any]:
    return {"path": import_path(sys.path)}


def _torch_child(environ: Mapping[str, str], ask: Mapping[str, Any], deadlines: Deadlines) -> Child:
    # In a job of a sweep torch is imported already, and importing it once more would be most of the look's time.
    return Child(HERE / "child_torch.py", environ=environ, ask=ask, deadline_s=deadlines.torch_s, may_fork=True)


def torch_question(
    driver: DriverFacts | None,
    nvml: NvmlFacts | None,
    packages: PackageFacts,
    *,
    stages: Iterable[str] = STAGES,
    backend: str = "nccl",
    deadlines: Deadlines = Deadlines(),
) -> dict[str, Any]:
    """What the torch child is asked once the driver has answered: a driver that hangs or kills it must not touch."""
    calm = _calm(driver, nvml)
    shown = driver.gpus if driver else ()
    return {
        "gpus": [cuda_name(gpu.uuid, nvml) for gpu in shown] if calm and packages.torch_cuda else [],
        "availability": calm,
        "stages": tuple(stages),
        "stage_s": deadlines.stage_s,
        "backend": backend,
    }


def torch_facts(answer: ChildAnswer) -> TorchFacts:
    facts: TorchFacts = _facts(TorchFacts, answer)
    return facts


def _facts(kind: type[Any], answer: ChildAnswer) -> Any:
    return from_plain(kind, {**answer.said, "end": to_plain(answer.end)})
