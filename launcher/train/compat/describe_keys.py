"""Child program: writes detectron2's keys and its model zoo as JSON, for the rooms that must not import detectron2.

Usage: python -m launcher.train.compat.describe_keys OUTPUT [module:function ...]
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import detectron2.model_zoo
from detectron2.config import CfgNode

from launcher.errors import RequestError
from launcher.train.compat.cfg_node import default_cfg_node, load_extension


def main(arguments: Sequence[str]) -> int:
    output, *extensions = arguments
    try:
        described = describe_keys(extensions)
    except RequestError as error:
        # Not to stderr, where the extension itself may have printed.
        Path(output).write_text(str(error), errors="backslashreplace")
        return int(error.exit_code)
    Path(output).write_text(json.dumps(described))
    return 0


def describe_keys(extensions: Sequence[str]) -> dict[str, Any]:
    """The defaults, the nodes that take any key, and for each zoo file what it sets otherwise than the defaults."""
    defaults = default_cfg_node(extensions)
    return {
        "defaults": _plain(defaults),
        "open_nodes": sorted(_open_nodes(defaults, "")),
        "zoo": dict(_zoo(defaults, extensions)),
        "weights": dict(_weights()),
        "names": {key: sorted(names) for key, names in _names().items()},
        "meanings": dict(_meanings()),
        "extension_files": sorted({file for name in extensions for file in _files_of(name)}),
    }


def _names() -> Mapping[str, Iterable[str]]:
    # A fork that keeps its registries elsewhere goes without the check of names, not without the launcher.
    with contextlib.suppress(ImportError, AttributeError):
        return importlib.import_module("launcher.train.compat.registered_names").registered_names()
    return {}


def _meanings() -> Mapping[str, str]:
    # A fork may have its defaults elsewhere, or no sources: then nothing is known, and nothing is wrong.
    with contextlib.suppress(ImportError, AttributeError, OSError):
        return importlib.import_module("launcher.train.compat.key_meanings").key_meanings()
    return {}


def _zoo(defaults: CfgNode, extensions: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    folder = Path(detectron2.model_zoo.__file__).parent / "configs"
    for file in sorted(folder.rglob("*.yaml")):
        cfg = default_cfg_node(extensions)
        # Another project's files may lie there too, made for keys that are not loaded now.
        with contextlib.suppress(KeyError):
            # Evaluates Python found in the file, as detectron2 itself does: these files are part of its code.
            cfg.merge_from_file(str(file))
            yield file.relative_to(folder).with_suffix("").as_posix(), _differences(_plain(defaults), _plain(cfg))


def _weights() -> Iterator[tuple[str, str]]:
    folder = Path(detectron2.model_zoo.__file__).parent / "configs"
    for file in sorted(folder.rglob("*.yaml")):
        name = file.relative_to(folder)
        # It has none of that model, or is a fork that offers none.
        with contextlib.suppress(RuntimeError, AttributeError):
            yield name.with_suffix("").as_posix(), detectron2.model_zoo.get_checkpoint_url(name.as_posix())


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    different = {}
    for key, value in after.items():
        if isinstance(value, dict) and isinstance(before.get(key), dict):
            if inner := _differences(before[key], value):
                different[key] = inner
        elif key not in before or _unlike(before[key], value):
            different[key] = value
    return different


def _unlike(before: Any, after: Any) -> bool:
    # 1 == 1.0 == True, but a zoo file may mean the change of type.
    return json.dumps(before) != json.dumps(after)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def _open_nodes(node: CfgNode, prefix: str) -> Iterator[str]:
    for key, value in node.items():
        if isinstance(value, dict):
            if value.is_new_allowed():  # type: ignore[attr-defined]
                yield prefix + key
            yield from _open_nodes(value, f"{prefix}{key}.")


def _files_of(extension: str) -> Iterator[str]:
    function = load_extension(extension)
    for thing in (function, sys.modules[extension.partition(":")[0]]):
        with contextlib.suppress(TypeError):
            yield inspect.getfile(thing)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
