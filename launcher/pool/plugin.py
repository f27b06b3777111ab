"""Hydra's launcher plugin."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, configure_log, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from launcher.pool.context import Context
from launcher.pool.settings import Asked, read_settings

if TYPE_CHECKING:
    from launcher.pool.pool import Pool

PREFIX = "hydra.launcher."


class PoolLauncher(Launcher):
    """Runs the jobs of a multirun in parallel, each in a process of its own."""

    # Hydra instantiates plugins of the package hydra_plugins alone, and finds registered ones by that name.
    __module__ = "hydra_plugins.launcher_pool"

    def __init__(self, **settings: Any) -> None:
        """`settings` are those of PoolConf."""
        self._settings = settings
        self._context: Context | None = None
        self._pool: Pool | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self._context = Context(hydra_context=hydra_context, task_function=task_function, config=config)

    def open(self) -> Pool:
        """The Pool of this launcher: its devices are looked for now, the first time.

        Raises:
            DeviceUnavailableError: the devices asked for are not there.
            RequestError: the settings cannot be meant.
        """
        assert self._context is not None
        if self._pool is None:
            self._pool = _for_sweeps().open_pool(self._context, self._asked(), os.environ, logs=self._folder())
        return self._pool

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """The returns of all jobs, in their order."""
        assert self._context is not None
        setup_globals()
        config = self._context.config
        configure_log(config.hydra.hydra_logging, config.hydra.verbose)
        self._folder().mkdir(parents=True, exist_ok=True)
        ledger = getattr(self._context.task_function, "ledger", None)
        return _for_sweeps().run_batch(job_overrides, initial_job_idx, ledger, self.open)

    def _asked(self) -> Asked:
        named = {name: value for name, value in self._settings.items() if name != "_target_"}
        plain = OmegaConf.to_container(OmegaConf.create(named), resolve=True)
        assert isinstance(plain, dict)
        prefix = getattr(self._context.task_function, "pool_prefix", PREFIX) if self._context else PREFIX
        return read_settings(prefix=prefix, **{str(name): value for name, value in plain.items()})

    def _folder(self) -> Path:
        assert self._context is not None
        return Path(str(self._context.config.hydra.sweep.dir))


def _for_sweeps() -> ModuleType:
    # Half as long again as importing Hydra takes: an application that makes the pool known pays only when it sweeps.
    from launcher.pool import opened

    return opened
