"""Which `module:function` add keys of other projects to detectron2's configuration. Names only: nothing is imported."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import yaml

ENTRY_POINT_GROUP = "launcher.config_extensions"


def extensions_asked_in(arguments: Iterable[str]) -> list[str]:
    """The last `config_extensions=[...]` of a command line.

    They add keys, so they have to be known before anything is composed.
    """
    asked: list[str] = []
    for argument in arguments:
        if match := re.fullmatch(r"(?:\+\+?)?config_extensions=(.*)", argument.strip()):
            names = match[1].strip().strip("'\"").removeprefix("[").removesuffix("]").split(",")
            asked = [name.strip().strip("'\"") for name in names if name.strip()]
    return asked


def installed_extensions(path: Sequence[str] = sys.path) -> list[str]:
    """What installed packages declare under the entry point group `launcher.config_extensions`."""
    # importlib.metadata takes longer to import than all the rest of composing; hardly anyone declares this group,
    # so it is asked only where the bare text of an entry_points.txt speaks of it.
    if not any(ENTRY_POINT_GROUP in text for text in _entry_point_files(path)):
        return []
    from importlib.metadata import entry_points

    return sorted({entry.value for entry in entry_points(group=ENTRY_POINT_GROUP)})


def _entry_point_files(path: Sequence[str]) -> Iterator[str]:
    for folder in path:
        try:
            installed = [entry for entry in Path(folder).iterdir() if entry.suffix in (".dist-info", ".egg-info")]
        except OSError:
            continue
        for entry in installed:
            try:
                yield (entry / "entry_points.txt").read_text(errors="replace")
            except OSError:
                continue


def extensions_asked_in_files(paths: Iterable[Path]) -> list[str]:
    """What the chosen configuration files set as `config_extensions`; files that do not exist are left out."""
    asked: list[str] = []
    for path in paths:
        try:
            # A named pipe would be waited for; composing says what is wrong with it.
            text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        except OSError:
            continue
        if "config_extensions" in text:
            asked = _list_in(text) or asked
    return asked


def _list_in(text: str) -> list[str]:
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError:
        # Composing will say what is wrong with it.
        return []
    names = content.get("config_extensions") if isinstance(content, dict) else None
    return [str(name) for name in names] if isinstance(names, list) else []
