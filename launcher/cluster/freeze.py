"""Freezes runs into their folders, from which a job of Slurm's resumes them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher.cluster.code import CodeState, code_state, copy_code, folders_in_copy
from launcher.cluster.job import measured_by, problems_with_job
from launcher.config.request import JobCode, RunRequest
from launcher.config.values import to_plain, write_json
from launcher.data.plan import DatasetPlan
from launcher.errors import LauncherError, RequestError, printable
from launcher.files import remove
from launcher.launch.decide import start_on_any_device
from launcher.launch.folder_lock import lock_folder, unwritable
from launcher.launch.record import archive, write_request
from launcher.run.folder import look_at_folder
from launcher.run.identity import identity_of
from launcher.run.paths import RunPaths
from launcher.run.plan import New, Start

PlanData = Callable[[RunRequest], DatasetPlan]


@dataclass(frozen=True, kw_only=True)
class Submittable:
    """A run with which nothing is wrong that can be known before it has its devices."""

    request: RunRequest
    paths: RunPaths
    data: DatasetPlan
    start: Start


@dataclass(frozen=True, kw_only=True)
class Code:
    """The code that a job is to run."""

    python_path: tuple[str, ...]
    """Where a copy of it lies; empty for the code as it is."""
    state: CodeState | None
    """Which code it is; None for a copy."""


def problems_with_submission(request: RunRequest, paths: RunPaths, plan_data: PlanData) -> list[LauncherError]:
    """What is wrong with the run's job, and with its data."""
    problems: list[LauncherError] = []
    if wrong := [*_problems_with_names(paths.folder, Path.cwd()), *problems_with_job(request, measured_by(paths))]:
        problems.append(RequestError("\n".join(wrong)))
    try:
        plan_data(request)
    except LauncherError as error:
        problems.append(error)
    return problems


def _problems_with_names(*folders: Path) -> Iterator[str]:
    for folder in map(str, folders):
        if printable(folder) != folder or "\n" in folder or "\t" in folder:
            yield (
                f"{printable(folder)!r} has a control character, with which no batch script can name it. "
                "Rename that folder, or choose another with run.root=FOLDER."
            )


def look_at_run(request: RunRequest, paths: RunPaths, plan_data: PlanData) -> Submittable:
    """The run, once there are no `problems_with_submission`; writes nothing.

    Raises:
        LauncherError: another run lives in its folder, or it cannot be continued there.
    """
    data = plan_data(request)
    start = start_on_any_device(request, dataset=data, folder=look_at_folder(request))
    return Submittable(request=request, paths=paths, data=data, start=start)


def archive_previous(run: Submittable) -> Path | None:
    """Rename what the folder has of a run that is to start over; the new name, or None."""
    if not (isinstance(run.start, New) and run.start.archives):
        return None
    with lock_folder(run.paths.folder):
        return archive(run.paths.folder)


def freeze(run: Submittable, command: Sequence[str], code: Code) -> None:
    """Write what the job needs into the run's folder, which is held; of an earlier job nothing is left to see.

    Raises:
        RequestError: it cannot be written.
    """
    identity = to_plain(identity_of(run.request, run.data.adjustments))
    try:
        write_request(run.request, identity, run.paths, command)
        remove(run.paths.job_code)
        run.paths.job_code.parent.mkdir(exist_ok=True)
        if code.state is not None:
            write_json(run.paths.job_code, code.state)
        remove(run.paths.submission)
    except OSError as error:
        raise unwritable(run.paths.folder, error) from error


def keep_code(paths: RunPaths, asked: JobCode, project: Path, *, reuses: bool) -> Code:
    """The code of a job of that run or sweep; a copy is that of an earlier job if it `reuses` that.

    Raises:
        RequestError: a copy is too much, or cannot be written.
    """
    if asked is not JobCode.snapshot:
        return Code(python_path=(), state=code_state(project))
    if reuses and paths.job_snapshot.is_dir():
        return Code(python_path=folders_in_copy(paths.job_snapshot), state=None)
    return Code(python_path=copy_code(paths.job_snapshot, project), state=None)


def launcher_command() -> tuple[str, ...]:
    """What starts this launcher on any host that shares its files."""
    typed = Path(sys.argv[0])
    is_command = typed.name == "launcher" and typed.is_file() and os.access(typed, os.X_OK)
    return (str(typed.absolute()),) if is_command else (sys.executable, "-m", "launcher")
