"""Hydra's sweeper plugin `hydra/sweeper=grid`: every point of a grid, as a sweep that can be repeated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from launcher.pool.ledger import Run
from launcher.pool.plugin import PoolLauncher
from launcher.sweep.books import Books, Space

NAME = "grid"


def register() -> None:
    """Let Hydra find what `configs/hydra/sweeper/grid.yaml` names; repeatable."""
    Plugins.instance().register(GridSweeper)


class GridSweeper(Sweeper):
    """Has every job checked and named before the first one starts."""

    # Hydra instantiates plugins of the package hydra_plugins alone, and finds registered ones by that name.
    __module__ = "hydra_plugins.launcher_grid"

    def __init__(self) -> None:
        self._launcher: Launcher | None = None
        self._books: Books | None = None
        self._compose: Callable[[Sequence[str]], DictConfig] | None = None
        self._parser: OverridesParser | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        loader = hydra_context.config_loader
        self._compose = lambda overrides: loader.load_sweep_config(config, list(overrides))
        self._parser = OverridesParser.create(config_loader=loader)
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
        assert self._compose is not None
        assert self._parser is not None
        overrides = self._parser.parse_overrides(arguments)
        space = Space(sweeper=NAME, swept=swept_keys(overrides), compose=self._compose)
        jobs = self._books.plan(space, points_of(overrides))
        if self._books.only_looks:
            return []
        if isinstance(self._launcher, PoolLauncher):
            return self._launcher.launch(jobs, 0)
        return self._launch_all(self._launcher, jobs)

    def _launch_all(self, launcher: Launcher, jobs: Sequence[Sequence[str]]) -> Sequence[JobReturn]:
        """By a launcher that asks nobody: only what is to run."""
        assert self._books is not None
        decisions = self._books.admit(jobs, 0)
        chosen = [number for number, one in enumerate(decisions) if isinstance(one, Run)]
        if not chosen:
            return []
        return launcher.launch([jobs[number] for number in chosen], 0)


def swept_keys(overrides: Sequence[Override]) -> tuple[str, ...]:
    """The settings that several values are given for."""
    return tuple(dict.fromkeys(one.get_key_element().lstrip("+") for one in overrides if one.is_sweep_override()))


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
