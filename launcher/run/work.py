"""Looking at what an evaluation or prediction has to do, and how much of it is done. Writes nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.config.asked import names_in
from launcher.config.known_datasets import find_registered
from launcher.config.request import RunRequest
from launcher.config.task import InferenceRequest, PredictRequest
from launcher.data.facts import absolute
from launcher.data.photos import find_images
from launcher.run.identity import run_folder
from launcher.run.journal import keys_in, stamp_of
from launcher.run.manifest import read_manifest
from launcher.run.paths import RunPaths


@dataclass(frozen=True, kw_only=True)
class WorkFacts:
    """What there is of an evaluation or prediction beside what is in its folder."""

    weights: Mapping[str, Any]
    """Which file MODEL.WEIGHTS is; another one once it has changed."""
    annotations: str
    """Which files an evaluation measures against, or ids of images are from; others once they have changed."""
    classes: str
    """The file of the run that names its classes; empty without one."""
    files: tuple[str, ...]
    """Images to predict on, absolute; empty for an evaluation."""
    done: int
    """Images whose results are kept."""
    left: int | None
    """Images still to be done; None where only the worker knows."""


def look_at_work(request: RunRequest, task: InferenceRequest) -> WorkFacts:
    """Find the images and the results so far.

    Raises:
        LauncherError: what was named is not there, or is no image.
    """
    files = find_images(task.inputs) if isinstance(task, PredictRequest) else ()
    done = count_done(RunPaths(run_folder(request)), files)
    return WorkFacts(
        weights=_which(str(request.keys["MODEL.WEIGHTS"])),
        annotations="; ".join(filter(None, map(_stamp, _annotations_of(request, task)))),
        classes=classes_of(task),
        files=files,
        done=done,
        left=len(files) - done if files else None,
    )


def _annotations_of(request: RunRequest, task: InferenceRequest) -> Iterator[str]:
    """As far as it is known which files these are."""
    if isinstance(task, PredictRequest):
        yield task.images_json
        return
    yield request.dataset.val.json
    for name in names_in(request.keys, "TEST"):
        if (known := find_registered(name)) and known.instances:
            yield str(absolute(request.dataset.root) / known.instances)


def _stamp(file: str) -> str:
    return next(_stamps([file]), "") if file else ""


def count_done(paths: RunPaths, files: Collection[str]) -> int:
    """Of these images, or of all where there are none, how many have results."""
    known = keys_in(paths.results)
    return len(known & set(_stamps(files))) if files else len(known)


def _stamps(files: Collection[str]) -> Iterator[str]:
    for file in files:
        try:
            yield stamp_of(Path(file))
        except OSError:  # the worker names it
            continue


def _which(weights: str) -> dict[str, Any]:
    file = Path(weights.partition("?")[0])
    if not weights or "://" in weights or not file.is_file():
        return {"name": weights}
    if manifest := read_manifest(file):
        return {"name": weights, "size": manifest.size, "crc32": manifest.crc32}
    status = file.stat()
    return {"name": weights, "size": status.st_size, "changed": status.st_mtime_ns}


def classes_of(task: InferenceRequest) -> str:
    """The file of a run that names its classes; empty without one."""
    file = RunPaths(Path(task.run)).classes
    return str(file) if task.run and file.is_file() else ""
