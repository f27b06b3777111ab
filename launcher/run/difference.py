"""What differs between two runs: settings, metrics, versions, commit and data, from the files of their folders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.config.keys import Keys
from launcher.run.attempts import node_in, read_attempts, read_plain
from launcher.run.identity import is_within
from launcher.run.paths import RunPaths
from launcher.run.stored import read_request

NOT_SETTINGS = ("command", "working_directory", "identity", "typed", "run", "resume", "OUTPUT_DIR")
"""What request.yaml has beside what decides over a training."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One thing that two runs do not share."""

    name: str
    one: Any
    """None where the first run has no such thing."""
    other: Any


@dataclass(frozen=True, kw_only=True)
class RunDifference:
    """Everything that two runs do not share, by what it is about."""

    settings: tuple[Difference, ...]
    """As trained, that is, with what was planned otherwise than asked."""
    metrics: tuple[Difference, ...]
    """Of the latest evaluations."""
    versions: tuple[Difference, ...]
    code: tuple[Difference, ...]
    """Commit, and what was changed since."""
    data: tuple[Difference, ...]
    """Content of the annotations, and the classes."""


def difference_of(one: Path, other: Path) -> RunDifference:
    """Read both folders and compare."""
    a, b = RunPaths(one), RunPaths(other)
    before, after = provenance_of(a), provenance_of(b)
    return RunDifference(
        settings=differing(settings_of(a), settings_of(b)),
        metrics=differing(_metrics_of(a), _metrics_of(b)),
        versions=differing(versions_in(before), versions_in(after)),
        code=differing(code_in(before), code_in(after)),
        data=differing(_data_of(a), _data_of(b)),
    )


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[Difference, ...]:
    """What is not the same in both, in the order of names."""
    names = sorted({*one, *other})
    pairs = ((name, one.get(name), other.get(name)) for name in names)
    return tuple(Difference(name=name, one=a, other=b) for name, a, b in pairs if a != b)


def settings_of(paths: RunPaths) -> dict[str, Any]:
    """Every setting under the name that people type."""
    stored = read_request(paths)
    keys = node_in(last_plan(paths), "keys") or node_in(stored, "keys")
    own = {name: value for name, value in stored.items() if name not in ("keys", "own_code")}
    nested = {**node_in(stored, "own_code"), **own, **keys}
    leaves = Keys(nested).leaves()
    return {name.rstrip("_"): value for name, value in leaves if not is_within(name, NOT_SETTINGS)}


def last_plan(paths: RunPaths) -> dict[str, Any]:
    """The plan of the latest attempt that has one; empty where none has."""
    plans = (read_plain(paths.attempt(number).plan) for number in reversed(paths.attempt_numbers()))
    return next((plan for plan in plans if plan), {})


def provenance_of(paths: RunPaths) -> dict[str, Any]:
    """With what the latest attempt was started; empty where it was not recorded."""
    attempts = (paths.attempt(number).provenance for number in reversed(paths.attempt_numbers()))
    found = (read_plain(file) for file in (*attempts, paths.first_provenance))
    return next((one for one in found if one), {})


def versions_in(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Of Python and the packages."""
    python = {"python": provenance["python"]} if "python" in provenance else {}
    return {**python, **node_in(provenance, "packages")}


def code_in(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """The commit; of what was changed since, only how much it is."""
    diff = str(provenance.get("git_diff", ""))
    changed = {"uncommitted changes": f"{len(diff.splitlines())} lines of diff"} if diff else {}
    return {**({"commit": provenance["git_commit"]} if provenance.get("git_commit") else {}), **changed}


def _metrics_of(paths: RunPaths) -> dict[str, Any]:
    ends = (attempt.end for attempt in reversed(read_attempts(paths)) if attempt.end is not None)
    return dict(next((end.metrics for end in ends if end.metrics), {}))


def _data_of(paths: RunPaths) -> dict[str, Any]:
    plan = last_plan(paths)
    data = node_in(plan, "data") if "data" in plan else plan
    checksum = {"checksum of the training annotations": data.get("train_checksum") or None}
    return {**checksum, **{f"classes of {name}": known for name, known in node_in(data, "own_classes").items()}}
