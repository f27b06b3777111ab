"""Configuration files of users and of ours, read for Hydra; what they set is remembered for the request."""

from __future__ import annotations

import os
import re
import shlex
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import yaml
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.sources_registry import SourcesRegistry
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import DictConfig, OmegaConf
from yaml.parser import ParserError
from yaml.scanner import ScannerError

from launcher.config.keys import leaves
from launcher.errors import RequestError

PRIMARY = ("config", "resume")
RUNS_CODE = ("callbacks", "job_logging", "hydra_logging", "launcher", "sweeper")
"""Nodes below `hydra` in which `_target_`, or Python's logging, names what is called."""


@dataclass(frozen=True, kw_only=True)
class FileRead:
    """What a configuration file sets, by dotted names."""

    path: str
    settings: tuple[tuple[str, Any], ...]


class YamlFiles(FileConfigSource):
    """Hydra's own reader of folders, which answers mistakes in a file and notes every setting that it contains.

    Hydra makes the instances, so what the files of one composition set is noted on the class.
    """

    files: ClassVar[list[FileRead]] = []
    only_looks: ClassVar[bool] = False
    """Nothing is to be run, so what would run code or change its environment is left out."""
    left_out: ClassVar[list[str]] = []
    """Of what the files set, with a clause that names the file."""

    def load_config(self, config_path: str) -> ConfigResult:
        # A composition begins with the primary configuration; the jobs of a sweep are composed one by one.
        if config_path.removesuffix(".yaml") in PRIMARY:
            YamlFiles.files.clear()
            YamlFiles.left_out.clear()
        path = os.path.join(self.path, self._normalize_file_name(config_path))
        try:
            result = super().load_config(config_path)
        except UnicodeDecodeError as error:
            raise RequestError(_not_utf8(path, error)) from error
        except yaml.YAMLError as error:
            raise RequestError(_not_yaml(path, error)) from error
        except RecursionError:
            raise RequestError(
                f"{path} is nested too deeply, or a value in it contains itself (&NAME, *NAME)."
            ) from None
        result.header = _header_behind_mark(path) or result.header
        if not isinstance(result.config, DictConfig):
            raise RequestError(f"{path} holds a list. A configuration file holds settings, one KEY: VALUE per line.")
        content: Any = OmegaConf.to_container(result.config, resolve=False)
        if problems := list(problems_with_content(content)):
            raise RequestError("\n".join(f"{path}: {problem}" for problem in problems))
        if YamlFiles.only_looks:
            kept = without_what_runs(content)
            YamlFiles.left_out += _what_is_missing(content, kept, path)
            content = kept
        result.config = OmegaConf.create(with_options_spelled(content))
        settings = _settings(content, result.header.get("package"), config_path)
        YamlFiles.files.append(FileRead(path=path, settings=tuple(settings)))
        return result

    def is_config(self, config_path: str) -> bool:
        path = os.path.join(self.path, self._normalize_file_name(config_path))
        if (kind := _special_kind(path)) and config_path.strip("/"):
            raise RequestError(f"{path} is a {kind}, not a file. A configuration is read from a file.")
        return super().is_config(config_path)


# Hydra registers its own again in each process of submitit's, and takes no second class of another name.
YamlFiles.__name__ = FileConfigSource.__name__


def read_files_with_us() -> None:
    """Let Hydra read files through `YamlFiles`. Its plugins have to be loaded by now."""
    SourcesRegistry.instance().types[YamlFiles.scheme()] = YamlFiles


def is_set(name: str, overrides: Iterable[str]) -> bool:
    """Whether the command line, or a file of the last composition, sets a key, to its default or to something else."""
    in_files = (key for file in YamlFiles.files for key, _ in file.settings)
    return name in in_files or any(_sets(override, name) for override in overrides)


def problems_with_content(content: Mapping[Any, Any]) -> Iterator[str]:
    """What a file that was made for detectron2 itself has, and Hydra would not understand."""
    for key in ("_BASE_", "BASE"):
        if key in content:
            yield (
                f"{key}: {content[key]} is detectron2's way to begin with another file. Write it as Hydra does:\n"
                f"  defaults:\n    - override /model: {_model_like(str(content[key]))}\n"
                "A file of your own that is to be included stands beside this one: defaults: [NAME]."
            )
    for name, value in _torn_tuples(content, ""):
        yield (
            f"{name}: {value}, ...) is a tuple of Python's, which YAML takes apart. Lists are in brackets: "
            f"{name.rpartition('.')[2]}: {value.replace('(', '[')}, ...]"
        )
    tuples = [name for name, value in _leaves(content, "") if isinstance(value, str) and _is_tuple(value)]
    for name in tuples:
        value = dict(_leaves(content, ""))[name]
        yield (
            f"{name}: {value} is a tuple of Python's, and text to YAML. Write {name.rpartition('.')[2]}: "
            f"{as_list(value)}"
        )


def without_what_runs(content: dict[Any, Any]) -> dict[Any, Any]:
    """The content without those of Hydra's settings that name code to run, or the environment to run it in."""
    hydra = content.get("hydra")
    if not isinstance(hydra, dict):
        return content
    kept = {key: value for key, value in hydra.items() if key not in RUNS_CODE}
    if isinstance(job := kept.get("job"), dict):
        kept["job"] = {key: value for key, value in job.items() if key not in ("env_set", "env_copy")}
    return {**content, "hydra": kept}


def _what_is_missing(content: Mapping[Any, Any], kept: Mapping[Any, Any], path: str) -> Iterator[str]:
    there = {name for name, _ in _leaves(kept, "")}
    missing = (".".join(name.split(".")[:3]) for name, _ in _leaves(content, "") if name not in there)
    yield from (f"{name} in {path}" for name in dict.fromkeys(missing))


def with_options_spelled(content: dict[Any, Any]) -> dict[Any, Any]:
    """The content with models under Hydra's name: `override /model: FOLDER/NAME.yaml` as on the command line."""
    defaults = content.get("defaults")
    if not isinstance(defaults, list):
        return content
    return {**content, "defaults": [_spelled(entry) for entry in defaults]}


def _spelled(entry: Any) -> Any:
    if not isinstance(entry, dict):
        return entry
    return {
        key: re.sub(r"\.yaml$", "", value).replace("/", "__")
        if isinstance(value, str) and re.fullmatch(r"(override\s+)?/?model", str(key))
        else value
        for key, value in entry.items()
    }


def _torn_tuples(content: Mapping[Any, Any], prefix: str) -> Iterator[tuple[str, str]]:
    """Of `{A: (1, 2), B: 3}` YAML makes A: "(1", a key "2)" without a value, and B."""
    is_end = any(value is None and str(key).endswith(")") for key, value in content.items())
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _torn_tuples(value, f"{prefix}{key}.")
        elif is_end and isinstance(value, str) and value.startswith("(") and ")" not in value:
            yield f"{prefix}{key}", value


def as_list(value: str) -> str:
    """What to write in place of a tuple of Python's."""
    return re.sub(r",\s*\]", "]", value.strip().replace("(", "[").replace(")", "]"))


def _is_tuple(value: str) -> bool:
    return re.fullmatch(r"\(\s*[-+\d.\[(\"'][^:{}]*,[^:{}]*\)", value.strip()) is not None


def _model_like(base: str) -> str:
    """The zoo's name for what `_BASE_` names, as far as a path says it."""
    name = re.sub(r"\.ya?ml$", "", base.strip())
    return "/".join([part for part in name.split("/") if part not in ("", ".", "..", "configs")][-2:]) or "MODEL"


def _special_kind(path: str) -> str:
    try:
        kind = stat.S_IFMT(os.stat(path).st_mode)
    except (OSError, ValueError):
        return ""
    return {stat.S_IFIFO: "named pipe", stat.S_IFSOCK: "socket", stat.S_IFCHR: "device"}.get(kind, "")


def _header_behind_mark(path: str) -> dict[str, str | None] | None:
    """What Hydra reads at the top of a file, if that begins with a byte order mark, which hides it from Hydra."""
    with open(path, encoding="utf-8") as file:
        top = file.read(512)
    return ConfigSource._get_header_dict(top[1:]) if top.startswith("\ufeff") else None


def _not_utf8(path: str, error: UnicodeDecodeError) -> str:
    is_utf16 = error.object[:2] in (b"\xff\xfe", b"\xfe\xff")
    encoding = "utf16" if is_utf16 else "latin1"
    what = "UTF-16, not UTF-8" if is_utf16 else "not UTF-8"
    named = "" if is_utf16 else ", for example from Latin-1"
    return (
        f"{path} is {what} (byte {error.start} is 0x{error.object[error.start]:02x}). Convert it{named}: "
        f"iconv -f {encoding} -t utf8 -o NEW.yaml {shlex.quote(path)}"
    )


def _not_yaml(path: str, error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f", line {mark.line + 1}" if mark is not None else ""
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be read"
    is_misspelled = isinstance(error, ScannerError | ParserError)
    how = " Write KEY: VALUE, with spaces and not tabs before it." if is_misspelled else ""
    return f"{path}{where} is not YAML: {str(problem).rstrip('.')}.{how}"


def _sets(override: str, name: str) -> bool:
    """`MODEL.DEVICE=x` and `MODEL={DEVICE:x}` set MODEL.DEVICE."""
    key, _, value = override.lstrip("+").partition("=")
    if key == name:
        return True
    below = name.removeprefix(f"{key}.")
    return below != name and re.search(rf"\b{below}\s*:", value) is not None


def _settings(content: Mapping[Any, Any], package: str | None, config_path: str) -> Iterator[tuple[str, Any]]:
    group = config_path.strip("/").rpartition("/")[0].replace("/", ".")
    return _leaves(content, "" if package == "_global_" or not group else f"{group}.")


def _leaves(content: Mapping[Any, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    return ((name, value) for name, value in leaves(content, prefix) if name.rpartition(".")[2] != "defaults")
