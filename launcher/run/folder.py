"""Looking at a run folder: what it holds before a start. Writes nothing."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from cattrs import BaseValidationError

from launcher.config.request import RunRequest
from launcher.config.task import TaskRequest, TrainRequest
from launcher.config.values import from_plain, read_json_if_valid
from launcher.errors import ExitCode, RequestError
from launcher.run import codes
from launcher.run.attempts import read_plain
from launcher.run.identity import fingerprint_of, run_folder
from launcher.run.outcome import Outcome
from launcher.run.paths import RunPaths
from launcher.run.plan import Lessons
from launcher.run.resume import CHECKPOINT_NAME, Checkpoints, ResumePoint, damage_of, look_for_checkpoints

FOREIGN = (
    "metrics.json",
    "last_checkpoint",
    "events.out.tfevents.*",
    f"model_{7 * '[0-9]'}.pth",
    "model_final.pth",
    "inference/*",
)
"""Files that a training or an evaluation of detectron2's own writes into its OUTPUT_DIR."""
RESUME_WORDS = ("auto", "must", "never")


@dataclass(frozen=True, kw_only=True)
class Previous:
    """What the latest attempt that trained was, as far as later ones go by it; None where its plan does not say."""

    identity: Mapping[str, Any]
    """`identity_of` its request."""
    seed: int | None
    begun_with: int | None
    """Processes with which the run began."""
    num_processes: int | None
    kind: str | None
    """Of its devices: cuda or cpu."""
    precision: str | None
    """The data type of mixed precision; empty for full precision."""
    train_checksum: int
    """Of the annotations that it trained on; 0 where they were not read."""
    val_checksum: int
    """Of those that it was evaluated with; 0 where nobody knows."""
    lessons: Lessons
    """Those that still hold."""


@dataclass(frozen=True, kw_only=True)
class FolderFacts:
    """What the run's folder holds before this start, and what the request points at on disk."""

    folder: str
    attempts: int
    previous: Previous | None
    """None in a folder that holds no run."""
    fingerprints: frozenset[str]
    """Of the run's identities in all attempts; its checkpoints say with which of them they were written."""
    last_outcome: Outcome | None
    checkpoints: Checkpoints
    resume_file: ResumePoint | None
    """The checkpoint that `resume=PATH` names."""
    resume_file_problem: str
    drawn_seed: int
    """A seed to begin with, where none is asked for."""
    weights_missing: bool
    """MODEL.WEIGHTS names a local file that is not there."""
    foreign: tuple[str, ...]
    """Files of a training in that folder which the launcher did not start, its newest checkpoint last."""
    unwritable: str
    """Why nothing can be written into the folder, empty where it can."""


NOTHING_TRAINED = (int(ExitCode.request_wrong), int(ExitCode.data_wrong))


def look_at_folder(request: RunRequest) -> FolderFacts:
    """Read what this run's folder holds; writes nothing.

    Raises:
        RequestError: the folder holds a run that cannot be identified.
    """
    paths = RunPaths(run_folder(request))
    attempts = paths.attempt_numbers()
    resume_file, problem = _resume_file(request.resume)
    return FolderFacts(
        folder=str(paths.folder),
        attempts=attempts[-1] if attempts else 0,
        previous=_previous(paths, attempts),
        fingerprints=_fingerprints(paths, attempts),
        last_outcome=last_outcome(paths.folder),
        checkpoints=look_for_checkpoints(paths),
        resume_file=resume_file,
        resume_file_problem=problem,
        drawn_seed=secrets.randbelow(2**31),
        weights_missing=_is_missing_file(str(request.keys["MODEL.WEIGHTS"])),
        foreign=_find_foreign(paths, attempts, request.task),
        unwritable=_why_unwritable(paths.folder),
    )


def _find_foreign(paths: RunPaths, attempts: Sequence[int], task: TaskRequest) -> tuple[str, ...]:
    """What detectron2's own trainer, or a program like it, has left in the folder; for other tasks whatever it is."""
    if attempts or paths.request.exists():
        return ()
    if not isinstance(task, TrainRequest):
        return tuple(sorted(path.name for path in paths.folder.glob("[!.]*")))
    found = [path for pattern in FOREIGN for path in sorted(paths.folder.glob(pattern))]
    return tuple(path.name for path in found if path.is_file())


def _previous(paths: RunPaths, attempts: Sequence[int]) -> Previous | None:
    plan = next((plan for number in reversed(attempts) if (plan := _plan_before(paths, number))), {})
    if plan.get("identity"):
        try:
            return previous_from(plan)
        except (LookupError, TypeError, ValueError, AttributeError, BaseValidationError) as error:
            raise _unidentified(paths.folder / "attempts", error) from error
    identity = _stored_identity(paths)
    return None if identity is None else previous_from({"identity": identity})


def _fingerprints(paths: RunPaths, attempts: Sequence[int]) -> frozenset[str]:
    identities = [read_plain(paths.attempt(number).plan).get("identity") or {} for number in attempts]
    return frozenset(map(fingerprint_of, [*identities, _stored_identity(paths) or {}])) - {""}


def previous_from(plan: Mapping[str, Any]) -> Previous:
    """What a plan says that was read back from JSON, in the form of any version of plan.json."""
    is_first = "version" not in plan
    data, task = (plan, plan) if is_first else (plan["data"], plan["task"] if "task" in plan else plan["training"])
    keys, devices = plan.get("detectron2" if is_first else "keys", {}), plan.get("devices", {})
    return Previous(
        identity=plan.get("identity", {}),
        seed=keys.get("SEED"),
        begun_with=task.get("begun_with"),
        num_processes=_num_processes(plan),
        kind=devices.get("kind"),
        precision=devices.get("precision"),
        train_checksum=data.get("train_checksum", 0),
        val_checksum=data.get("val_checksum", 0),
        lessons=from_plain(Lessons, plan.get("lessons", {})).lasting,
    )


def _num_processes(plan: Mapping[str, Any]) -> int | None:
    here = plan.get("devices", {}).get("num_processes")
    return None if here is None else here * plan.get("nodes", {}).get("count", 1)


def _stored_identity(paths: RunPaths) -> Mapping[str, Any] | None:
    try:
        stored = yaml.safe_load(paths.request.read_text(encoding="utf-8"))
        return dict(stored["identity"])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise _unidentified(paths.request, error) from error


def _unidentified(file: Path, error: Exception) -> RequestError:
    return RequestError(
        f"{file} identifies this run but cannot be read ({type(error).__name__}): it is damaged or of another version. "
        "Choose another folder with run.name=NAME, or move this one away."
    )


def last_outcome(folder: Path) -> Outcome | None:
    """How the run's latest attempt ended; None for a new run, or when a kill or the disk left no valid file of it."""
    paths = RunPaths(folder)
    attempts = paths.attempt_numbers()
    return read_outcome(paths.attempt(attempts[-1]).outcome) if attempts else None


def read_outcome(file: Path) -> Outcome | None:
    """An outcome of any version; None where there is no valid file."""
    return read_json_if_valid(file, Outcome) or _read_first_version(file)


_NOTHING_BAD = {"stopped_early": None, "bad_images": 0, "bad_test_images": 0}


def _read_first_version(file: Path) -> Outcome | None:
    """Of files that knew no codes: what was done, which is what a later start goes by."""
    try:
        plain = json.loads(file.read_text(encoding="utf-8"))
        fault = {"rank": 0, "stage": "", "cuda_code": None, **plain} if plain["cause"] != "none" else None
        code = codes.FAILED if fault else codes.NONE
        return from_plain(Outcome, {**plain, "code": code, "work": {**_NOTHING_BAD, **plain}, "fault": fault})
    except (OSError, ValueError, TypeError, AttributeError, LookupError, RecursionError, BaseValidationError):
        return None


def _plan_before(paths: RunPaths, attempt: int) -> dict[str, Any]:
    """The plan of an earlier attempt as it was written, by this version or another.

    Empty when it cannot be read, or when the request or the data proved to be wrong: then nothing was trained by it.
    """
    if read_plain(paths.attempt(attempt).outcome).get("exit_code") in NOTHING_TRAINED:
        return {}
    return read_plain(paths.attempt(attempt).plan)


def _resume_file(resume: str) -> tuple[ResumePoint | None, str]:
    """The checkpoint that `resume=PATH` names (a run folder stands for its newest), or what is wrong with it."""
    if resume in RESUME_WORDS:
        return None, ""
    path = Path(resume).absolute()
    if path.is_dir():
        found = look_for_checkpoints(RunPaths(path)).newest_valid
        return (found, "") if found else (None, f"the folder {path} holds no valid checkpoint")
    if not path.is_file():
        return None, "there is no such file"
    if problem := damage_of(path):
        return None, f"that file {problem}{_instead_of(path)}"
    return ResumePoint(path=str(path), next_iteration=None), ""


def _instead_of(damaged: Path) -> str:
    """Which checkpoint beside a damaged one may be taken instead, and how."""
    others = sorted(damaged.parent.glob("model_*.pth"), reverse=True)
    older = (path for path in others if path.name < damaged.name and CHECKPOINT_NAME.fullmatch(path.name))
    valid = next((path for path in older if damage_of(path) is None), None)
    return f"; an older one beside it is valid: resume={valid}" if valid else ""


def _is_missing_file(weights: str) -> bool:
    """Whether MODEL.WEIGHTS is a plain path (not a URL, not `detectron2://`) without a file behind it.

    A path may end in `?matching_heuristics=True`, as detectron2 has it.
    """
    return bool(weights) and "://" not in weights and not Path(weights.partition("?")[0]).is_file()


def _why_unwritable(folder: Path) -> str:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not existing.is_dir():
        return f"{existing} is a file"
    if existing == folder and (wrong := _in_the_way(RunPaths(folder))):
        return wrong
    return "" if os.access(existing, os.W_OK | os.X_OK) else f"{existing} cannot be written by this user"


def _in_the_way(paths: RunPaths) -> str:
    """Something of another kind that has the name of a file or folder of a run, such as a named pipe."""
    folders = (paths.folder / "attempts", paths.checkpoints, paths.evaluation, paths.tensorboard)
    files = (paths.request, paths.config, paths.fence, paths.metrics)
    wrong = [path for path in folders if path.exists() and not path.is_dir()]
    if wrong:
        return f"{wrong[0]} is no folder"
    return next((f"{path} is no plain file" for path in files if path.exists() and not path.is_file()), "")
