"""`launcher train`: compose what is asked for, and train it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial

from launcher.cli.flags import take_flag
from launcher.config.arguments import take_apart
from launcher.config.compose import run_hydra
from launcher.config.request import RunRequest
from launcher.errors import ExitCode
from launcher.signals import handling

STOPPING = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


def run(arguments: Sequence[str]) -> int:
    """Train what the arguments ask for, once or for each job of a sweep.

    Raises:
        LauncherError: it cannot be started, or failed.
        SystemExit: it was stopped, or Hydra is done after an option such as `--help`.
    """
    command = ("launcher", "train", *arguments)
    arguments, in_place = take_flag(arguments, "--in-place")
    task = partial(train_composed, command=command)
    with resumable_until_trained():
        if take_apart(arguments).is_multirun and not in_place:
            # What only a sweep needs.
            from launcher.cli.sweep import run_sweep

            return run_sweep(arguments, task, command=command)
        run_hydra([*arguments, *(["run.in_place=true"] if in_place else [])], task)
    return ExitCode.finished


def resumable_until_trained() -> AbstractContextManager[None]:
    """Until a worker runs there is nothing to save: the run can be resumed as it is, so a scheduler may requeue it."""
    return handling(dict.fromkeys(STOPPING, _exit_resumable))


def _exit_resumable(*_: object) -> None:
    sys.exit(int(ExitCode.resumable))


def train_composed(request: RunRequest, command: tuple[str, ...]) -> float | None:
    """Train it to its end; its main metric, for sweeps.

    Raises:
        LauncherError: it cannot be started, or failed.
        SystemExit: it was stopped.
    """
    # Composing alone (`--cfg job`, `--help`, completion) takes half the time without all that a training needs.
    from launcher.cli.training import train

    return train(request, command)
