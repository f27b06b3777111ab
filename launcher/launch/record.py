"""Writing down what is asked, planned and happened in a run folder."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from launcher.config.request import RunRequest
from launcher.config.values import to_plain, write_json
from launcher.device.facts import DeviceFacts
from launcher.errors import RequestError
from launcher.files import write_text
from launcher.launch.folder_lock import unwritable
from launcher.launch.provenance import provenance
from launcher.run.attempts import Started, device_text
from launcher.run.outcome import Outcome
from launcher.run.paths import AttemptPaths, RunPaths
from launcher.run.plan import PLAN_VERSION, Resume, RunPlan, Train
from launcher.run.resume import rename_damaged


def archive(folder: Path) -> Path:
    """Rename a run folder to the first free `<folder>.<n>` and return the new name.

    Raises:
        RequestError: it cannot be renamed.
    """
    number = 1
    while (target := folder.with_name(f"{folder.name}.{number}")).exists():
        number += 1
    try:
        folder.rename(target)
    except OSError as error:
        raise RequestError(
            f"resume=never renames {folder} to {target.name}, which is refused ({error.strerror}): it may be a mount "
            "point. Choose another folder with run.name=NAME, or empty this one yourself."
        ) from error
    return target


def record_start(
    request: RunRequest,
    plan: RunPlan,
    facts: DeviceFacts,
    command: Sequence[str],
    environ: Mapping[str, str],
    at: float,
) -> None:
    """Write the request, the facts and the plan of one attempt that begins `at` this time, in seconds since the epoch.

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
        (paths.checkpoints if isinstance(plan.task, Train) else paths.results).mkdir(exist_ok=True)
        _remove_links(paths.evaluation)
        if isinstance(plan.start, Resume):
            rename_damaged(plan.start.damaged)
        write_request(request, plan.identity, paths, command)
        if request.run.provenance:
            # A command, a diff and the names of packages may hold what is nobody else's business.
            text = json.dumps(provenance(command, environ), indent=2, default=str) + "\n"
            write_text(beside.provenance, text, mode=0o600)
        write_json(beside.started, _started(plan, facts, at))
        write_json(beside.facts, facts)
        write_json(beside.plan, {"version": PLAN_VERSION, **to_plain(plan)})
        beside.folder.rename(attempt.folder)
    except FileExistsError as error:
        raise RequestError(
            f"{attempt.folder} appeared since this run was planned: another launch trained it meanwhile. "
            "Run the command again."
        ) from error
    except OSError as error:
        raise unwritable(paths.folder, error) from error


def write_request(request: RunRequest, identity: Mapping[str, Any], paths: RunPaths, command: Sequence[str]) -> None:
    """Freeze what is asked, as `launcher resume` continues it; the latest request is the one that counts.

    Raises:
        OSError: it cannot be written.
    """
    stored = {
        "command": shlex.join(command),
        "working_directory": os.getcwd(),
        "identity": to_plain(identity),
        **to_plain(request),
    }
    write_text(paths.request, _as_yaml(stored))


def _started(plan: RunPlan, facts: DeviceFacts, at: float) -> Started:
    return Started(
        at=at,
        host=socket.gethostname(),
        process=os.getpid(),
        iterations=plan.keys["SOLVER.MAX_ITER"],
        device=device_text(plan.devices.kind, plan.num_processes),
        scheduler=facts.job.scheduler,
        job_id=facts.job.job_id,
    )


def _as_yaml(stored: Mapping[str, Any]) -> str:
    text = yaml.safe_dump(stored, sort_keys=False, allow_unicode=True)
    try:
        text.encode()
    except UnicodeEncodeError:  # a path of bytes that are no text
        return yaml.safe_dump(stored, sort_keys=False, allow_unicode=False)
    return text


def _remove_links(folder: Path) -> None:
    """Of results that are written in place: what is written now must not go where somebody's link leads."""
    for path in folder.rglob("*"):
        if path.is_symlink() or (path.is_file() and path.stat().st_nlink > 1):
            path.unlink()


def record_outcome(plan: RunPlan, outcome: Outcome) -> str:
    """Write the outcome and return what kept us from it, empty when nothing did: it is shown in any case."""
    try:
        write_json(plan.attempt_paths.outcome, outcome)
    except OSError as error:
        return f"the outcome could not be written into {plan.folder} ({error.strerror})"
    return ""
