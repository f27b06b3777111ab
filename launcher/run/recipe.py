"""What it takes to train a run once more, and what of it is another here and now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from launcher.run.attempts import node_in, read_plain
from launcher.run.difference import Difference, code_in, differing, last_plan, provenance_of, versions_in
from launcher.run.identity import differences
from launcher.run.paths import RunPaths
from launcher.run.stored import read_request

OF_MACHINE = ("cpu", "threads")
"""What decides over the last bits of a sum, beside versions."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """With what a run was trained, as far as it was recorded."""

    commands: tuple[str, ...]
    """That were typed for it, in their order, each once."""
    working_directory: str
    seed: int | None
    """With which it was trained, drawn or asked for."""
    device: str
    commit: str
    num_changed_lines: int
    """Of the diff to that commit."""
    versions: Mapping[str, str]
    """Of Python and the packages."""
    changed: tuple[str, ...]
    """Settings that one attempt had otherwise than the one before: no single training does the same."""


def read_recipe(folder: Path) -> Recipe:
    """From the files of a run; what was not recorded is empty."""
    paths = RunPaths(folder)
    recorded, plan, stored = provenance_of(paths), last_plan(paths), read_request(paths)
    return Recipe(
        commands=tuple(dict.fromkeys(_commands(paths, stored))),
        working_directory=str(recorded.get("working_directory") or stored.get("working_directory", "")),
        seed=node_in(plan, "keys").get("SEED"),
        device=str(node_in(plan, "devices").get("kind", "")),
        commit=str(recorded.get("git_commit", "")),
        num_changed_lines=len(str(recorded.get("git_diff", "")).splitlines()),
        versions={name: str(version) for name, version in versions_in(recorded).items()},
        changed=tuple(dict.fromkeys(_changed(paths))),
    )


def differences_from(folder: Path, here: Mapping[str, Any]) -> tuple[Difference, ...]:
    """What was recorded for a run otherwise than `here`, a provenance of this moment: versions, code and machine."""
    there = provenance_of(RunPaths(folder))
    if not there:
        return ()
    machine = {name: there[name] for name in OF_MACHINE if name in there}
    return (
        *differing(versions_in(there), versions_in(here)),
        *differing(code_in(there), code_in(here)),
        *differing(machine, {name: here.get(name) for name in machine}),
    )


def _commands(paths: RunPaths, stored: Mapping[str, Any]) -> Iterator[str]:
    for file in (paths.first_provenance, *(paths.attempt(number).provenance for number in paths.attempt_numbers())):
        if command := read_plain(file).get("command"):
            yield str(command)
    if command := stored.get("command"):
        yield str(command)


def _changed(paths: RunPaths) -> Iterator[str]:
    plans = (read_plain(paths.attempt(number).plan) for number in paths.attempt_numbers())
    for before, now in pairwise([identity for plan in plans if (identity := node_in(plan, "identity"))]):
        yield from (name for name, _, _ in differences(before, now))
