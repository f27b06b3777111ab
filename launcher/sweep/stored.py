"""sweep.json: which jobs a sweep has. Reads only, and imports nothing that takes long."""

from __future__ import annotations

import os
from pathlib import Path

from launcher.config.values import read_json_if_valid
from launcher.errors import RequestError
from launcher.sweep.values import SWEEP_VERSION, Sweep

NAME = "sweep.json"


def is_sweep(folder: Path) -> bool:
    """Whether a sweep of ours lives in that folder."""
    return os.path.isfile(folder / NAME)


def read_sweep(folder: Path) -> Sweep | None:
    """The sweep in that folder, wherever that is now; None where there is none, or one of another version."""
    sweep = read_json_if_valid(folder / NAME, Sweep)
    if sweep is None or sweep.version != SWEEP_VERSION:
        return None
    return Sweep(**{**vars(sweep), "folder": folder})


def open_sweep(folder: Path) -> Sweep:
    """The sweep that is known to live in that folder.

    Raises:
        RequestError: its sweep.json cannot be read.
    """
    sweep = read_sweep(folder)
    if sweep is None:
        raise RequestError(
            f"{folder} is a sweep, but its sweep.json is damaged or of another version. "
            f"Look at its runs: launcher runs {folder}"
        )
    return sweep
