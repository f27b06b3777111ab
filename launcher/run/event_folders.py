"""TensorBoard's event files below folders, under labels that a person reads: links to them, in a folder of its own."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from launcher.run.found import called, is_run
from launcher.run.paths import RunPaths

EVENTS = ".tfevents."
"""Part of the name of every event file."""
WITHOUT_EVENTS = ("checkpoints", "attempts", "evaluation", "evaluations", "predictions", "cluster")
"""Folders of a run that nobody needs to look into."""


def label_events(roots: Sequence[Path]) -> dict[str, Path]:
    """The folders with event files in or below these, by label: the name of the run, without `/tensorboard`.

    The label of a run below a folder is its path from there; of several folders, each comes before those of its runs.
    """
    labelled: dict[str, Path] = {}
    for root in roots:
        head = Path() if len(roots) == 1 else Path(_name_of(root))
        for folder in _with_events(root):
            label = _label_of(folder, root, head)
            if label in labelled:  # of a folder that has event files itself, beside the run's
                label = os.path.join(label, folder.name)
            labelled[label] = folder
    return labelled


def link_events(labelled: Mapping[str, Path], into: Path) -> None:
    """Have in `into/<label>` a link to each event file; links to files that are there no more are removed."""
    for link in into.rglob("*"):
        if link.is_symlink() and not link.exists():
            link.unlink()
    for label, folder in labelled.items():
        place = into / label
        place.mkdir(parents=True, exist_ok=True)
        for file in _event_files(folder):
            # Files and not folders: a run may have others below it, whose links would come to lie in the run's folder.
            with contextlib.suppress(FileExistsError):
                (place / file.name).symlink_to(file.absolute())


def _with_events(root: Path) -> Iterator[Path]:
    for folder, below, files in os.walk(root):
        below[:] = sorted(name for name in below if name not in WITHOUT_EVENTS and not name.startswith("."))
        if any(EVENTS in name for name in files):
            yield Path(folder)


def _label_of(folder: Path, root: Path, head: Path) -> str:
    run = folder.parent if folder == RunPaths(folder.parent).tensorboard else folder
    is_below = run != root and run.is_relative_to(root)
    return str(head / run.relative_to(root)) if is_below else _name_of(run)


def _name_of(folder: Path) -> str:
    """For people: of a run its name below `outputs`, of another folder its last part."""
    folder = folder.absolute()
    name = called(folder) if is_run(folder) else folder.name
    return folder.name if os.path.isabs(name) or not name else name


def _event_files(folder: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError):  # it has been removed meanwhile
        yield from (Path(entry.path) for entry in os.scandir(folder) if EVENTS in entry.name)
