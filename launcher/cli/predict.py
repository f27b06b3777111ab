"""`launcher predict`: what a model finds in image files, as images and as COCO results."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
from collections.abc import Sequence
from functools import partial
from typing import TextIO

from launcher.cli.flags import without_settings
from launcher.cli.inference import compose_for, sort_words
from launcher.cli.streams import everything_to_stderr
from launcher.cli.training import train
from launcher.config.places import expanded
from launcher.config.request import RunRequest
from launcher.config.task import PredictRequest
from launcher.data.photos import find_images
from launcher.errors import LauncherError, RequestError
from launcher.run.folder import last_outcome
from launcher.run.identity import run_folder
from launcher.show.inference import prediction_json

USAGE = "launcher predict RUN|model=NAME IMAGE|FOLDER|PATTERN... [SETTING=VALUE...]"
EPILOG = """\
RUN is a run folder or its name; checkpoint=best|last|final|PATH chooses among its weights. A model of the zoo comes
with detectron2's own weights unless MODEL.WEIGHTS=PATH names others. device=cpu, device.count=2 and the other settings
are those of `launcher train`; device.micro_batch=8 gives the model eight images at once."""


def run(arguments: Sequence[str]) -> int:
    """Predict as the arguments ask for.

    Raises:
        LauncherError: it cannot be started, or failed, or an image cannot be read.
        SystemExit: it was stopped, or `--help` was asked for.
    """
    parser = _parser()
    asked, rest = parser.parse_known_args(arguments)
    words, command = sort_words(rest, command="predict"), ("launcher", "predict", *arguments)
    if not words.others:
        raise RequestError("No image is named. Name files, folders or patterns in quotes: launcher predict RUN photos/")
    task = PredictRequest(
        run=words.run,
        checkpoint=words.checkpoint,
        out=_absolute(asked.out),
        inputs=tuple(map(_absolute, words.others)),
        threshold=_threshold(asked.threshold),
        draw=not asked.no_images,
        images_json=_absolute(asked.images_json),
    )
    use = partial(_predict, command=command, as_json=asked.json)
    return compose_for(task, words, use, command=without_settings(command, words.settings))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="launcher predict",
        usage=USAGE,
        description="What a model finds in images: drawn on them, and as predictions.json in COCO's results format.",
        epilog=EPILOG,
        allow_abbrev=False,
    )
    parser.add_argument("--out", default="", metavar="DIR", help="folder for results (predictions/ in the run's)")
    parser.add_argument("--threshold", default="0.5", metavar="SCORE", help="objects that are counted and drawn (0.5)")
    parser.add_argument("--no-images", action="store_true", help="draw nothing")
    parser.add_argument("--images-json", default="", metavar="FILE", help="COCO-format file with the images' ids")
    parser.add_argument("--json", action="store_true", help="the results of every image, as JSON on standard output")
    return parser


def _absolute(path: str) -> str:
    return os.path.abspath(expanded(path)) if path else ""


def _threshold(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 <= float(text) <= 1:
            return float(text)
    raise RequestError(f"--threshold {text}: a score is a number in [0, 1]. For example: --threshold 0.5")


def _predict(request: RunRequest, *, command: tuple[str, ...], as_json: bool) -> None:
    if not as_json:
        train(request, command)
        return
    with everything_to_stderr() as output:
        try:
            train(request, command)
        except LauncherError:
            _print_json(request, output)
            raise
        _print_json(request, output)


def _print_json(request: RunRequest, output: TextIO) -> None:
    folder = run_folder(request)
    outcome, task = last_outcome(folder), request.task
    if outcome is not None and isinstance(task, PredictRequest):
        json.dump(prediction_json(folder, outcome, find_images(task.inputs)), output, indent=2)
        output.write("\n")
        output.flush()
