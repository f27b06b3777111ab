"""`launcher diff`: what differs between two runs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from launcher.cli.chosen import add_root
from launcher.errors import ExitCode, printable
from launcher.run.difference import difference_of
from launcher.run.found import called, find_run
from launcher.show.console import screen_width
from launcher.show.difference import difference_json, difference_text


def run(arguments: Sequence[str]) -> int:
    """Print settings, metrics, versions, commit and data as far as they differ.

    Raises:
        RequestError: there is no such run.
    """
    parser = argparse.ArgumentParser(prog="launcher diff", description="What differs between two runs.")
    parser.add_argument("one", metavar="A", help="a run: its folder, the end of it, or any part that no other run has")
    parser.add_argument("other", metavar="B", help="another")
    add_root(parser)
    parser.add_argument("--json", action="store_true", help="the same as JSON")
    asked = parser.parse_args(arguments)
    one, other = find_run(asked.one, asked.root), find_run(asked.other, asked.root)
    found = difference_of(one, other)
    if asked.json:
        print(difference_json(found))
    else:
        print(printable(difference_text(found, called(one), called(other), width=screen_width())))
    return ExitCode.finished
