"""Finding runs: all below a folder, and the one that a few words of a user mean."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path

from launcher.config.request import RunSettings
from launcher.errors import RequestError
from launcher.run.paths import RESULTS

ROOT = RunSettings().root
"""Where runs are looked for, unless something else is said."""
DEEPEST = 6
"""Levels of folders below the one that is searched: `<experiment>/<name>`, sweeps and names with slashes below."""
SHOWN = 8
OF_A_RUN = frozenset({"request.yaml", "attempts"})
"""Either of them is in every folder of a run, or of the results of one."""


def find_runs(folder: Path, depth: int = DEEPEST) -> Iterator[Path]:
    """The folders of all runs below a folder, or the folder itself; a run has none of its own inside.

    Evaluations and predictions are none.
    """
    names, below = look_in(folder, depth)
    if names & OF_A_RUN:
        if RESULTS not in names:
            yield folder
        return
    for path in below:
        yield from find_runs(path, depth - 1)


def look_in(folder: Path, depth: int) -> tuple[set[str], list[Path]]:
    """All names in a folder, and the folders in it that are to be searched, none where no level is left."""
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
            below = [Path(entry.path) for entry in found if entry.name[:1] != "." and entry.is_dir()] if depth else []
    except OSError:  # nothing that this user may read
        return set(), []
    return {entry.name for entry in found}, below


def is_run(folder: Path) -> bool:
    """Whether a run of ours lives in that folder."""
    # Unlike Path's, these also take names that no file can have, and folders that may not be entered.
    holds_run = os.path.isfile(folder / "request.yaml") or os.path.isdir(folder / "attempts")
    return holds_run and not os.path.isdir(folder / RESULTS)


def find_run(asked: str, root: Path) -> Path:
    """The run that is meant by its folder, by the end of it or by any part that no other run below `root` has.

    Raises:
        RequestError: there is none, or there are several; they are listed.
    """
    as_folder = expanded(asked)
    if is_run(as_folder):
        return Path(os.path.normpath(as_folder.absolute()))
    root = expanded(str(root))  # a shell leaves --root=~/runs as it is
    runs = list(find_runs(root))
    meant = matching(asked.strip("/"), [str(run.relative_to(root)) for run in runs])
    if len(meant) == 1:
        return Path(os.path.normpath((root / meant[0]).absolute()))
    raise RequestError(_several(asked, meant) if meant else _none(asked, root, runs))


def expanded(asked: str) -> Path:
    """The folder that somebody typed, with its `~` as a shell would have it."""
    try:
        return Path(asked).expanduser()
    except RuntimeError:  # ~somebody, whom this machine does not know
        return Path(asked)


def called(folder: Path) -> str:
    """What to type for a run, here and now: its place below `outputs`, else its folder."""
    for above in (Path(ROOT).absolute(), Path.cwd()):
        if folder.is_relative_to(above) and folder != above:
            return str(folder.relative_to(above))
    return str(folder)


def matching(asked: str, names: Sequence[str]) -> list[str]:
    """The names that are meant: the very name, else those that end with it, best as a path, else those that have it."""
    if not asked:  # which every name contains
        return []
    for fits in (str.__eq__, _ends_with, str.endswith, str.__contains__):
        if found := [name for name in names if fits(name, asked)]:
            return found
    return []


def _ends_with(name: str, asked: str) -> bool:
    return name.endswith("/" + asked)


def _several(asked: str, meant: Sequence[str]) -> str:
    shown = "\n".join(f"  {name}" for name in meant[:SHOWN])
    more = f"\n  and {len(meant) - SHOWN} more" if len(meant) > SHOWN else ""
    return f"{asked!r} fits {len(meant)} runs:\n{shown}{more}\nName one of them by a longer part of its folder."


def _none(asked: str, root: Path, runs: Sequence[Path]) -> str:
    if not runs:
        return f"{asked!r} is no run, and there are none in {root.absolute()}. Name the folder of one, or --root DIR."
    names = {str(run.relative_to(root)): run for run in runs}
    by_end = {name.rpartition("/")[2]: name for name in names}
    near = get_close_matches(asked, [*names, *by_end], n=3, cutoff=0.5)
    nearest = list(dict.fromkeys(by_end.get(name, name) for name in near))
    clause = f"The nearest: {', '.join(nearest)}." if nearest else "`launcher runs` lists them."
    return f"no run in {root.absolute()} is called {asked!r}; there are {len(runs)}. {clause}"
