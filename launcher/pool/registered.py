"""Makes our plugins known to Hydra."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins

from launcher.pool.plugin import PoolLauncher
from launcher.pool.settings import TARGET, PoolConf

NAMESPACE = "hydra_plugins"


def register() -> None:
    """Make `hydra/launcher=pool` a choice of this process's Hydra application: before it is run; repeatable."""
    register_plugin(PoolLauncher, TARGET, group="hydra/launcher", name="pool", node=PoolConf)


def register_plugin(kind: type[Any], target: str, *, group: str, name: str, node: Any) -> None:
    """Make a class of ours, which calls itself `target`, an option of Hydra's; repeatable.

    Hydra imports what it instantiates from the package hydra_plugins, which ours are no part of, so they are put there.
    """
    module, _, _ = target.rpartition(".")
    _put(kind, module)
    Plugins.instance().register(kind)
    # A second time would be an error in Hydra 1.5.
    if f"{name}.yaml" not in _stored(group):
        ConfigStore.instance().store(group=group, name=name, node=node, provider="launcher")


def _stored(group: str) -> list[str]:
    try:
        return list(ConfigStore.instance().list(group))
    except OSError:  # nothing is
        return []


def _put(kind: type[Any], name: str) -> None:
    """Have a module of that name, with the class in it."""
    if name not in sys.modules:
        sys.modules[name] = ModuleType(name)
        setattr(_namespace(), name.rpartition(".")[2], sys.modules[name])
    setattr(sys.modules[name], kind.__name__, kind)


def _namespace() -> ModuleType:
    """The package of all plugins: that of the installed ones, or an empty one where none are."""
    try:
        return importlib.import_module(NAMESPACE)
    except ImportError:
        package = ModuleType(NAMESPACE)
        package.__path__ = []
        sys.modules[NAMESPACE] = package
        return package
