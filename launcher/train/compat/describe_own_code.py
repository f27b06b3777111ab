"""Child program: imports a user's modules and writes as JSON what they register, for the launcher, which imports none.

Usage: python -m launcher.train.compat.describe_own_code OUTPUT QUESTION
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog

from launcher.config.known_datasets import find_registered
from launcher.config.request import OwnCode
from launcher.errors import RequestError
from launcher.train.compat.cfg_node import load_extension
from launcher.train.own_code import asks_for_gpu, load_own_code

IMPORT_SYSTEM = "<frozen importlib"


def main(arguments: Sequence[str]) -> int:
    output, question = arguments
    asked = json.loads(question)
    names = asked.pop("names")
    before, seen = set(sys.modules), _Seen()
    answer = describe_own_code(OwnCode(**{key: _fixed(value) for key, value in asked.items()}), names)
    files = {*_files_of(set(sys.modules) - before), *seen.files}
    made_from = {"files": sorted(files), "variables": sorted(seen.variables)}
    Path(output).write_text(json.dumps({**answer, **made_from}))
    return 0


def _fixed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def describe_own_code(asked: OwnCode, names: Sequence[str]) -> dict[str, Any]:
    """What it registers, or the problem with it."""
    needs_gpu = ""
    try:
        load_own_code(asked)
        for extension in asked.config_extensions:
            load_extension(extension)
    except RequestError as error:
        if error.__cause__ is None or not asks_for_gpu(error.__cause__):
            return {"problem": str(error)}
        needs_gpu = str(error).splitlines()[0].rstrip(".")
    known = [] if needs_gpu else [name for name in names if name in DatasetCatalog.list()]
    return {
        "registered": [name for name in DatasetCatalog.list() if find_registered(name) is None],
        "data_sets": {name: _described(name) for name in known},
        "needs_gpu": needs_gpu,
    }


def _described(name: str) -> dict[str, Any]:
    metadata = MetadataCatalog.get(name)
    classes, unreadable = metadata.get("thing_classes", None), ""
    file = metadata.get("json_file", None)
    if classes is None and metadata.get("evaluator_type", None) == "coco" and isinstance(file, str):
        classes, unreadable = _classes_in(file)
    return {
        "classes": None if classes is None else [str(one) for one in classes],
        "is_semantic": metadata.get("stuff_classes", None) is not None,
        "unreadable": unreadable,
    }


def _classes_in(file: str) -> tuple[list[str] | None, str]:
    """Those of a COCO file, in the order in which detectron2 will number them, or why they cannot be read."""
    if "://" in file:  # detectron2 fetches it
        return None, ""
    try:
        categories = json.loads(Path(file).read_bytes())["categories"]
        return [one["name"] for one in sorted(categories, key=lambda one: one["id"])], ""
    except OSError as error:
        return None, f"{file}: {error.strerror}"
    except (ValueError, LookupError, TypeError) as error:
        return None, f"{file} is no COCO-format file ({type(error).__name__}: {error})"


def _files_of(modules: Iterable[str]) -> Iterator[str]:
    for name in modules:
        file = getattr(sys.modules.get(name), "__file__", None)
        if isinstance(file, str):
            yield os.path.abspath(file)


class _Seen:
    """The files, folders and environment variables that are read from now on, by whatever is imported."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.variables: set[str] = set()
        sys.addaudithook(self._note_file)
        self._note_variables()

    def _note_file(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in ("open", "os.listdir", "os.scandir"):
            return
        path, by = arguments[0], sys._getframe(1).f_code.co_filename
        is_read = event != "open" or str(arguments[1] or "r").startswith("r")
        if isinstance(path, str | os.PathLike) and is_read and not by.startswith(IMPORT_SYSTEM):
            self.files.add(os.path.abspath(os.fsdecode(path)))

    def _note_variables(self) -> None:
        environ_class: Any = type(os.environ)
        read = environ_class.__getitem__

        def read_noting(environ: Any, name: str) -> Any:
            self.variables.add(name)
            return read(environ, name)

        environ_class.__getitem__ = read_noting


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
