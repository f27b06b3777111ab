"""What a job needs of the process in which Hydra was started."""

from __future__ import annotations

import importlib
import os
import pickle
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from launcher.errors import RequestError


@dataclass(frozen=True, kw_only=True)
class Context:
    """Of all jobs of a sweep. A forked process has it; another gets it by `pack_context`."""

    hydra_context: HydraContext
    task_function: TaskFunction
    config: DictConfig
    """Composed without the overrides of a job."""


def run_hydra_job(context: Context, number: int, overrides: list[str]) -> JobReturn:
    """One job, in this process, as Hydra's basic launcher runs it."""
    setup_globals()
    config = context.hydra_context.config_loader.load_sweep_config(context.config, overrides)
    with open_dict(config):
        config.hydra.job.id, config.hydra.job.num = str(number), number
    HydraConfig.instance().set_config(config)
    return run_job(
        hydra_context=context.hydra_context,
        task_function=context.task_function,
        config=config,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )


def pack_context(context: Context) -> bytes:
    """The bytes of which `unpack_context` makes it again in a process that imported nothing yet.

    Raises:
        RequestError: the application cannot be handed on.
    """
    pickler = _pickler()
    try:
        return pickle.dumps((sys.path, os.getcwd(), pickler.dumps((context, Singleton.get_state()))))
    except Exception as error:
        without = "" if pickler.__name__ == "cloudpickle" else " Or install cloudpickle, which can hand on more."
        raise RequestError(
            f"The jobs have to run in processes that are not forked, and the application cannot be handed on to those "
            f"({type(error).__name__}: {error}). Move the task function into a module that can be imported.{without}"
        ) from error


def unpack_context(data: bytes) -> Context:
    """In the process that is to run jobs."""
    sys.path[:], folder, whole = pickle.loads(data)
    os.chdir(folder)
    setup_globals()
    context, singletons = pickle.loads(whole)
    Singleton.set_state(singletons)
    assert isinstance(context, Context)
    return context


def _pickler() -> ModuleType | Any:
    """The standard one takes functions by their name in a module, and a decorated one has another's name."""
    try:
        return importlib.import_module("cloudpickle")
    except ImportError:
        return pickle
