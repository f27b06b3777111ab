"""What could stand where somebody pressed the tab key. Reads files; imports neither torch nor Hydra."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from launcher.cli.words import FOLLOWS, ONLY_LATER, VALUES, Follows
from launcher.config.arguments import take_apart
from launcher.config.known_keys import keys_if_installed
from launcher.config.known_settings import KnownSetting, known_settings
from launcher.config.places import PATHS
from launcher.config.presets import MODEL_GROUP, config_folders, groups, presets
from launcher.device.causes.catalogue import BY_CODE
from launcher.run.found import ROOT, find_runs


def candidates(line: str, commands: Sequence[str]) -> list[str]:
    """What the last word of a command line could become; nothing where files are meant."""
    words = split_line(line)[1:]
    if not words:
        return []
    return sorted({one for one in _candidates(words, commands) if one.startswith(words[-1])})


def split_line(line: str) -> list[str]:
    """The words up to the cursor; the last is empty where a new one begins."""
    try:
        words = shlex.split(line)
    except ValueError:  # a quotation mark that is not closed yet
        words = line.split()
    return [*words, ""] if line[-1:].isspace() or not line else words


def _candidates(words: Sequence[str], commands: Sequence[str]) -> Iterable[str]:
    *before, current = words
    if (not before and current.isalpha()) or words == [""]:
        return commands
    is_named = bool(before) and before[0].isalpha() and before[0].islower()
    command, rest = (before[0], before[1:]) if is_named else ("train", before)
    follows = FOLLOWS.get(command, Follows()) if command in commands else Follows()
    if rest and rest[-1] in VALUES:
        return VALUES[rest[-1]]
    if rest and rest[-1] == "--run" and "--run" in follows.options and follows.codes:
        return _runs(rest)
    if rest and rest[-1] in ("--root", "--config-dir", "--out", "--images-json"):
        return ()
    if current.startswith("-"):
        return (*follows.options, "--help")
    return _in_place(follows, [word for word in rest if not word.startswith("-")], current, before)


def _in_place(follows: Follows, positional: Sequence[str], current: str, before: Sequence[str]) -> Iterator[str]:
    if follows.words and not positional:
        yield from follows.words
    if len(positional) < follows.runs and "=" not in current:
        yield from _runs(before)
    if follows.codes:
        yield from (*BY_CODE, *(setting.name for setting in known_settings(keys_if_installed())))
    if follows.settings:
        yield from _settings(current, take_apart(list(before)).config_dir)


def _runs(words: Sequence[str]) -> Iterator[str]:
    place = next((place for place, word in enumerate(words[:-1]) if word == "--root"), None)
    root = Path(words[place + 1]).expanduser() if place is not None else Path(ROOT)
    yield from (str(run.relative_to(root)) for run in find_runs(root) if run != root)


def _settings(current: str, config_dir: str | None) -> Iterator[str]:
    folders = config_folders(config_dir)
    name, equals, value = current.partition("=")
    if not equals:
        known = known_settings(keys_if_installed())
        typed = (*(f"{group}=" for group in groups_of(folders)), *(f"{one.name}=" for one in known))
        yield from (_up_to_next_point(one, current) for one in typed if one.startswith(current))
        return
    done = value[: max(value.rfind(separator) for separator in ",[") + 1]
    yield from (f"{name}={done}{one}" for one in _values(name.lstrip("+"), folders, in_list=bool(done)))


def groups_of(folders: Sequence[Path]) -> tuple[str, ...]:
    """Every group that can be chosen from, the zoo among them."""
    return tuple(dict.fromkeys((*groups(folders), MODEL_GROUP)))


def _values(name: str, folders: Sequence[Path], *, in_list: bool) -> Iterator[str]:
    known = keys_if_installed()
    if name in groups_of(folders):
        yield from (one.name for one in presets(name, folders))
        yield from known.zoo if name == MODEL_GROUP else ()
    yield from ONLY_LATER.get(name, ())
    found = next((one for one in known_settings(known) if one.name == name), None)
    if found is not None and name not in PATHS:
        yield from _values_of(found, in_list=in_list)


def _values_of(setting: KnownSetting, *, in_list: bool) -> Iterator[str]:
    yield from setting.values
    if not setting.values and setting.default and not in_list and setting.name not in ONLY_LATER:
        yield setting.default


def _up_to_next_point(name: str, typed: str) -> str:
    """Level by level, as a shell does with folders."""
    point = name.find(".", len(typed))
    return name if point < 0 else name[: point + 1]
