"""Hydra's launcher plugin `hydra/launcher=slurm_array`: a sweep as an array of Slurm's."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from hydra.core.utils import JobReturn, configure_log, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from launcher.config.arguments import is_of_cluster
from launcher.config.request import ClusterSettings
from launcher.config.schema import own_value
from launcher.errors import RequestError
from launcher.pool.batch import Batch
from launcher.pool.plugin import PoolLauncher
from launcher.pool.registered import register_plugin
from launcher.sweep.array import ArrayRuns
from launcher.sweep.books import Books

NAME, TARGET = "slurm_array", "hydra_plugins.launcher_slurm_array.ArrayLauncher"

SWEEPERS = ("grid", "search")
"""That open this launcher before they use it."""


@dataclass
class ArrayConf:
    """The node hydra.launcher; what is asked of Slurm is in `cluster`."""

    _target_: str = TARGET


def register() -> None:
    """Make `hydra/launcher=slurm_array` a choice of this process's Hydra application; repeatable."""
    register_plugin(ArrayLauncher, TARGET, group="hydra/launcher", name=NAME, node=ArrayConf)


class ArrayLauncher(Launcher):
    """Hands jobs to Slurm, and follows them to their end."""

    # Hydra instantiates plugins of the package hydra_plugins alone, and finds registered ones by that name.
    __module__ = "hydra_plugins.launcher_slurm_array"

    def __init__(self) -> None:
        self._config: DictConfig | None = None
        self._books: Books | None = None
        self._runs: ArrayRuns | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        sweeper = config.hydra.runtime.choices.get("hydra/sweeper")
        if sweeper not in SWEEPERS:
            raise RequestError(
                f"hydra/launcher={NAME} needs a sweeper that checks all jobs before one is submitted, and "
                f"hydra/sweeper={sweeper} does not. Use hydra/sweeper=grid, or hydra/sweeper=search."
            )
        self._config = config
        self._books = getattr(task_function, "ledger", None)

    @property
    def asked(self) -> ClusterSettings:
        """What all jobs ask of Slurm."""
        assert self._config is not None
        settings = own_value("cluster", self._config.cluster)
        assert isinstance(settings, ClusterSettings)
        return settings

    def open(self, size: int | None = None) -> ArrayRuns:
        """The jobs of this launcher, so many at a time; they are checked for Slurm from now on.

        Raises:
            RequestError: this host has no sbatch.
        """
        assert self._books is not None
        if not self._books.only_looks and shutil.which("sbatch") is None:
            raise RequestError(
                "hydra/launcher=slurm_array submits with sbatch, which is not here. Type the command on a host of the "
                "cluster, or leave hydra/launcher out: the jobs then run on this machine."
            )
        self._runs = ArrayRuns(self._books, size=size, detach=self.asked.detach)
        self._books.submit_with(self._runs)
        return self._runs

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """The returns of all jobs, in their order; those that are left to Slurm have failed to start here.

        Raises:
            LauncherError: Slurm refuses them.
        """
        assert self._books is not None
        assert self._config is not None
        assert self._runs is not None
        setup_globals()
        configure_log(self._config.hydra.hydra_logging, self._config.hydra.verbose)
        batch = Batch(job_overrides, initial_job_idx, self._books)
        batch.run(self._runs)
        return batch.returns


def refuse_unused(launcher: Launcher, typed: Sequence[str]) -> None:
    """Raises RequestError where settings of another launcher were typed, on which nothing would follow."""
    if isinstance(launcher, ArrayLauncher) and (wrong := [text for text in typed if text.startswith("pool.")]):
        raise RequestError(
            f"{', '.join(wrong)}: settings of pool are those of this machine, and hydra/launcher={NAME} hands the jobs "
            "to Slurm. Leave them out; cluster.max_parallel and cluster.gpus_per_node are what the array has."
        )
    if isinstance(launcher, PoolLauncher) and (wrong := [text for text in typed if is_of_cluster(text)]):
        raise RequestError(
            f"{', '.join(wrong)}: settings of cluster are those of a Slurm job, and hydra/launcher=pool runs the jobs "
            f"on this machine. Leave them out, or have the sweep submitted as an array: add hydra/launcher={NAME}"
        )
