"""Configuration files of users and of ours, read for Hydra; what they set is remembered for the request."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.sources_registry import SourcesRegistry
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig, OmegaConf

PRIMARY = "config"


class YamlFiles(FileConfigSource):
    """Hydra's own reader of folders, and a note of every setting that the files of one composition contain."""

    names: ClassVar[set[str]] = set()

    def load_config(self, config_path: str) -> ConfigResult:
        # A composition begins with the primary configuration; the jobs of a sweep are composed one by one.
        if config_path.removesuffix(".yaml") == PRIMARY:
            YamlFiles.names.clear()
        result = super().load_config(config_path)
        if isinstance(result.config, DictConfig):
            YamlFiles.names.update(_names_set(result, config_path))
        return result


def read_files_with_us() -> None:
    """Let Hydra read files through `YamlFiles`. Its plugins have to be loaded by now."""
    SourcesRegistry.instance().types[YamlFiles.scheme()] = YamlFiles


def is_set(name: str, overrides: Iterator[str] | tuple[str, ...]) -> bool:
    """Whether the command line, or a file of the last composition, sets a key, to its default or to something else."""
    return name in YamlFiles.names or any(_sets(override, name) for override in overrides)


def _sets(override: str, name: str) -> bool:
    """`MODEL.DEVICE=x` and `MODEL={DEVICE:x}` set MODEL.DEVICE."""
    key, _, value = override.lstrip("+").partition("=")
    if key == name:
        return True
    below = name.removeprefix(f"{key}.")
    return below != name and re.search(rf"\b{below}\s*:", value) is not None


def _names_set(result: ConfigResult, config_path: str) -> Iterator[str]:
    package = result.header.get("package")
    group = config_path.strip("/").rpartition("/")[0].replace("/", ".")
    prefix = "" if package == "_global_" or not group else f"{group}."
    yield from _leaf_names(OmegaConf.to_container(result.config, resolve=False), prefix)


def _leaf_names(content: Any, prefix: str) -> Iterator[str]:
    for key, value in content.items():
        if isinstance(value, Mapping) and value:
            yield from _leaf_names(value, f"{prefix}{key}.")
        elif key != "defaults":
            yield f"{prefix}{key}"
