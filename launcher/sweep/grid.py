"""Hydra's sweeper plugin `hydra/sweeper=grid`: every point of a grid, as a sweep that can be repeated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from launcher.errors import RequestError
from launcher.pool.ends import ended_in_batch
from launcher.pool.ledger import Job, Run
from launcher.pool.plugin import PoolLauncher
from launcher.pool.registered import register_plugin
from launcher.sweep.books import Books
from launcher.sweep.slurm_array import ArrayLauncher, refuse_unused

NAME, TARGET = "grid", "hydra_plugins.launcher_grid.GridSweeper"


@dataclass
class GridConf:
    """The node hydra.sweeper; not frozen, as Hydra has it."""

    _target_: str = TARGET


def register() -> None:
    """Make `hydra/sweeper=grid` a choice of this process's Hydra application; repeatable."""
    register_plugin(GridSweeper, TARGET, group="hydra/sweeper", name=NAME, node=GridConf)


class GridSweeper(Sweeper):
    """Has every job checked and named before the first one starts."""

    # Hydra instantiates plugins of the package hydra_plugins alone, and finds registered ones by that name.
    __module__ = "hydra_plugins.launcher_grid"

    def __init__(self) -> None:
        self._launcher: Launcher | None = None
        self._books: Books | None = None
        self._parser: OverridesParser | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self._parser = OverridesParser.create(config_loader=hydra_context.config_loader)
        self._books = getattr(task_function, "ledger", None)
        self._launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """The returns of the jobs, in their order.

        Raises:
            RequestError: some job cannot be meant, or the command line is no grid; then nothing has started.
        """
        assert self._launcher is not None
        assert self._books is not None
        assert self._parser is not None
        jobs = self._books.repeated(points_of(self._parser.parse_overrides(arguments)))
        refuse_unused(self._launcher, self._books.typed)
        if isinstance(self._launcher, PoolLauncher | ArrayLauncher):
            self._launcher.open()  # says at once where the devices, or Slurm, are not there
        if self._books.only_looks:
            self._books.admit(jobs, 0)
            return []
        if isinstance(self._launcher, PoolLauncher | ArrayLauncher):
            return self._launcher.launch(jobs, 0)
        return self._launch(jobs)

    def _launch(self, jobs: Sequence[Sequence[str]]) -> Sequence[JobReturn]:
        """With any other launcher, which asks nobody what is to run and tells nobody how it ended."""
        assert self._launcher is not None
        assert self._books is not None
        decisions = enumerate(zip(jobs, self._books.admit(jobs, 0), strict=True))
        chosen = [Job(number=at, overrides=tuple(job), run=one) for at, (job, one) in decisions if isinstance(one, Run)]
        if not chosen:
            return []
        returns = self._launcher.launch([[*job.overrides, *job.run.overrides] for job in chosen], 0)
        for job, returned in zip(chosen, returns, strict=True):
            self._books.ended(ended_in_batch(job, returned, seconds=0.0))
        return returns


def points_of(overrides: Sequence[Override]) -> list[list[str]]:
    """All overrides of every job.

    Raises:
        RequestError: a space is not made of values, or has none.
    """
    swept = [one for one in overrides if one.is_sweep_override()]
    if spaces := [one for one in swept if not one.is_discrete_sweep()]:
        lines = "\n".join(f"{one.input_line}: a grid takes values, such as 0.1,0.01 or range(1,4)." for one in spaces)
        raise RequestError(f"{lines}\nTo search in intervals, add hydra/sweeper=search.")
    empty = [str(one.input_line) for one in swept if not list(one.sweep_string_iterator())]
    if empty:
        raise RequestError(
            f"{', '.join(empty)} has no value, so the sweep has no job. Name at least one, such as 0.1,0.01."
        )
    (points,) = BasicSweeper.split_arguments(list(overrides), None)
    return points
