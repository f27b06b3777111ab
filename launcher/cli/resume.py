"""`launcher resume`: continue a run as it was frozen in its folder, from anywhere, with declared changes."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from launcher.cli.chosen import take_run
from launcher.cli.resumable import resumable_until_trained
from launcher.cli.train import refuse_job, train_composed
from launcher.cluster.started import begin_in_job
from launcher.config.arguments import take_apart
from launcher.config.compose import run_hydra
from launcher.config.frozen import as_composed
from launcher.config.places import PATHS
from launcher.config.request import RunRequest
from launcher.errors import ExitCode, RequestError, printable
from launcher.run.changed import ChangedSetting, Effect, changed_settings
from launcher.run.folder import RESUME_WORDS, last_outcome
from launcher.run.found import called
from launcher.run.frozen import Frozen, read_frozen
from launcher.run.identity import identity_of, run_folder
from launcher.run.outcome import Ending

USAGE = """\
usage: launcher resume RUN [SETTING=VALUE...] [--root DIR]

Continues a run exactly as it was asked for, from any folder: launcher resume demo/default SOLVER.MAX_ITER=600
RUN is its folder, the end of it, or any part that no other run in DIR (outputs) has.
docs/resuming.md says what a changed setting means; one that would make it another run is refused."""
ELSEWHERE = ("run.name", "run.root", "OUTPUT_DIR", "experiment")
"""Settings that name a folder."""


def run(arguments: Sequence[str]) -> int:
    """Train the run to its end.

    Raises:
        LauncherError: it cannot be found, continued or started, or it failed.
        SystemExit: it was stopped.
    """
    if {"-h", "--help"} & set(arguments):
        print(USAGE)
        return ExitCode.finished
    folder, settings = take_run(arguments, usage=USAGE)
    _refuse_elsewhere(settings, folder)
    frozen = read_frozen(folder)
    project = Path(frozen.working_directory or os.getcwd())
    begin_in_job(folder, project, os.environ, report=partial(print, flush=True))
    here = [_from_here(setting) for setting in settings]
    train_frozen(frozen, here, command=("launcher", "resume", *arguments), name=shlex.quote(called(folder)))
    return ExitCode.finished


def train_frozen(frozen: Frozen, settings: Sequence[str], *, command: tuple[str, ...], name: str) -> None:
    """Train what is frozen, with these settings, to its end; it is called `name` in what is to be typed next.

    Raises:
        LauncherError: it cannot be continued or started, or it failed.
        SystemExit: it was stopped.
    """
    _go_to(frozen.working_directory)
    with resumable_until_trained():
        run_hydra(
            [*settings, *_extensions(frozen)],
            partial(_continue, frozen=frozen, command=command, name=name),
            command=f"launcher resume {name}",
            frozen=as_composed(frozen.request),
        )


def _refuse_elsewhere(settings: Sequence[str], folder: Path) -> None:
    if take_apart(settings).flags:
        raise RequestError(f"launcher resume takes a run and settings, not {take_apart(settings).flags[0]}.\n\n{USAGE}")
    refuse_job(settings, instead="type the launcher submit of this run again with them")
    for setting in settings:
        key = setting.partition("=")[0].lstrip("+~")
        if key in ELSEWHERE:
            raise RequestError(
                f"{setting}: a run is resumed in its own folder, {folder}. "
                f"To begin another run, use launcher train; to name this one otherwise, rename its folder."
            )


def _from_here(setting: str) -> str:
    """A path that was typed, as it is found from where the run was started."""
    key, equals, value = setting.partition("=")
    is_path = key in PATHS and value not in RESUME_WORDS and Path(value).exists()
    return f"{key}={Path(value).absolute()}" if equals and value and is_path else setting


def _go_to(working_directory: str) -> None:
    """Where the run was started: its relative paths, and its user's own code, are found from there."""
    if not working_directory or working_directory == os.getcwd():
        return
    try:
        os.chdir(working_directory)
        text = f"note: continuing in {working_directory}, where the run was started; relative paths are those of there"
    except OSError as error:
        why = f"which cannot be entered ({error.strerror})"
        text = f"note: the run was started in {working_directory}, {why}; its relative paths are taken from here"
    print(printable(text), flush=True)


def _extensions(frozen: Frozen) -> Iterator[str]:
    if names := frozen.request.own_code.config_extensions:
        yield f"config_extensions=[{','.join(names)}]"


def _continue(request: RunRequest, *, frozen: Frozen, command: tuple[str, ...], name: str) -> float | None:
    before, now = identity_of(frozen.request), identity_of(request)
    changed = changed_settings(before, now, request.run.allow_changes)
    if refused := [one for one in changed if one.effect is Effect.refused]:
        raise RequestError(_explain_another(refused, name))
    last = last_outcome(run_folder(request))
    if request.resume == "auto" and last is not None and last.ending is Ending.pruned:
        request = replace(request, resume="must")  # with auto a pruned run counts as done
    return train_composed(replace(request, typed=frozen.request.typed), command)


def _explain_another(refused: Sequence[ChangedSetting], name: str) -> str:
    listed = "\n".join(f"  {one.setting}: there {one.before}, now {one.now}" for one in refused)
    names = ",".join(one.setting for one in refused)
    return (
        f"{name} would be another run:\n{listed}\n"
        "Begin one with launcher train and these settings, or insist on continuing this one: "
        f"run.allow_changes=[{names}]"
    )
