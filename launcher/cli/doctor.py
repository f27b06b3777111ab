"""`launcher doctor`: which devices can train here, and why not."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module

from launcher.device.look.probe import look_at_devices
from launcher.errors import ExitCode
from launcher.signals import handling

DIAGNOSIS = "launcher.cli.diagnosis"


def run(arguments: Sequence[str]) -> int:
    """Print the diagnosis; 4 where something has to be fixed."""
    parser = argparse.ArgumentParser(prog="launcher doctor", description="Which devices can train here, and why not.")
    parser.add_argument("--json", action="store_true", help="verdict, findings and all facts as JSON")
    parser.add_argument("--verbose", action="store_true", help="every finding, with its evidence")
    asked = parser.parse_args(arguments)
    with handling({signal.SIGTERM: lambda *_: sys.exit(128 + signal.SIGTERM)}):
        # What judges and shows the facts costs a quarter of a second, which passes while a probe imports torch.
        facts = look_at_devices(os.environ, full=True, meanwhile=lambda: import_module(DIAGNOSIS))
    broken = import_module(DIAGNOSIS).show(facts, as_json=asked.json, verbose=asked.verbose)
    return ExitCode.device_refused if broken else ExitCode.finished
