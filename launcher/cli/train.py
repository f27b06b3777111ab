"""`launcher train`: compose what is asked for, and train it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from functools import partial

from launcher.cli.flags import asks_for_help, take_flag, with_detach
from launcher.cli.resumable import resumable_until_trained
from launcher.config.arguments import command_of_one, is_of_cluster, take_apart
from launcher.config.compose import run_hydra
from launcher.config.request import RunRequest
from launcher.errors import ExitCode, RequestError
from launcher.forking import importing
from launcher.show.help import training_help


def run(arguments: Sequence[str]) -> int:
    """Train what the arguments ask for, once or for each job of a sweep.

    Raises:
        LauncherError: it cannot be started, or failed.
        SystemExit: it was stopped, or Hydra is done after an option such as `--cfg`.
    """
    if asks_for_help(arguments):
        print(training_help("train"))
        return ExitCode.finished
    _refuse_sweeper_of_one(arguments)
    command = ("launcher", "train", *arguments)
    arguments, in_place = take_flag(with_detach(arguments), "--in-place")
    task = partial(_train_here, command=command)
    with resumable_until_trained():
        if take_apart(arguments).is_multirun and not in_place:
            # What only a sweep needs.
            from launcher.cli.sweep import run_sweep

            return run_sweep(arguments, task, command=command)
        run_hydra([*arguments, *(["run.in_place=true"] if in_place else [])], task)
    return ExitCode.finished


def _refuse_sweeper_of_one(arguments: Sequence[str]) -> None:
    """Raises RequestError where somebody chooses how to sweep, and forgot to."""
    asked = take_apart(arguments)
    chosen = [text for text in asked.overrides if text.startswith(("hydra/sweeper=", "hydra/launcher=slurm_array"))]
    if chosen and not asked.is_multirun:
        command = shlex.join(("launcher", "train", "-m", *arguments))
        raise RequestError(f"{chosen[0]} is for several trainings, and this is one. With -m they are: {command}")


def _train_here(request: RunRequest, command: tuple[str, ...]) -> float | None:
    if not request.typed.in_sweep:
        refuse_job(request.typed.overrides, instead=shlex.join(("launcher", "submit", *command[2:])))
    is_job = bool(request.typed.folder)
    return train_composed(request, command_of_one(command, request.typed.overrides) if is_job else command)


def refuse_job(settings: Iterable[str], *, instead: str) -> None:
    """Raises RequestError where settings ask for a job of a scheduler, which a training that begins now is not."""
    if asked := [one for one in settings if is_of_cluster(one)]:
        raise RequestError(
            f"{', '.join(asked)}: settings of cluster are those of a job, and this command trains here, without one. "
            f"Leave them out, or submit the job: {instead}"
        )


def train_composed(request: RunRequest, command: tuple[str, ...]) -> float | None:
    """Train it to its end; its main metric, for sweeps.

    Raises:
        LauncherError: it cannot be started, or failed.
        SystemExit: it was stopped.
    """
    # Composing alone (`--cfg job`, `--help`, completion) takes half the time without all that a training needs.
    with importing():
        from launcher.cli.training import train

    return train(request, command)
