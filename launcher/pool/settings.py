"""Settings of the pool: Hydra's node `hydra/launcher=pool`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

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
