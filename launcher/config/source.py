"""What Hydra reads from us beside YAML files: the schema, and detectron2's model zoo as the group `model`."""

from __future__ import annotations

from builtins import list as list_of
from collections.abc import Mapping
from typing import Any, ClassVar

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf

from launcher.config.known_keys import Detectron2Keys
from launcher.config.presets import MODEL_GROUP, option_name
from launcher.config.schema import make_schema
from launcher.config.yaml_files import read_files_with_us

SCHEMA_NAME = "launcher_schema"
FROZEN_NAME = "launcher_frozen"
SCHEME = "detectron2"


def primary() -> str:
    """The configuration that a composition begins with."""
    return "config" if Detectron2Source.frozen is None else "resume"


def serve(keys: Detectron2Keys, frozen: Mapping[str, Any] | None = None) -> None:
    """Let Hydra know these keys and models, and what a run was composed to that is resumed; the last call counts."""
    Detectron2Source.keys = keys
    Detectron2Source.frozen = frozen
    Detectron2Source.models = {option_name(name): name for name in keys.zoo}
    plugins = Plugins.instance()
    plugins.register(Detectron2Source)
    plugins.register(Detectron2SearchPath)
    read_files_with_us()


class Detectron2SearchPath(SearchPathPlugin):
    """Puts our source on Hydra's search path, where no `hydra.searchpath=` of a user can take it off."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append(provider="launcher", path=f"{SCHEME}://")


class Detectron2Source(ConfigSource):
    """Answers `launcher_schema` with a fresh schema and `model/<option>` with what that zoo file sets."""

    # Hydra makes the instances and passes nothing but the path. The schema is made here for each composition because
    # Hydra's ConfigStore would copy it three times, which takes longer than making it.
    keys: ClassVar[Detectron2Keys]
    models: ClassVar[dict[str, str]]
    frozen: ClassVar[Mapping[str, Any] | None] = None

    @staticmethod
    def scheme() -> str:
        return SCHEME

    def available(self) -> bool:
        return True

    def is_group(self, config_path: str) -> bool:
        # The root counts as a group, or Hydra does not ask it what groups it has.
        return config_path.strip("/") in ("", MODEL_GROUP)

    def is_config(self, config_path: str) -> bool:
        own = (SCHEMA_NAME, *([FROZEN_NAME] if self.frozen is not None else []))
        return _without_ending(config_path) in own or self._zoo_name(config_path) is not None

    def load_config(self, config_path: str) -> ConfigResult:
        config = self._content(config_path)
        path, header = self.full_path(), {"package": "_global_"}
        return ConfigResult(provider=self.provider, path=path, config=config, header=header)  # type: ignore[arg-type]

    def _content(self, config_path: str) -> DictConfig:
        if (name := self._zoo_name(config_path)) is not None:
            return OmegaConf.create(dict(self.keys.zoo[name]))
        if _without_ending(config_path) == FROZEN_NAME:
            return OmegaConf.create(dict(self.frozen or {}))
        return make_schema(self.keys)

    def list(self, config_path: str, results_filter: ObjectType | None) -> list_of[str]:
        place = config_path.strip("/")
        if place == MODEL_GROUP and results_filter is not ObjectType.GROUP:
            return sorted(self.models)
        if place == "" and results_filter is not ObjectType.CONFIG:
            return [MODEL_GROUP]
        return []

    def _zoo_name(self, config_path: str) -> str | None:
        group, _, option = config_path.partition("/")
        return self.models.get(_without_ending(option)) if group == MODEL_GROUP else None


def _without_ending(name: str) -> str:
    return name.removesuffix(".yaml")
