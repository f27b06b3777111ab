"""Finding the weights that a run has, by what it calls them. Looks only."""

from __future__ import annotations

import filecmp
from pathlib import Path

from launcher.errors import RequestError
from launcher.run.paths import RunPaths
from launcher.run.resume import damage_of, look_for_checkpoints

NAMED = ("final", "best", "last")
"""What a run may call its weights, in the order in which they are taken where none is asked for."""


def find_weights(folder: Path, checkpoint: str) -> Path:
    """The file that `checkpoint` names in a run, read and found valid.

    Raises:
        RequestError: there is none, or it is damaged.
    """
    paths = RunPaths(folder)
    if checkpoint and checkpoint not in NAMED:
        return _valid(Path(checkpoint).absolute(), f"checkpoint={checkpoint}")
    for name in (checkpoint,) if checkpoint else _by_default(paths):
        if (file := _named(paths, name)) is not None:
            return file if name == "last" else _valid(file, f"checkpoint={name}")
    there = ", ".join(name for name in NAMED if _named(paths, name) is not None)
    if not there:
        raise RequestError(
            f"{folder} holds no checkpoint: its training has not saved one yet. Train it first, or name weights: "
            "checkpoint=PATH."
        )
    how = " One is kept where the training has checkpoint.keep_best=bbox/AP." if checkpoint == "best" else ""
    raise RequestError(
        f"checkpoint={checkpoint}, but {folder} has {there} only.{how} Set checkpoint={there.split(',')[0]}."
    )


def _by_default(paths: RunPaths) -> tuple[str, ...]:
    return NAMED[1:] if _has_trained_on(paths) else NAMED


def _has_trained_on(paths: RunPaths) -> bool:
    """Whether the final weights are those of an earlier end: a run that was made longer has newer ones."""
    if not paths.final_weights.is_file():
        return False
    ended = paths.final_weights.stat().st_mtime_ns
    if all(file.stat().st_mtime_ns <= ended for file in paths.checkpoints.glob("model_[0-9]*.pth")):
        return False
    newest = _named(paths, "last")
    # Copied files have the times of their copying.
    return newest is not None and not filecmp.cmp(newest, paths.final_weights, shallow=False)


def _named(paths: RunPaths, name: str) -> Path | None:
    """The last one is read, and is valid; of the others nothing is known but that they are there."""
    if name == "last":
        newest = look_for_checkpoints(paths).newest_valid
        return Path(newest.path) if newest else None
    file = paths.final_weights if name == "final" else paths.best_weights
    return file if file.is_file() else None


def _valid(file: Path, asked: str) -> Path:
    if not file.is_file():
        raise RequestError(f"{asked}, but there is no such file. Set checkpoint to best, last, final or a file.")
    if file.suffix == ".pth" and (problem := damage_of(file)):
        raise RequestError(f"{asked}: {file} {problem}. Name another: checkpoint=last takes the newest valid one.")
    return file
