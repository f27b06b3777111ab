"""A worker that imports torch while the command line is still being composed, which takes about a second."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

from launcher.forking import num_cpus
from launcher.run.handover import FIRST, with_short_waits

COMMANDS = ("train", "eval", "predict")
"""Those that need one; `launcher resume` goes to another folder first."""
STILL_NEEDED = (
    *("--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp"),
    *("--json", "--out", "--threshold", "--no-images", "--images-json"),
)
"""Options with which one is needed; with others something is only shown, or there are several trainings."""
ROOT = "dataset.root="


def worker_for(command: str, arguments: Sequence[str], environ: Mapping[str, str]) -> AbstractContextManager[None]:
    """A worker for what this command line trains or evaluates, if it does; it ends with the block unless it is taken.

    Its environment is a guess. Where composing says otherwise it is not taken, and nothing but time is lost.
    """
    # On a single core it would keep mistakes from being shown soon, and gain nothing.
    if num_cpus() < 2 or not needs_one(command, arguments):
        return nullcontext()
    return FIRST.started(importing_environment(arguments, environ))


def importing_environment(arguments: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    """What a worker reads when it imports torch and detectron2, if no file says otherwise."""
    typed = [word[len(ROOT) :] for word in arguments if word.startswith(ROOT)]
    root = typed[-1] if typed else environ.get("DETECTRON2_DATASETS") or "datasets"
    return with_short_waits({**environ, "DETECTRON2_DATASETS": os.path.abspath(os.path.expanduser(root))})


def needs_one(command: str, arguments: Sequence[str]) -> bool:
    """Whether a worker is started in the end, unless something is wrong."""
    options = (word.partition("=")[0] for word in arguments if word.startswith("-"))
    return command in COMMANDS and bool(arguments) and all(option in STILL_NEEDED for option in options)
