"""What a run was asked for when it was last started, read back from its request.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cattrs import BaseValidationError

from launcher.config.adjustment import Adjustment
from launcher.config.keys import Keys
from launcher.config.request import OwnCode, RunRequest, Scaling, Typed
from launcher.config.schema import OWN_NODES
from launcher.config.values import from_plain, to_plain
from launcher.errors import RequestError
from launcher.run.attempts import read_plain
from launcher.run.paths import RunPaths
from launcher.run.stored import read_request

DEFAULTS: Mapping[str, Any] = {
    "typed": Typed(experiment="", overrides=(), in_sweep=False, swept=()),
    "resume": "auto",
    "scaling": Scaling.keep_batch,
    "own_code": OwnCode(),
    "keys": Keys({}),
    **{name: settings() for name, settings in OWN_NODES.items()},
}
"""Of settings that there were not yet when a request was written."""


@dataclass(frozen=True, kw_only=True)
class Frozen:
    """A request as it is continued: in its folder, and where it was typed."""

    request: RunRequest
    command: str
    """That was typed when the run was last started."""
    working_directory: str
    """In which it was; empty where nobody knows."""


def read_frozen(folder: Path) -> Frozen:
    """What is to be continued in that folder.

    Raises:
        RequestError: the folder does not say it.
    """
    paths = RunPaths(folder)
    stored = read_request(paths)
    try:
        request = from_plain(RunRequest, {**to_plain(DEFAULTS), **stored})
        request.keys["SOLVER.MAX_ITER"]
    except (BaseValidationError, LookupError, TypeError, ValueError, AttributeError) as error:
        why = "is damaged or of another version" if stored else "is missing or cannot be read"
        raise RequestError(
            f"{paths.request} says what {folder} was asked for, but it {why}. "
            "Run the command with which the run was started."
        ) from error
    return Frozen(
        request=_continuing(request, folder),
        command=str(stored.get("command", "")),
        working_directory=str(stored.get("working_directory") or _place_by_provenance(paths)),
    )


def _continuing(request: RunRequest, folder: Path) -> RunRequest:
    """The same in this very folder, whatever it was called then, without what was meant for one start only."""
    once = ("never", "must")
    has_own = any(RunPaths(folder).checkpoints.glob("model_*.pth"))
    here = Adjustment(setting="OUTPUT_DIR", asked=None, planned=str(folder.absolute()), reason="the run folder")
    return replace(
        request,
        typed=replace(request.typed, folder=""),  # of the sweep in which it began, wherever that is now
        resume="auto" if request.resume in once or has_own else request.resume,
        run=replace(request.run, allow_changes=[], in_place=False),
        keys=request.keys.with_([here]),
    )


def _place_by_provenance(paths: RunPaths) -> str:
    """Of runs whose request does not say where it was typed."""
    found: Mapping[str, Any] = read_plain(paths.first_provenance)
    place = str(found.get("working_directory", ""))
    return place if place.startswith("/") else ""
