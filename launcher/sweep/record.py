"""Writing sweep.json: by the controller of a sweep alone, which holds the sweep's folder meanwhile."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from launcher.config.values import write_json
from launcher.errors import ExitCode, LauncherError, RequestError
from launcher.launch.folder_lock import FolderBusyError, lock_folder
from launcher.run.holder import holder_of
from launcher.sweep.naming import same_sweep
from launcher.sweep.stored import NAME
from launcher.sweep.values import Sweep


class SweepBusyError(LauncherError):
    """Another controller is at the sweep now."""

    exit_code = ExitCode.busy
    code = "run.busy"


def write_sweep(sweep: Sweep) -> None:
    """Raises RequestError where it cannot be written."""
    try:
        write_json(sweep.folder / NAME, sweep)
    except OSError as error:
        raise _unwritable(sweep.folder, error.strerror or str(error)) from error


@contextlib.contextmanager
def hold_sweep(folder: Path) -> Iterator[None]:
    """Be the one controller of the sweep in that folder, which is made.

    Raises:
        SweepBusyError: there is another one.
        RequestError: the folder cannot be written.
    """
    with contextlib.ExitStack() as held:
        try:
            lock = held.enter_context(lock_folder(folder))
        except FolderBusyError as error:
            raise SweepBusyError(
                f"The sweep in {folder} is being run right now by {holder_of(folder) or 'another process'}. "
                f"Look at it with `launcher status {folder}`, or begin another one with sweep.name=NAME."
            ) from error
        except RequestError as error:
            raise _unwritable(folder, str(error.__cause__ or error)) from error
        # Jobs outlive a controller that is killed; they must not keep the next one from taking them over.
        ours = [lock]
        os.register_at_fork(after_in_child=partial(_close, ours))
        held.callback(ours.clear)
        yield


def refuse_another(before: Sweep | None, now: Sweep) -> None:
    """Raises RequestError where another sweep lives in the folder."""
    if before is None:
        if (now.folder / NAME).exists():
            raise RequestError(
                f"{now.folder / NAME} is damaged or of another version of the launcher. "
                "Rename the folder, or begin another sweep with sweep.name=NAME."
            )
        return
    if set(before.swept) == set(now.swept) and same_sweep(before.fixed, now.fixed):
        return
    raise RequestError(
        f"{now.folder} holds another sweep:\n"
        f"  there  {_described(before)}\n"
        f"  now    {_described(now)}\n"
        "Give this one a name of its own with sweep.name=NAME."
    )


def _described(sweep: Sweep) -> str:
    swept = f"sweeps {', '.join(sorted(sweep.swept))}" if sweep.swept else "sweeps nothing"
    return f"{swept}; shares {' '.join(sweep.fixed) or 'no settings'}"


def _unwritable(folder: Path, why: str) -> RequestError:
    return RequestError(
        f"The sweep's folder is {folder}, but it cannot be written ({why}). Choose another with run.root=FOLDER."
    )


def _close(files: list[int]) -> None:
    while files:
        with contextlib.suppress(OSError):
            os.close(files.pop())
