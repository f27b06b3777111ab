"""Which settings are paths, and what `~` and `$VAR` in them stand for."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from launcher.config.adjustment import Adjustment
from launcher.config.keys import Keys
from launcher.config.request import RunRequest
from launcher.errors import printable

OWN_PATHS = (
    "dataset.root",
    "dataset.train.json",
    "dataset.train.images",
    "dataset.val.json",
    "dataset.val.images",
    "run.root",
    "resume",
)
KEY_PATHS = ("OUTPUT_DIR", "MODEL.WEIGHTS", "DATASETS.PROPOSAL_FILES_TRAIN", "DATASETS.PROPOSAL_FILES_TEST")
PATHS = (*OWN_PATHS, *KEY_PATHS)
LONGEST_PART = 255  # bytes, on every file system that people train on
LONGEST_PATH = 4095  # bytes, of Linux


def expanded(path: str) -> str:
    """The path with the home folder and environment variables put in; a URL, or a file of that very name, as it is."""
    if "://" in path or not re.search(r"^~|\$", path) or _is_there(path):
        return path
    return os.path.expanduser(os.path.expandvars(path))


def expand_keys(keys: Keys) -> Keys:
    """detectron2's keys with every path expanded."""
    known = ((name, keys[name]) for name in KEY_PATHS if name in keys)
    changed = ((name, value, _expanded_value(value)) for name, value in known)
    return keys.with_(
        Adjustment(setting=name, asked=value, planned=new, reason="") for name, value, new in changed if new != value
    )


def expand_own(value: Any, name: str) -> Any:
    """One of the launcher's settings, or a dataclass of them, with every path expanded."""
    if is_dataclass(value) and not isinstance(value, type):
        inner = {one.name: expand_own(getattr(value, one.name), f"{name}.{one.name}") for one in fields(value)}
        return replace(value, **inner)
    return expanded(value) if name in OWN_PATHS and isinstance(value, str) else value


def problems_with_paths(request: RunRequest) -> Iterator[str]:
    """Paths that no file can have, or that name a variable or a user that is not there."""
    for name, path in paths_in(request):
        if problem := problem_with_path(path):
            yield f"{name}={shortened(path)}: {problem}."


def paths_in(request: RunRequest) -> Iterator[tuple[str, str]]:
    """Every path of a request, by setting."""
    for name in OWN_PATHS:
        value: Any = request
        for part in name.split("."):
            value = getattr(value, part)
        yield name, value
    for name in KEY_PATHS:
        value = request.keys.get(name, "")
        yield from ((name, str(one)) for one in (value if isinstance(value, list) else [value]))


def problem_with_path(path: str) -> str:
    """Why nothing can be there that is read or written; empty where something may."""
    if "://" in path:
        return ""
    if problem := problem_with_name(path):
        return problem
    if len(os.fsencode(path)) > LONGEST_PATH:
        return f"a path of {len(os.fsencode(path))} bytes; there can be {LONGEST_PATH}. Choose a shorter one"
    try:
        kind = stat.S_IFMT(os.stat(path or ".").st_mode)
    except OSError as error:
        return _why_not_there(path, error)
    return f"that is a {_SPECIAL[kind]}, not a file. Name a file" if kind in _SPECIAL else ""


_SPECIAL = {
    stat.S_IFIFO: "named pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


def _why_not_there(path: str, error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "a folder on the way to it cannot be entered by this user. Choose another place, or let this user in"
    if error.errno == errno.ELOOP:
        return "a symbolic link on the way to it leads to itself. Fix it, or name the place itself"
    if match := re.search(r"\$(\w+)", path):
        return f"the environment variable {match[1]} is not set. Set it, or give the path itself"
    if path.startswith("~"):
        return f"there is no home folder {path.partition('/')[0]}. Give the path itself"
    return ""


def problem_with_name(name: str) -> str:
    """Why no file can be called that, or no screen be shown it; empty where all is well."""
    if match := re.search(r"[\x00-\x1f\x7f-\x9f]", name):
        return f"it has a control character ({match[0]!r}). Choose a name without"
    if any("\ud800" <= character <= "\udfff" for character in name):
        return "it is not UTF-8. Choose a name that is"
    longest = max((len(os.fsencode(part)) for part in name.split("/")), default=0)
    if longest > LONGEST_PART:
        return f"a name of {longest} bytes; file names have at most {LONGEST_PART}. Choose a shorter one"
    return ""


def shortened(text: str, limit: int = 80) -> str:
    """As it can be shown on any terminal."""
    return printable(text if len(text) <= limit else f"{text[:limit]}...")


def _expanded_value(value: Any) -> Any:
    if isinstance(value, list):
        return [_expanded_value(one) for one in value]
    return expanded(value) if isinstance(value, str) else value


def _is_there(path: str) -> bool:
    # Path.exists raises before Python 3.14 for names too long and for folders that may not be read.
    try:
        Path(path).lstat()
    except (OSError, ValueError):
        return False
    return True
