"""Settings of the pool: Hydra's node `hydra/launcher=pool`, and what they ask for, checked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from launcher.errors import RequestError

TARGET = "hydra_plugins.launcher_pool.PoolLauncher"
"""Hydra takes plugins from the package `hydra_plugins` alone, and looks registered ones up by this name."""


@dataclass
class PoolConf:
    """`hydra.launcher.*`; not frozen, as Hydra has it."""

    _target_: str = TARGET
    devices: Any = "auto"
    """`auto` (the GPUs that can be used, or the CPU where there are none), `cpu`, or GPUs by index or UUID."""
    gpus_per_job: int = 1
    max_parallel: int = 0
    """Jobs at once; 0 is as many as fit: the GPUs by `gpus_per_job`, on the CPU one per core."""
    start: str = "auto"
    """How job processes come to be: `fork`, `spawn`, or `auto`, which forks where that is safe."""
    preload: list[str] = field(default_factory=list)
    """Modules that are imported once, for all jobs."""


class StartMethod(Enum):
    auto = "auto"
    fork = "fork"
    spawn = "spawn"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a sweep asks of the pool."""

    devices: str | tuple[str, ...]
    """`auto`, `cpu`, or the GPUs that are named."""
    gpus_per_job: int
    max_parallel: int
    start: StartMethod
    preload: tuple[str, ...]
    prefix: str
    """Of the settings' names where they are typed: `pool.` in this project, `hydra.launcher.` in another."""


def read_settings(
    *, devices: Any, gpus_per_job: Any, max_parallel: Any, start: Any, preload: Sequence[str], prefix: str
) -> Asked:
    """What Hydra composed, as a value.

    Raises:
        RequestError: some of it cannot be meant; every problem is named.
    """
    named = _named_devices(devices)
    problems = [
        *_problems_with_devices(named, devices, prefix),
        *_problems_with_numbers(gpus_per_job, max_parallel, prefix),
        *_problems_with_start(start, prefix),
    ]
    if problems:
        raise RequestError("\n".join(problems))
    return Asked(
        devices=named,
        gpus_per_job=int(gpus_per_job),
        max_parallel=int(max_parallel),
        start=StartMethod(str(start)),
        preload=tuple(preload),
        prefix=prefix,
    )


def listed(devices: str | Sequence[str]) -> str:
    """As people type it."""
    return devices if isinstance(devices, str) else "[" + ",".join(devices) + "]"


def _named_devices(devices: Any) -> str | tuple[str, ...]:
    """A lone index or UUID is a list of one."""
    if isinstance(devices, Sequence) and not isinstance(devices, str):
        return tuple(str(entry) for entry in devices)
    text = str(devices)
    return text if text in ("auto", "cpu") else (text,)


def _problems_with_devices(named: str | tuple[str, ...], devices: Any, prefix: str) -> list[str]:
    if isinstance(named, str):
        return []
    if not named:
        return [f"{prefix}devices=[] names no device. Use {prefix}devices=auto, cpu, or GPUs such as [0,1]."]
    if len(set(named)) < len(named):
        return [f"{prefix}devices={listed(named)} names a GPU twice. Name each GPU once."]
    wrong = [name for name in named if not _could_be_gpu(name)]
    if not wrong:
        return []
    return [
        f"{prefix}devices={listed(named) if len(named) > 1 else devices}: {wrong[0]!r} is neither an index nor a UUID "
        f"of a GPU. Use {prefix}devices=auto, cpu, or GPUs such as [0,1]."
    ]


def _could_be_gpu(name: str) -> bool:
    return re.fullmatch(r"\d+|((GPU|MIG)-)?[0-9a-f][0-9a-f/-]*", name, re.ASCII | re.IGNORECASE) is not None


def _problems_with_numbers(gpus_per_job: Any, max_parallel: Any, prefix: str) -> list[str]:
    problems = []
    if not _is_whole(gpus_per_job) or gpus_per_job < 1:
        problems.append(f"{prefix}gpus_per_job={gpus_per_job} must be a whole number, 1 or more.")
    if not _is_whole(max_parallel) or max_parallel < 0:
        problems.append(
            f"{prefix}max_parallel={max_parallel} must be a whole number; 0 runs as many jobs at once as fit."
        )
    return problems


def _is_whole(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool)


def _problems_with_start(start: Any, prefix: str) -> list[str]:
    choices = [method.value for method in StartMethod]
    if str(start) in choices:
        return []
    return [f"{prefix}start={start}: choose one of {', '.join(choices)}."]
