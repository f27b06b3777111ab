"""`launcher data`: one table of what can be done with data sets, each in a file of its own."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module

from launcher.errors import ExitCode, RequestError

# What a command needs is imported when it is typed.
COMMANDS = {
    "convert": ("launcher.cli.data_convert", "convert SRC DIR", "YOLO, Pascal VOC or labelme to COCO's format"),
    "demo": ("launcher.cli.data_demo", "demo DIR", "write the demo data set"),
    "check": ("launcher.cli.data_check", "check DATASET|FILE...", "everything that is wrong with a data set"),
    "show": ("launcher.cli.data_show", "show DATASET|FILE...", "images as the model will see them, in a PNG"),
}


def run(arguments: Sequence[str]) -> int:
    """Do what the first word says.

    Raises:
        LauncherError: it is no such word, or what it stands for failed.
    """
    first, rest = (arguments[0], arguments[1:]) if arguments else ("--help", ())
    if first in ("-h", "--help"):
        print(usage())
        return ExitCode.finished if arguments else ExitCode.request_wrong
    if first not in COMMANDS:
        near = get_close_matches(first, COMMANDS, n=1)
        guess = f"Did you mean: launcher data {near[0]}?" if near else f"There are {', '.join(COMMANDS)}."
        raise RequestError(f"launcher data {first}: there is no such command. {guess}")
    module, _, _ = COMMANDS[first]
    return int(import_module(module).run(rest))


def usage() -> str:
    """The help of `launcher data`."""
    width = max(len(words) for _, words, _ in COMMANDS.values())
    lines = [f"  launcher data {words:{width}}  {help_text}" for _, words, help_text in COMMANDS.values()]
    return "\n".join(["Make data sets, check them and look at them.", "", *lines, "", "Each answers --help."])
