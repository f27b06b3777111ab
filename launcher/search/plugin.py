"""Hydra's sweeper plugin `hydra/sweeper=search`. What it decides by lives elsewhere; here it meets Hydra."""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from launcher.config.ranges import numbers_of, problem_with
from launcher.config.request import SearchSettings, SweepSettings
from launcher.config.schema import own_value
from launcher.errors import LauncherError, RequestError
from launcher.pool.plugin import PoolLauncher
from launcher.pool.registered import register_plugin
from launcher.search.batches import Batches, batch_size
from launcher.search.settings import PRUNERS, SAMPLERS, problems_with_choice
from launcher.search.space import Dimension, Interval, Point, Space, parse, space_of
from launcher.search.values import Aim, Plan, Proposing, Pruning
from launcher.sweep.array import ArrayRuns
from launcher.sweep.slurm_array import ArrayLauncher, refuse_unused

if TYPE_CHECKING:
    from launcher.search.book import Book
    from launcher.search.conductor import Search

NAME = "search"
TARGET = "hydra_plugins.launcher_search.SearchSweeper"
MISSING = (
    "hydra/sweeper=search needs Optuna, which is not installed. Install it: pip install 'detectron2-launcher[search]'"
)


IN_QUEUE = 8
"""Jobs of a search that Slurm has at a time, where nothing says how many."""


@dataclass
class SearchConf:
    """The node hydra.sweeper; what is searched for is in `search` and `sweep`."""

    _target_: str = TARGET


def register() -> None:
    """Make `hydra/sweeper=search` a choice of this process's Hydra application; repeatable."""
    register_plugin(SearchSweeper, TARGET, group="hydra/sweeper", name=NAME, node=SearchConf)


class SearchSweeper(Sweeper):
    """Proposes the settings of each job by how the jobs before it did."""

    # Hydra instantiates plugins of the package hydra_plugins alone, and finds registered ones by that name.
    __module__ = "hydra_plugins.launcher_search"

    def __init__(self) -> None:
        self.hydra_context: HydraContext | None = None
        self.config: DictConfig | None = None
        self.launcher: Launcher | None = None
        self._task: TaskFunction | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.config, self._task = hydra_context, config, task_function
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """The returns of the jobs that this command ran, in their order.

        Raises:
            LauncherError: nothing can be searched as it is asked for, or no job reported the metric.
        """
        if importlib.util.find_spec("optuna") is None:
            raise RequestError(MISSING)
        # Optuna, which is there by now, and which takes half a second.
        from launcher.search.conductor import Search

        assert self.hydra_context is not None
        plan = self._plan(parse(arguments, self.hydra_context.config_loader))
        runs = self._open_array()
        probes = probes_of(plan.how.space, plan.first)
        self.validate_batch_is_legal([plan.overrides_of(point) for point in probes])
        book: Book = self._task.ledger  # type: ignore[union-attr]
        sweep = book.open(plan.overrides_of(probes[0]))
        if book.only_looks:
            print(_what_is_shown(plan, len(probes)), file=sys.stderr)
            book.admit([plan.overrides_of(point) for point in probes], 0)
            return []
        if sweep.jobs:
            book.hold()
        elif plan.first is None:
            book.say("the configuration as it is lies outside of the space, so every job is proposed")
        book.expects(min(plan.n_trials, plan.how.space.size or plan.n_trials))
        search = Search(replace(plan, how=replace(plan.how, seed=sweep.seed or 0)), book)
        search.recall()
        self._run(search, book, runs)
        if not search.has_value and not search.was_stopped:
            raise LauncherError(_nothing_measured(plan))
        return [search.returns[number] for number in sorted(search.returns)]

    def _plan(self, overrides: Sequence[Override]) -> Plan:
        """Raises RequestError where something of it cannot be meant; every problem is named."""
        assert self.config is not None
        space = space_of(overrides)
        search, sweep = own_value("search", self.config.search), own_value("sweep", self.config.sweep)
        defaults = self._defaults(space)
        if problems := [*_problems_with(search, sweep), *_problems_with_types(space, defaults)]:
            raise RequestError("\n".join(problems))
        first = space.point_of_defaults({key: text_of(value) for key, value in defaults.items()})
        return Plan(
            how=Proposing(
                space=space,
                aim=Aim(metric=sweep.metric, mode=sweep.mode),
                sampler=search.sampler,
                settings=search.sampler_settings,
                seed=0,  # until the sweep is known, whose it is
            ),
            pruning=Pruning(pruner=search.pruner, settings=search.pruner_settings),
            n_trials=search.n_trials,
            first=first,
            overrides_of=partial(overrides_of, tuple(overrides)),
        )

    def _defaults(self, space: Space) -> dict[str, Any]:
        """What the configuration itself has for each dimension; nothing for a setting that it only gets."""
        assert self.config is not None
        choices = self.config.hydra.runtime.choices
        found = {}
        for key in (one.key.lstrip("+~") for one in space.dimensions):
            value = choices[key] if key in choices else OmegaConf.select(self.config, key, throw_on_missing=False)
            if value is not None:
                found[key] = OmegaConf.to_object(value) if OmegaConf.is_config(value) else value
        return found

    def _open_array(self) -> ArrayRuns | None:
        """Slurm's queue, in which a search keeps some jobs; None for another launcher."""
        assert self.config is not None
        assert self.launcher is not None
        refuse_unused(self.launcher, getattr(getattr(self._task, "ledger", None), "typed", ()))
        if not isinstance(self.launcher, ArrayLauncher):
            return None
        asked = self.launcher.asked
        if asked.detach:
            raise RequestError(
                "cluster.detach=true leaves a sweep to Slurm, but a search proposes each job by how those before it "
                "did, so its command has to stay. Leave --detach out, and type it where it can stay, as in tmux."
            )
        runs = self.launcher.open(self.config.search.batch or asked.max_parallel or IN_QUEUE)
        if problems := runs.problems_with_number(self.config.search.n_trials):
            raise RequestError("\n".join(problems))
        return runs

    def _run(self, search: Search, book: Book, runs: ArrayRuns | None) -> None:
        if runs is not None:
            book.say(
                f"search in Slurm: {runs.size} jobs are in the queue at a time (cluster.max_parallel), the first of "
                "them as one array; each that ends is followed by an array of one"
            )
            search.run(runs)
            return
        if isinstance(self.launcher, PoolLauncher):
            pool = self.launcher.open()
            if not search.waits:  # what earlier jobs of the sweep have of the GPUs gets free
                pool.refuse_taken()
            with pool:
                search.run(pool)
            return
        assert self.config is not None
        assert self.launcher is not None
        node = self.config.hydra.launcher
        size = batch_size(node, self.config.search.batch)
        name = self.config.hydra.runtime.choices.get("hydra/launcher") or node.get("_target_")
        book.say(
            f"hydra/launcher={name} takes jobs in batches: {size} proposed together, and none pruned; "
            "hydra/launcher=pool takes them one by one"
        )
        search.run(Batches(self.launcher, size))


def probes_of(space: Space, first: Point | None) -> list[Point]:
    """A first point, and one for every value of a list and for both ends of the others: each of them has to compose."""
    ends = [_ends_of(one) for one in space.dimensions]
    typical = first if first is not None else tuple(texts[0] for texts in ends)
    others = ((*typical[:at], text, *typical[at + 1 :]) for at, texts in enumerate(ends) for text in texts)
    return list(dict.fromkeys([typical, *others]))


def _ends_of(one: Dimension) -> list[str]:
    values = one.values
    if isinstance(values, Interval):
        texts = [values.text_of(values.low), values.text_of(values.high)]
    else:
        texts = [values.values[0], values.values[-1]] if values.is_ordered else [*values.values]
    return [f"{one.key}={text}" for text in texts]


def overrides_of(typed: tuple[Override, ...], point: Point) -> tuple[str, ...]:
    """What a job of that point is given, in the order in which it was typed."""
    chosen = {text.partition("=")[0]: text for text in point}
    given = {one.get_key_element(): one.input_line or "" for one in typed}  # of a key typed twice the last
    return tuple(chosen.get(key, text) for key, text in given.items())


def text_of(value: Any) -> str:
    """A composed value as an override spells it."""
    return str(value.name if isinstance(value, Enum) else Override._get_value_element_as_str(value))


def _problems_with(search: SearchSettings, sweep: SweepSettings) -> Iterator[str]:
    yield from (problem for one in numbers_of(search, "search") if (problem := problem_with(*one)))
    yield from problems_with_choice("search.sampler", search.sampler, search.sampler_settings, SAMPLERS)
    yield from problems_with_choice("search.pruner", search.pruner, search.pruner_settings, PRUNERS)
    needs = SAMPLERS[search.sampler].needs if search.sampler in SAMPLERS else ()
    if missing := [name for name in needs if importlib.util.find_spec(name) is None]:
        yield f"search.sampler={search.sampler} needs {missing[0]}. Install it: pip install {missing[0]}"
    if sweep.seeds > 1:
        yield (
            f"sweep.seeds={sweep.seeds}: a search runs every point once. Search with sweep.seeds=1, then repeat the "
            "best points in a sweep of their own."
        )


def _problems_with_types(space: Space, defaults: Mapping[str, Any]) -> Iterator[str]:
    for one in space.dimensions:
        default, values = defaults.get(one.key.lstrip("+")), one.values
        if isinstance(values, Interval) and not values.is_whole and type(default) is int:
            low, high = math.ceil(values.low), math.floor(values.high)
            log = f"tag(log, int(interval({low}, {high})))" if values.is_log else f"int(interval({low}, {high}))"
            yield f'{one.key} takes whole numbers: "{one.key}={log}"'


def _what_is_shown(plan: Plan, number: int) -> str:
    return (
        f"a search of {plan.n_trials} jobs, whose settings follow from how the jobs before them did; shown are "
        f"{number} points of its space: {'the configuration as it is' if plan.first is not None else 'a corner'}, and "
        "from there every value that is listed and both ends of every interval"
    )


def _nothing_measured(plan: Plan) -> str:
    metric = plan.how.aim.metric or "a metric"
    return (
        f"No job of the search reported {metric}, so there was nothing to go by. Look at why: launcher runs; a job is "
        "evaluated on DATASETS.TEST at its end, and every TEST.EVAL_PERIOD iterations."
    )
