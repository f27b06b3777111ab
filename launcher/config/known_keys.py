"""detectron2's default keys and its model zoo as data, read once per installation by a child process and cached.

No import of detectron2 here: that takes seconds and may touch a GPU driver.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launcher.config.asked import listed
from launcher.config.described import (
    DEADLINE_S,
    ask_child,
    cache_folders,
    digest,
    last_lines,
    read_fresh,
    stamps,
    store,
)
from launcher.config.keys import Keys
from launcher.errors import RequestError
from launcher.safe_start import import_path

CHILD_PROGRAM = "launcher.train.compat.describe_keys"
_FORMAT = 4


@dataclass(frozen=True, kw_only=True)
class Detectron2Keys:
    """What can be set: nested plain data, tuples as lists."""

    defaults: Mapping[str, Any]
    open_nodes: frozenset[str]
    """Dotted names of the nodes that take any key."""
    zoo: Mapping[str, Mapping[str, Any]]
    """By name (`COCO-Detection/retinanet_R_50_FPN_1x`): what the file sets otherwise than the defaults."""
    names: Mapping[str, tuple[str, ...]]
    """What is registered, by the key that names it (`MODEL.BACKBONE.NAME`); norms under `NORM`."""
    weights: Mapping[str, str] = field(default_factory=dict)
    """Of the models of the zoo that detectron2 has trained weights of, their address."""
    meanings: Mapping[str, str] = field(default_factory=dict)
    """What detectron2's own comments say of a key."""

    def of_model(self, name: str) -> Keys:
        """The keys with a model of the zoo chosen."""
        return Keys.of_leaves((*Keys(self.defaults).leaves(), *Keys(self.zoo[name]).leaves()))


NO_KEYS = Detectron2Keys(defaults={}, open_nodes=frozenset(), zoo={}, names={})
"""Where detectron2 is not installed, or not asked about."""


def keys_if_installed() -> Detectron2Keys:
    """detectron2's; none without it, so that the launcher's own settings are there all the same."""
    try:
        return read_keys()
    except RequestError:
        return NO_KEYS


def read_keys(
    extensions: Sequence[str] = (),
    *,
    environ: Mapping[str, str] = os.environ,
    announce: Callable[[str], None] = lambda _: None,
    deadline_s: float = DEADLINE_S,
) -> Detectron2Keys:
    """The keys of the installed detectron2 and those that the extensions add.

    `announce` gets a sentence when the answer will take a while.

    Raises:
        RequestError: detectron2 is missing or cannot be read, or an extension cannot be loaded.
    """
    detectron2 = find_detectron2()
    question = [_FORMAT, str(detectron2), list(extensions), list(sys.version_info[:2])]
    file_name = f"keys-{digest(question)}.json"
    for folder in cache_folders(environ):
        described = _read_fresh(folder / file_name, detectron2)
        if described is not None:
            return _keys_of(described)

    announce("Reading detectron2's keys; this is done once per installation and takes some seconds.")
    described = _describe(extensions, environ, deadline_s)
    described["made_from"] = stamps([*_files_that_matter(detectron2), *described.pop("extension_files")])
    described["version"] = _version_text(detectron2)
    store(described, file_name, environ)
    return _keys_of(described)


def find_detectron2() -> Path:
    """The folder of the installed detectron2, found without importing it.

    Raises:
        RequestError: there is none.
    """
    spec = importlib.util.find_spec("detectron2")
    if spec is not None and spec.origin is not None:
        return Path(spec.origin).parent
    # A folder of that name in the current directory counts as an empty namespace package.
    shadow = list(spec.submodule_search_locations or ()) if spec is not None else []
    seen = f" (the folder {shadow[0]} is not an installed package)" if shadow else ""
    raise RequestError(
        f"detectron2 is not installed for {sys.executable}{seen}. Either of these installs it:\n"
        "  launcher install detectron2           needs no compiler\n"
        "  pip install --no-build-isolation 'git+https://github.com/facebookresearch/detectron2.git'"
        "      compiles; needs git and a C++ compiler (and nvcc for CUDA)"
    )


def _keys_of(described: Mapping[str, Any]) -> Detectron2Keys:
    return Detectron2Keys(
        defaults=described["defaults"],
        open_nodes=frozenset(described["open_nodes"]),
        zoo=described["zoo"],
        names={key: tuple(names) for key, names in described["names"].items()},
        weights=described["weights"],
        meanings=described["meanings"],
    )


def _read_fresh(path: Path, detectron2: Path) -> dict[str, Any] | None:
    described = read_fresh(path)
    if described is None or described.get("version") != _version_text(detectron2):
        return None
    return described if _is_whole(described) else None


def _is_whole(described: Mapping[str, Any]) -> bool:
    tables = [described.get(part) for part in ("defaults", "zoo", "names", "weights", "meanings")]
    return (
        all(isinstance(table, dict) for table in tables)
        and bool(tables[0] and tables[1])
        and isinstance(described.get("open_nodes"), list)
        and all(isinstance(one, dict) for one in described["zoo"].values())
        and all(isinstance(one, list) for one in described["names"].values())
    )


def _files_that_matter(detectron2: Path) -> Iterator[str]:
    yield str(detectron2 / "config" / "defaults.py")
    zoo = detectron2 / "model_zoo" / "configs"
    for folder, _, files in os.walk(zoo, followlinks=True):
        # A folder's own time tells of files added and removed.
        yield folder
        yield from (f"{folder}{os.sep}{file}" for file in files if file.endswith(".yaml"))


def _version_text(detectron2: Path) -> str:
    # Wheels may carry fixed times, and two versions of a file may be of one size: the version says which is which.
    lines = (detectron2 / "__init__.py").read_text().splitlines()
    return next((line for line in lines if line.startswith("__version__")), "")


def _describe(extensions: Sequence[str], environ: Mapping[str, str], deadline_s: float) -> dict[str, Any]:
    # The child is to see the modules that this process sees.
    environ = {**environ, "PYTHONPATH": os.pathsep.join(import_path(sys.path))}
    try:
        answer = ask_child(CHILD_PROGRAM, extensions, environ=environ, deadline_s=deadline_s)
    except subprocess.TimeoutExpired as error:
        raise RequestError(
            f"detectron2 could not be read: importing it took longer than {deadline_s:.0f} s. "
            'See what hangs with: python -X importtime -c "import detectron2.config"'
        ) from error
    if answer.status == RequestError.exit_code and answer.text:
        raise RequestError(answer.text)
    if answer.status != 0 or not answer.text:
        raise RequestError(_could_not_read(answer.status, answer.printed, extensions))
    described: dict[str, Any] = json.loads(answer.text)
    return described


def _could_not_read(code: int, printed: str, extensions: Sequence[str]) -> str:
    what = f"detectron2 with config_extensions={listed(extensions)}" if extensions else "detectron2"
    return (
        f"The keys of {what} could not be read (exit code {code}); it ended with\n{last_lines(printed)}\n"
        'Does this work?  python -c "from detectron2.config import get_cfg; get_cfg()"'
    )
