"""`launcher eval`: how good a model is on annotated images, and whether another one differs."""

from __future__ import annotations

import argparse
import json
import os
import warnings
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from launcher.cli.flags import without_settings
from launcher.cli.inference import Words, compose_for, compose_request, sort_words
from launcher.cli.streams import everything_to_stderr
from launcher.cli.training import train
from launcher.config.places import expanded
from launcher.config.request import RunRequest
from launcher.config.task import EvaluateRequest
from launcher.errors import ExitCode, RequestError
from launcher.run.folder import last_outcome
from launcher.run.found import called
from launcher.run.identity import run_folder
from launcher.show.console import make_console
from launcher.show.evaluation import show_comparison
from launcher.show.inference import evaluation_json

USAGE = "launcher eval RUN|model=NAME [checkpoint=best|last|final|PATH] [SETTING=VALUE...]"
EPILOG = """\
RUN is a run folder or its name. Its own validation set is evaluated unless the command line names another one:
dataset.val.json=FILE dataset.val.images=FOLDER, or DATASETS.TEST=[NAME]. A model of the zoo comes with detectron2's own
weights unless MODEL.WEIGHTS=PATH names others. device=cpu, device.count=2 and the other settings are those of
`launcher train`. An evaluation that was interrupted continues with the same command."""


def run(arguments: Sequence[str]) -> int:
    """Evaluate as the arguments ask for.

    Raises:
        LauncherError: it cannot be started, or failed.
        SystemExit: it was stopped, or `--help` was asked for.
    """
    asked, rest = _parser().parse_known_args(arguments)
    words, command = sort_words(rest, command="eval"), ("launcher", "eval", *arguments)
    if asked.compare:
        return _compare(asked, words, command)
    if words.others:
        run_name = called(Path(words.run)) if words.run else "RUN"
        raise RequestError(
            f"{words.others[0]} is one word too many: one model is evaluated at a time. "
            f"To compare two runs: launcher eval {run_name} {words.others[0]} --compare"
        )
    use = partial(_evaluate, command=command, as_json=asked.json)
    return compose_for(_task(asked, words), words, use, command=without_settings(command, words.settings))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="launcher eval",
        usage=USAGE,
        description="The AP of a model on a data set, over all and per class, with charts and the worst errors.",
        epilog=EPILOG,
        allow_abbrev=False,
    )
    parser.add_argument("--out", default="", metavar="DIR", help="folder for results (evaluations/ in the run's)")
    parser.add_argument("--compare", action="store_true", help="of two runs, RUN RUN: AP per class, and what differs")
    parser.add_argument("--json", action="store_true", help="the results as JSON on standard output")
    return parser


def _task(asked: argparse.Namespace, words: Words) -> EvaluateRequest:
    out = os.path.abspath(expanded(asked.out)) if asked.out else ""
    return EvaluateRequest(run=words.run, checkpoint=words.checkpoint, out=out)


def _evaluate(request: RunRequest, *, command: tuple[str, ...], as_json: bool) -> None:
    if not as_json:
        train(request, command)
        return
    with everything_to_stderr() as output:
        try:
            train(request, command)
        finally:
            if (outcome := last_outcome(run_folder(request))) is not None:
                json.dump(evaluation_json(run_folder(request), outcome), output, indent=2)
                output.write("\n")


def _compare(asked: argparse.Namespace, words: Words, command: tuple[str, ...]) -> int:
    if not words.run or len(words.others) != 1:
        raise RequestError("--compare takes two runs: launcher eval RUN RUN --compare")
    if asked.out or asked.json:
        raise RequestError(
            "--compare writes comparison.json beside the results of the second run. Leave out --out and --json."
        )
    chosen = [f"checkpoint={words.checkpoint}"] if words.checkpoint else []
    other = sort_words([*words.others, *words.settings, *chosen], command="eval")
    requests = [_request_of(one, without_settings(command, words.settings)) for one in (words, other)]
    for request in requests:
        train(request, command)
    _show_difference(*(run_folder(request) for request in requests))
    return ExitCode.finished


def _request_of(words: Words, command: str) -> RunRequest:
    task = EvaluateRequest(run=words.run, checkpoint=words.checkpoint, out="")
    return compose_request(task, words, command=command)


def _show_difference(a: Path, b: Path) -> None:
    # What matches detections with objects lives with the worker's code, which imports torch.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, for its developers
        comparing: Any = import_module("launcher.train.evaluation.comparing")
    console = make_console()
    for comparison in comparing.compare_evaluations(a, b):
        show_comparison(comparison, console)
