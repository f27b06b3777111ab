"""The front door: one table of commands, and their exit codes. The only place that exits or catches LauncherError."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import NoReturn

from launcher import __version__
from launcher.cli.broken_import import refusal_of
from launcher.errors import ExitCode, LauncherError, RequestError
from launcher.forking import importing
from launcher.show.colors import show_on_stderr
from launcher.show.stream import OutputError, patient_output


@dataclass(frozen=True, kw_only=True)
class Command:
    """One line of the help. The command itself is `run(arguments)` in `launcher.cli.<name>`."""

    usage: str
    help: str
    starts_ahead: bool = False
    """Whether it imports torch in processes of its own before it has composed anything."""


# A command's module is imported when it is typed: the doctor needs nothing of Hydra, and composing nothing of a launch.
COMMANDS = {
    "train": Command(usage="train SETTING=VALUE...", help="train or resume: train experiment=coco", starts_ahead=True),
    "plan": Command(usage="plan SETTING=VALUE...", help="print the plan without training"),
    "eval": Command(
        usage="eval RUN|model=NAME", help="AP per class on a data set; compare two runs", starts_ahead=True
    ),
    "predict": Command(usage="predict RUN|model=NAME IMAGE...", help="what a model finds in images", starts_ahead=True),
    "runs": Command(usage="runs [DIR]", help="list runs: state, progress, metric"),
    "status": Command(usage="status RUN", help="what a run does now"),
    "resume": Command(usage="resume RUN [SETTING=VALUE...]", help="continue a run from anywhere"),
    "submit": Command(usage="submit SETTING=VALUE...", help="train as a Slurm job that is requeued"),
    "cancel": Command(usage="cancel RUN", help="stop a run wherever it runs; it can resume"),
    "report": Command(usage="report SWEEP", help="a sweep as one HTML page"),
    "diff": Command(usage="diff A B", help="what differs between two runs"),
    "reproduce": Command(usage="reproduce RUN", help="command, commit and packages of a run"),
    "install": Command(usage="install detectron2", help="get detectron2 into this environment"),
    "doctor": Command(usage="doctor", help="which devices can train here, or why not"),
    "explain": Command(usage='explain [CODE|"TEXT"|SETTING]', help="a code, an error text, a setting"),
    "list": Command(usage="list KIND [WORD...]", help="models, datasets, experiments, settings"),
    "data": Command(usage="data check|show|convert|demo", help="check, look at, convert and make data sets"),
    "tensorboard": Command(usage="tensorboard [RUN|DIR]", help="open TensorBoard on this machine only"),
    "completion": Command(usage="completion install", help="the tab key in bash, zsh and fish"),
}

HEAD = "Train detectron2 models on whatever hardware is available."
TAIL = """\
No command means train. `launcher COMMAND --help` says more about one.

Settings are Hydra overrides, the launcher's in lower case (device=cpu) and
detectron2's in upper case (SOLVER.MAX_ITER=9000). `launcher train --help`
lists the launcher's, `launcher list` finds any of them, `launcher explain NAME`
says what one means, `launcher train --cfg job` shows the composed whole."""


def main_and_exit() -> NoReturn:
    """Entry point of the console script and of `python -m launcher`."""
    sys.exit(main(sys.argv[1:], ahead=True))


def main(arguments: Sequence[str], *, ahead: bool = False) -> int:
    """Run one command line and return its exit code; `ahead` lets it import torch in other processes meanwhile."""
    with patient_output():
        try:
            status = int(_run(arguments, ahead=ahead))
            sys.stdout.flush()
            return status
        except OutputError as error:
            show_on_stderr(f"error: the output could not be written ({error})", os.environ)
            return int(ExitCode.training_failed)
        except LauncherError as error:
            show_on_stderr(f"error: {error}", os.environ)
            return int(error.exit_code)
        except KeyboardInterrupt:
            return int(ExitCode.interrupted)


def _run(arguments: Sequence[str], *, ahead: bool) -> int:
    first = arguments[0] if arguments else ""
    if first in ("-h", "--help", "help"):
        print(usage())
        return ExitCode.finished
    if first in ("--version", "version"):
        print(__version__)
        return ExitCode.finished
    name, rest = split_command(arguments)
    _refuse_missing_folder()
    try:
        with _started_ahead(rest) if ahead and COMMANDS[name].starts_ahead else nullcontext():
            with importing():
                command = import_module(f"launcher.cli.{name}")
            return int(command.run(rest))
    except LauncherError:
        raise
    except Exception as error:
        if refusal := refusal_of(error):
            raise refusal from error
        raise


def _started_ahead(arguments: Sequence[str]) -> AbstractContextManager[None]:
    with importing():
        early = import_module("launcher.cli.early")
    started: AbstractContextManager[None] = early.started_ahead(arguments, os.environ)
    return started


def _refuse_missing_folder() -> None:
    try:
        os.getcwd()
    except OSError as error:
        raise RequestError(
            "The current folder has been deleted or moved. Change to one that is there: cd DIR."
        ) from error


def split_command(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """The command and what follows it. Hydra takes no positional words, so a leading word can only be a command.

    Raises:
        RequestError: that word is no command.
    """
    first, rest = (arguments[0], list(arguments[1:])) if arguments else ("", [])
    if first in COMMANDS:
        return first, rest
    is_setting = first.startswith(("-", "+", "~")) or "=" in first
    is_habit = first.isupper() or "." in first  # `SOLVER.BASE_LR 0.1`, as for detectron2, which composing corrects
    if not first or is_setting or is_habit:
        return "train", list(arguments)
    near = get_close_matches(first, COMMANDS, n=1)
    guess = f"did you mean {near[0]!r}?" if near else f"the commands are {', '.join(COMMANDS)}"
    raise RequestError(f"unknown command {first!r}\nhint: {guess}")


def usage() -> str:
    """The help of the launcher as a whole."""
    width = max(len(command.usage) for command in COMMANDS.values())
    lines = [f"  {command.usage:{width}}  {command.help}" for command in COMMANDS.values()]
    return "\n".join([HEAD, "", "usage: launcher COMMAND", "", *lines, "", TAIL])
