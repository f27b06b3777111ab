"""What to say when a module that a command needs cannot be imported: which file that is, and the way out."""

from __future__ import annotations

import os
import sys
import sysconfig
import traceback
from pathlib import Path

from launcher.errors import RequestError

IMPORT_SYSTEM = "<frozen importlib"
OWN_FOLDER = str(Path(__file__).parent.parent)


def refusal_of(error: Exception) -> RequestError | None:
    """A sentence about an exception that an import statement of ours has met in others' code; None for any other."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = max((place for place, frame in enumerate(frames) if frame.filename.startswith(OWN_FOLDER)), default=-1)
    # Python leaves out the frames of its import system.
    beyond = [frame for frame in frames[ours + 1 :] if not frame.filename.startswith(IMPORT_SYSTEM)]
    is_importing = isinstance(error, ImportError | SyntaxError) or (bool(beyond) and beyond[0].name == "<module>")
    file = _file_at_fault(error) or (beyond[-1].filename if beyond else "")
    if not is_importing or file.startswith(OWN_FOLDER):
        return None
    name = _module_of(error)
    what = f"{file or name or 'a module'} cannot be imported ({type(error).__name__}: {error})"
    return RequestError(f"{what}. {_way_out(name, file)}")


def _file_at_fault(error: Exception) -> str:
    if isinstance(error, SyntaxError):
        return error.filename or ""
    if isinstance(error, ImportError) and error.path:
        return error.path
    # A file where a package is meant, such as rich.py instead of rich/.
    parent = sys.modules.get(_module_of(error).partition(".")[0])
    return str(getattr(parent, "__file__", None) or "") if isinstance(error, ModuleNotFoundError) else ""


def _module_of(error: Exception) -> str:
    return (error.name or "") if isinstance(error, ImportError) else ""


def _way_out(name: str, file: str) -> str:
    if name and not file:
        return f"{sys.executable} has no such module: install the launcher with its dependencies for that Python."
    if _is_installed(file):
        return "Its package is damaged, or does not fit the others. Again: pip install --force-reinstall NAME."
    return (
        "That is not where packages are installed; it is found first because its folder is on PYTHONPATH or in a .pth "
        f"file. Take it off: PYTHONPATH={os.environ.get('PYTHONPATH', '') or '(not set)'}."
    )


def _is_installed(file: str) -> bool:
    places = (sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib", "platstdlib"))
    return any(Path(file).is_relative_to(place) for place in places)
