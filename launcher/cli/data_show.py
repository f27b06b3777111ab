"""`launcher data show`: images of a data set as a model gets them, on one sheet."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from launcher.cli.data_words import read_words
from launcher.cli.flags import without_settings
from launcher.config.asked import names_in
from launcher.config.chosen_model import is_model_chosen
from launcher.config.compose import run_hydra
from launcher.config.described import DEADLINE_S, ask_child, last_lines
from launcher.config.places import expanded
from launcher.config.request import RunRequest
from launcher.config.values import from_plain, write_json
from launcher.data.plan import plan_dataset
from launcher.data.report import learning_all
from launcher.errors import ExitCode, LauncherError, RequestError, TrainingFailedError, printable
from launcher.launch.prepare import look_at_data
from launcher.run.inputs_sheet import DrawnSheet, InputsSheet

CHILD_PROGRAM = "launcher.train.output.inputs"
USAGE = (
    "launcher data show DATASET|FILE... [SETTING=VALUE...] [--n 16] [--augmented] [--class NAME] [--val] [--out FILE]"
)
EPILOG = """\
DATASET is demo, coco_2017 or another option of dataset=; a folder; or one or two COCO-format files. Images are
resized as for an evaluation, or with --augmented as training draws them; boxes, masks and keypoints are what the model
gets."""


def run(arguments: Sequence[str]) -> int:
    """Write the sheet and print its path.

    Raises:
        LauncherError: no data can be meant, or it cannot be drawn.
    """
    parser = argparse.ArgumentParser(
        prog="launcher data show",
        usage=USAGE,
        description="Images of a data set as the model will see them, in one PNG.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--n", type=int, default=16, metavar="N", help="images, evenly spread over the data set (16)")
    parser.add_argument("--augmented", action="store_true", help="with the augmentations of training")
    parser.add_argument("--class", default="", dest="class_name", metavar="NAME", help="only images that have one")
    parser.add_argument("--val", action="store_true", help="DATASETS.TEST in place of DATASETS.TRAIN")
    parser.add_argument("--out", default="", metavar="FILE", help="the PNG (NAME.png in the current folder)")
    asked, rest = parser.parse_known_args(arguments)
    if asked.n < 1:
        raise RequestError(f"--n {asked.n}: must be 1 or more.")
    settings = read_words(rest, command="data show")
    command = without_settings(("launcher", "data", "show", *arguments), rest)
    run_hydra(settings, partial(_show, asked=asked), command=command, only_looks=True)
    return ExitCode.finished


def _show(request: RunRequest, *, asked: argparse.Namespace) -> None:
    sheet = _sheet_of(request, asked)
    drawn = _drawn_by_child(sheet, {**os.environ, **sheet.data.environment})
    if drawn.problem:
        raise _error_of(drawn)
    unread = f"; {drawn.chosen - drawn.drawn} could not be read" if drawn.drawn < drawn.chosen else ""
    print(printable(f"{sheet.file}: {drawn.drawn} of {drawn.available} images{unread}"))


def _sheet_of(request: RunRequest, asked: argparse.Namespace) -> InputsSheet:
    facts = look_at_data(request, os.environ)
    if not is_model_chosen(request):  # of such data a box detector would get the boxes only
        request = learning_all(request, facts, least=1.0)
    data = plan_dataset(request, facts)
    keys = request.keys.with_(data.adjustments)
    names = names_in(keys, "TEST" if asked.val else "TRAIN")
    if not names:
        raise RequestError("--val: DATASETS.TEST is empty. Name a second file, or dataset.val.json=FILE.")
    return InputsSheet(
        keys=keys,
        own_code=request.own_code,
        data=data,
        names=names,
        augmented=asked.augmented,
        class_name=asked.class_name,
        count=asked.n,
        file=str(_writable(asked.out or _file_name(names[0], asked))),
    )


def _file_name(name: str, asked: argparse.Namespace) -> str:
    parts = (name, "augmented" if asked.augmented else "", asked.class_name)
    return "-".join(part.replace("/", "_") for part in parts if part) + ".png"


def _writable(name: str) -> Path:
    file = Path(os.path.abspath(expanded(name)))
    if file.is_dir() or not file.parent.is_dir() or not os.access(file.parent, os.W_OK):
        raise RequestError(f"--out {name}: {file} cannot be written. Name a PNG in a folder that is there.")
    return file if file.suffix else file.with_suffix(".png")


def _drawn_by_child(sheet: InputsSheet, environ: Mapping[str, str]) -> DrawnSheet:
    with tempfile.TemporaryDirectory() as folder:
        question = Path(folder) / "question.json"
        write_json(question, sheet)
        answer = ask_child(CHILD_PROGRAM, [str(question)], environ=environ, deadline_s=2 * DEADLINE_S)
    if answer.status != 0 or not answer.text:
        raise TrainingFailedError(
            f"The process that draws ended with status {answer.status}; it printed\n{last_lines(answer.printed)}\n"
            "To check the data instead: launcher data check"
        )
    return from_plain(DrawnSheet, json.loads(answer.text))


def _error_of(drawn: DrawnSheet) -> LauncherError:
    return TrainingFailedError(drawn.problem, exit_code=ExitCode(drawn.exit_code))
