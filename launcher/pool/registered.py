"""Makes the pool known to Hydra; imports nothing that only a sweep needs."""

from __future__ import annotations

from hydra.core.config_store import ConfigStore

from launcher.pool.settings import PoolConf


def register() -> None:
    """Make `hydra/launcher=pool` a choice of this process's Hydra application. Before `@hydra.main` runs; repeatable."""
    # INTERFACE ONLY for now.
    ConfigStore.instance().store(group="hydra/launcher", name="pool", node=PoolConf, provider="launcher")
