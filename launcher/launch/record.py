"""Writing down in a run folder what is asked, planned and happened; locking and archiving it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from launcher.config.request import RunRequest
from launcher.config.values import to_plain, write_json
from launcher.device.facts import DeviceFacts
from launcher.errors import RequestError
from launcher.files import write_text
from launcher.run.outcome import Outcome
from launcher.run.paths import AttemptPaths, RunPaths
from launcher.run.plan import PLAN_VERSION, Resume, RunPlan
from launcher.run.resume import rename_damaged


def archive(folder: Path) -> Path:
    """Rename a run folder to the first free `<folder>.<n>` and return the new name."""
    number = 1
    while (target := folder.with_name(f"{folder.name}.{number}")).exists():
        number += 1
    folder.rename(target)
    return target


def record_start(
    request: RunRequest, plan: RunPlan, facts: DeviceFacts, command: Sequence[str], environ: Mapping[str, str]
) -> None:
    """Write the request, the facts and the plan of one attempt.

    Raises:
        RequestError: the folder cannot be written.
    """
    paths, attempt = plan.paths, plan.attempt_paths
    # Filled beside and renamed: an attempt without its plan would make others believe that nothing was asked before.
    beside = AttemptPaths(attempt.folder.with_name(f".{plan.attempt}.{os.getpid()}"))
    try:
        if attempt.folder.exists():
            raise FileExistsError
        shutil.rmtree(beside.folder, ignore_errors=True)
        beside.folder.mkdir(parents=True)
        paths.checkpoints.mkdir(exist_ok=True)
        if isinstance(plan.start, Resume):
            rename_damaged(plan.start.damaged)
        if not paths.request.exists():
            stored = {"command": shlex.join(command), "identity": to_plain(plan.identity), **to_plain(request)}
            write_text(paths.request, yaml.safe_dump(stored, sort_keys=False, allow_unicode=True))
        write_json(paths.provenance, provenance(command, environ))
        write_json(beside.facts, facts)
        write_json(beside.plan, {"version": PLAN_VERSION, **to_plain(plan)})
        beside.folder.rename(attempt.folder)
    except FileExistsError as error:
        raise RequestError(
            f"{attempt.folder} appeared since this run was planned: another launch trained it meanwhile. "
            "Run the command again."
        ) from error
    except OSError as error:
        raise _unwritable(paths.folder, error) from error


def record_outcome(plan: RunPlan, outcome: Outcome) -> str:
    """Write the outcome and return what kept us from it, empty when nothing did: it is shown in any case."""
    try:
        write_json(plan.attempt_paths.outcome, outcome)
    except OSError as error:
        return f"the outcome could not be written into {plan.folder} ({error.strerror})"
    return ""


@contextlib.contextmanager
def lock_folder(folder: Path) -> Iterator[int]:
    """Hold a run folder for this process, and for those that inherit the file descriptor given out.

    Raises:
        RequestError: another process on this host holds it, or it cannot be written.
    """
    paths = RunPaths(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(paths.lock, "a+")  # noqa: SIM115 - closed below, where failing to lock is told apart
    except OSError as error:
        raise _unwritable(folder, error) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            raise RequestError(
                f"{folder} is being trained right now by {file.read().strip() or 'another process'}. "
                "Wait for it, stop it, or choose another folder with run.name=NAME."
            ) from error
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield file.fileno()


def _unwritable(folder: Path, error: OSError) -> RequestError:
    return RequestError(
        f"The run folder is {folder}, but it cannot be written ({error.strerror}). Choose another with run.root=FOLDER."
    )


def provenance(command: Sequence[str], environ: Mapping[str, str]) -> dict[str, Any]:
    """With what a run was started: command, place, packages, and the state of the git tree it was started in."""
    return {
        "command": shlex.join(command),
        "working_directory": os.getcwd(),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "python": sys.version.split()[0],
        "user": environ.get("USER", ""),
        "packages": {d.name: d.version for d in sorted(metadata.distributions(), key=lambda d: str(d.name).lower())},
        "git_commit": _git("rev-parse", "HEAD"),
        "git_diff": _git("diff", "HEAD"),
    }


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
