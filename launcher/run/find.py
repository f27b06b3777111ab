"""Finding a run by its folder or its name, and the weights that it has. Looks only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from launcher.config.request import RunSettings
from launcher.errors import RequestError
from launcher.run.paths import RunPaths
from launcher.run.resume import damage_of, look_for_checkpoints

SHOWN = 6
NAMED = ("final", "best", "last")
"""What a run may call its weights, in the order in which they are taken where none is asked for."""


def find_run(word: str, root: str = RunSettings.root) -> Path:
    """The folder of the run that a word names: a folder, or a name below `run.root`.

    Raises:
        RequestError: there is no such run, or there are several of that name.
    """
    if is_run(folder := Path(word).absolute()):
        return folder
    below = Path(root).absolute()
    found = [path for path in (below / word, *sorted(below.glob(f"*/{_literally(word)}"))) if is_run(path)]
    if not found:
        raise RequestError(_no_such_run(word, root))
    if len(found) > 1:
        raise RequestError(f"{word} is the name of {len(found)} runs: {_listed(found)}. Name one by its folder.")
    return found[0]


def is_run(folder: Path) -> bool:
    """Whether a training has been started in that folder."""
    paths = RunPaths(folder)
    return paths.request.is_file() and bool(paths.attempt_numbers()) and not paths.results.is_dir()


def find_weights(folder: Path, checkpoint: str) -> Path:
    """The file that `checkpoint` names in a run, read and found valid.

    Raises:
        RequestError: there is none, or it is damaged.
    """
    paths = RunPaths(folder)
    if checkpoint and checkpoint not in NAMED:
        return _valid(Path(checkpoint).absolute(), f"checkpoint={checkpoint}")
    for name in (checkpoint,) if checkpoint else NAMED:
        if (file := _named(paths, name)) is not None:
            return _valid(file, f"checkpoint={name}")
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


def _named(paths: RunPaths, name: str) -> Path | None:
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


def _no_such_run(word: str, root: str) -> str:
    known = [str(path.relative_to(Path(root).absolute())) for path in _runs_below(Path(root).absolute())]
    there = f"Runs in {root} are {_listed(known)}" if known else f"{root} holds no run"
    return (
        f"{word} is neither a run folder nor the name of a run. {there}. Name a run, or a model: "
        "model=COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x."
    )


def _runs_below(root: Path) -> Iterator[Path]:
    return (path for pattern in ("*", "*/*") for path in sorted(root.glob(pattern)) if is_run(path))


def _listed(names: list[Path] | list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(str, names[:SHOWN])) + more


def _literally(word: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in word)
