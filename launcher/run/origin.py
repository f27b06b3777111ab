"""Who set a setting in a run: the default, a file, the command line, or the launcher's plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.config.arguments import APPENDED_GROUPS, take_apart
from launcher.config.keys import Keys
from launcher.config.known_keys import Detectron2Keys
from launcher.config.presets import MODEL_GROUP, Preset, config_folders, option_name, presets
from launcher.run.attempts import node_in
from launcher.run.difference import last_plan
from launcher.run.paths import RunPaths
from launcher.run.stored import read_request

GROUPS = (MODEL_GROUP, "dataset", "solver", "device", "logging", "cluster", *APPENDED_GROUPS)
"""In the order in which they win over each other."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """One place that gave a setting a value; the last of several counts."""

    place: str
    value: Any


def origins_in_run(folder: Path, name: str, known: Detectron2Keys) -> tuple[Origin, ...]:
    """What gave the setting a value in this run, beside its default; the last one counts."""
    paths = RunPaths(folder)
    stored = read_request(paths)
    overrides = tuple(map(str, node_in(stored, "typed").get("overrides") or ()))
    chosen = _chosen(overrides, _folders_of(stored))
    return (
        *_by_model(name, overrides, chosen, known),
        *(Origin(place=_named(one), value=one.sets[name]) for one in chosen if name in one.sets),
        *(Origin(place="the command line", value=value) for value in _typed_values(name, overrides)),
        *_by_launcher(name, last_plan(paths)),
    )


def value_in_run(folder: Path, name: str) -> Any:
    """What the run has, as trained; None where nothing says it."""
    paths = RunPaths(folder)
    stored = read_request(paths)
    keys = node_in(last_plan(paths), "keys") or node_in(stored, "keys")
    leaves = Keys({**node_in(stored, "own_code"), **stored, **keys}).leaves()
    return next((value for key, value in leaves if key.rstrip("_") == name), None)


def _folders_of(stored: Mapping[str, Any]) -> list[Path]:
    """The user's own configuration files, if the command that is recorded names them, and the launcher's."""
    words = str(stored.get("command", "")).split()
    named = take_apart(words).config_dir
    place = Path(str(stored.get("working_directory") or "."))
    return config_folders(str(place / named) if named else None)


def _chosen(overrides: Sequence[str], folders: Sequence[Path]) -> list[Preset]:
    """The files of the groups' options, in the order in which they win over each other."""
    asked = take_apart(overrides)
    by_group = {group: asked.chosen(group) for group in GROUPS}
    found = {group: [one for one in presets(group, folders) if one.name in names] for group, names in by_group.items()}
    for preset in (one for group in APPENDED_GROUPS for one in found[group]):
        for group, option in preset.chooses.items():
            if not by_group.get(group):
                found[group] = [one for one in presets(group, folders) if one.name == option]
    return [one for group in GROUPS for one in found.get(group, ())]


def _named(preset: Preset) -> str:
    return f"{preset.group}={preset.name} ({preset.file})"


def _by_model(name: str, overrides: Sequence[str], chosen: Sequence[Preset], known: Detectron2Keys) -> Iterator[Origin]:
    by_files = [one.chooses[MODEL_GROUP] for one in chosen if MODEL_GROUP in one.chooses]
    typed = take_apart(overrides).chosen(MODEL_GROUP)
    wanted = {option_name(model.removesuffix(".yaml")) for model in (typed or by_files[-1:])}
    for model, changes in known.zoo.items():
        if option_name(model) in wanted and name in Keys(changes):
            yield Origin(place=f"model={model}", value=Keys(changes)[name])


def _typed_values(name: str, overrides: Sequence[str]) -> Iterator[str]:
    for text in overrides:
        key, equals, value = text.lstrip("+").partition("=")
        if equals and key == name:
            yield value


def _by_launcher(name: str, plan: Mapping[str, Any]) -> Iterator[Origin]:
    report = node_in(plan, "report")
    for one in report.get("adjustments") or ():
        if isinstance(one, dict) and one.get("setting") == name:
            yield Origin(place=f"the launcher: {one.get('reason', '')}", value=one.get("planned"))
