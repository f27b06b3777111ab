"""Looking at a run folder, and writing down what is asked, planned and happened there."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import secrets
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

from launcher.config.adjustment import look_up
from launcher.config.request import RunRequest
from launcher.config.values import from_plain, read_json_if_whole, to_plain, write_json, write_text
from launcher.device.facts import DeviceFacts
from launcher.errors import ExitCode, RequestError
from launcher.run.identity import run_folder
from launcher.run.outcome import Outcome
from launcher.run.paths import AttemptPaths, RunPaths
from launcher.run.plan import RESUME_WORDS, FolderFacts, RunPlan
from launcher.run.resume import ResumePoint, damage_of, look_for_checkpoints, set_damaged_aside
from launcher.run.retry import Lessons

NOTHING_TRAINED = (int(ExitCode.request_wrong), int(ExitCode.data_wrong))


def look_at_folder(request: RunRequest) -> FolderFacts:
    """Read what this run's folder holds; writes nothing."""
    paths = RunPaths(run_folder(request))
    attempts = paths.attempt_numbers()
    resume_file, problem = _resume_file(request.resume)
    before = next((plan for number in reversed(attempts) if (plan := _plan_before(paths, number))), {})
    return FolderFacts(
        folder=str(paths.folder),
        stored_identity=before.get("identity") or _stored_identity(paths),
        attempts=attempts[-1] if attempts else 0,
        last_outcome=last_outcome(paths.folder),
        checkpoints=look_for_checkpoints(paths),
        resume_file=resume_file,
        resume_file_problem=problem,
        lessons=from_plain(Lessons, before["lessons"]).lasting if "lessons" in before else Lessons(),
        seed=before.get("detectron2", {}).get("SEED"),
        begun_with=before.get("begun_with"),
        num_processes=before.get("devices", {}).get("num_processes"),
        train_checksum=before.get("train_checksum", 0),
        precision=before.get("devices", {}).get("precision"),
        drawn_seed=secrets.randbelow(2**31),
        weights_missing=_is_missing_file(str(look_up(request.detectron2, "MODEL.WEIGHTS"))),
        unwritable=_why_unwritable(paths.folder),
    )


def set_aside(folder: Path) -> Path:
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
    paths = RunPaths(Path(plan.folder))
    attempt = paths.attempt(plan.attempt)
    # Filled beside and renamed: an attempt without its plan would make others believe that nothing was asked before.
    beside = AttemptPaths(attempt.folder.with_name(f".{plan.attempt}.{os.getpid()}"))
    try:
        if attempt.folder.exists():
            raise FileExistsError
        shutil.rmtree(beside.folder, ignore_errors=True)
        beside.folder.mkdir(parents=True)
        paths.checkpoints.mkdir(exist_ok=True)
        set_damaged_aside(plan.damaged)
        if not paths.request.exists():
            stored = {"command": shlex.join(command), "identity": to_plain(plan.identity), **to_plain(request)}
            write_text(paths.request, yaml.safe_dump(stored, sort_keys=False, allow_unicode=True))
        write_json(paths.provenance, provenance(command, environ))
        write_json(beside.facts, facts)
        write_json(beside.plan, plan)
        beside.folder.rename(attempt.folder)
    except FileExistsError as error:
        raise RequestError(
            f"{attempt.folder} appeared since this run was planned: somebody else trained it meanwhile. "
            "Run the command again."
        ) from error
    except OSError as error:
        raise _unwritable(paths.folder, error) from error


def record_outcome(plan: RunPlan, outcome: Outcome) -> str:
    """Write the outcome and return what kept us from it, empty when nothing did: it is shown in any case."""
    try:
        write_json(RunPaths(Path(plan.folder)).attempt(plan.attempt).outcome, outcome)
    except OSError as error:
        return f"the outcome could not be written into {plan.folder} ({error.strerror})"
    return ""


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[int]:
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


def _stored_identity(paths: RunPaths) -> Mapping[str, Any] | None:
    try:
        stored = yaml.safe_load(paths.request.read_text(encoding="utf-8"))
        return dict(stored["identity"])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise RequestError(
            f"{paths.request} should say what this run is, but it cannot be read ({type(error).__name__}). "
            "Choose another folder with run.name=NAME, or move this one away."
        ) from error


def last_outcome(folder: Path) -> Outcome | None:
    """How the run's latest attempt ended; None for a new run, or when a kill or the disk left no whole file of it."""
    paths = RunPaths(folder)
    attempts = paths.attempt_numbers()
    if not attempts:
        return None
    file = paths.attempt(attempts[-1]).outcome
    return read_json_if_whole(file, Outcome)


def _plan_before(paths: RunPaths, attempt: int) -> dict[str, Any]:
    """The plan of an earlier attempt as it was written, by this version or another.

    Empty when it cannot be read, or when the request or the data proved to be wrong: then nothing was trained by it.
    """
    try:
        outcome = paths.attempt(attempt).outcome
        if outcome.exists() and json.loads(outcome.read_text(encoding="utf-8")).get("exit_code") in NOTHING_TRAINED:
            return {}
    except (OSError, ValueError, AttributeError):
        pass  # an outcome that cannot be read says nothing about the plan
    try:
        plan = json.loads(paths.attempt(attempt).plan.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return plan if isinstance(plan, dict) else {}


def _resume_file(resume: str) -> tuple[ResumePoint | None, str]:
    """The checkpoint that `resume=PATH` names (a run folder stands for its newest), or what is wrong with it."""
    if resume in RESUME_WORDS:
        return None, ""
    path = Path(resume).absolute()
    if path.is_dir():
        found = look_for_checkpoints(RunPaths(path)).newest_whole
        return (found, "") if found else (None, f"the folder {path} holds no whole checkpoint")
    if not path.is_file():
        return None, "there is no such file"
    problem = damage_of(path)
    return (None, f"that file {problem}") if problem else (ResumePoint(path=str(path), next_iteration=None), "")


def _is_missing_file(weights: str) -> bool:
    """Whether MODEL.WEIGHTS is a plain path (not a URL, not `detectron2://`) without a file behind it."""
    return bool(weights) and "://" not in weights and not Path(weights).is_file()


def _why_unwritable(folder: Path) -> str:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not existing.is_dir():
        return f"{existing} is a file"
    return "" if os.access(existing, os.W_OK | os.X_OK) else f"{existing} cannot be written by this user"
