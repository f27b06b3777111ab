"""Which run a command line means: one of its words, looked for below --root."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from launcher.errors import RequestError
from launcher.run.found import ROOT, find_run


def add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="its folder, the end of it, or any part that no other run has")


def add_root(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--root", type=Path, default=Path(ROOT), metavar="DIR", help=f"where runs are ({ROOT})")


def take_run(arguments: Sequence[str], usage: str) -> tuple[Path, list[str]]:
    """The folder of the run, and the arguments that are left.

    Raises:
        RequestError: no run is named, or none or several are meant.
    """
    root, rest = take_option(arguments, "--root", ROOT)
    position = next((place for place, word in enumerate(rest) if not word.startswith("-")), None)
    if position is None:
        raise RequestError(f"which run? `launcher runs` lists them.\n\n{usage}")
    return find_run(rest[position], Path(root)), [*rest[:position], *rest[position + 1 :]]


def take_option(arguments: Sequence[str], name: str, default: str) -> tuple[str, list[str]]:
    """The value of `--name VALUE` or `--name=VALUE`, and the arguments without it.

    Raises:
        RequestError: nothing follows it.
    """
    value, rest = default, []
    words = iter(arguments)
    for word in words:
        if word == name:
            value = next(words, "")
            if not value:
                raise RequestError(f"{name} needs a value: {name} DIR")
        elif word.startswith(f"{name}="):
            value = word.partition("=")[2]
        else:
            rest.append(word)
    return value, rest
