"""The YAML files that `GROUP=OPTION` chooses: the launcher's and those of a user's --config-dir. Composes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from launcher.config.keys import leaves

MODEL_GROUP = "model"
"""Its options are the files of detectron2's model zoo, beside those of a user."""


def configs_folder() -> Path:
    """Where our YAML files are: beside the package in a checkout, inside of it when installed."""
    package = Path(__file__).parent.parent
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def option_name(zoo_name: str) -> str:
    """`COCO-Detection/x` as the name of a group option.

    A slash would make it a group of its own, which Hydra 1.3 cannot complete and Hydra 1.4 cannot override.
    """
    return zoo_name.replace("/", "__")


@dataclass(frozen=True, kw_only=True)
class Preset:
    """One option of a group."""

    group: str
    name: str
    """Below the group's folder, without its ending; a zoo model is spelled as its file is."""
    file: Path

    @property
    def summary(self) -> str:
        """What the comment at its head says, without the command that uses it."""
        return " ".join(line for line in _head_of(self.file) if not line.startswith(("@", "launcher ", "python ")))

    @property
    def sets(self) -> Mapping[str, Any]:
        """What it sets, under dotted names; empty where the file cannot be read."""
        plain = _read(self.file)
        is_global = "@package _global_" in "\n".join(_head_of(self.file))
        named = leaves(plain, "" if is_global else f"{self.group}.")
        return {name: value for name, value in named if name not in ("defaults", "hydra")}

    @property
    def chooses(self) -> Mapping[str, str]:
        """The options of other groups that its `defaults` choose."""
        entries = _read(self.file).get("defaults", [])
        named = [one for one in entries if isinstance(one, dict)] if isinstance(entries, list) else []
        pairs = ((str(key).split()[-1].lstrip("/"), option) for entry in named for key, option in entry.items())
        return {group: str(option) for group, option in pairs}


def presets(group: str, folders: Sequence[Path]) -> tuple[Preset, ...]:
    """The options of a group; of two files of one name the one in the earlier folder counts."""
    found: dict[str, Preset] = {}
    for folder in folders:
        for file in sorted((folder / group).rglob("*.yaml")):
            name = file.relative_to(folder / group).with_suffix("").as_posix()
            found.setdefault(name, Preset(group=group, name=name, file=file))
    return tuple(sorted(found.values(), key=lambda preset: preset.name))


def groups(folders: Sequence[Path]) -> tuple[str, ...]:
    """Every group that has a folder with files."""
    return tuple(sorted({file.parent.name for folder in folders for file in folder.glob("*/*.yaml")}))


def config_folders(config_dir: str | None) -> list[Path]:
    """Where presets are looked for, the user's own first."""
    return [*([Path(config_dir).expanduser()] if config_dir else []), configs_folder()]


def _head_of(file: Path) -> list[str]:
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    end = next((place for place, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return [line.lstrip("# ").strip() for line in lines[:end]]


def _read(file: Path) -> dict[str, Any]:
    try:
        plain = yaml.safe_load(file.read_bytes())
    except (OSError, yaml.YAMLError, ValueError, RecursionError):
        return {}  # composing says what is wrong with it
    return plain if isinstance(plain, dict) else {}
