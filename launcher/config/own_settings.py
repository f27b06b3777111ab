"""Every lower-case setting as a value, read from the declarations in `request.py`: name, default, range, meaning."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Any, get_type_hints

from launcher.config import request as declared
from launcher.config.ranges import Range, range_of
from launcher.config.request import Found, OwnCode, RunRequest, Scaling, Typed

TYPES = {
    "int": "whole number",
    "float": "number",
    "bool": "true or false",
    "str": "text",
    "list[str]": "list of text",
    "list[Any]": "list",
    "tuple[str, ...]": "list of text",
    "dict[str, Any]": "settings by their names",
    "Any": "number or text",
}
ONE_OF_THESE = "one of these"
ROOT_DEFAULTS: Mapping[str, Any] = {"resume": "auto", "scaling": Scaling.keep_batch}
"""Of the settings that stand beside the nodes, the defaults of the schema."""


@dataclass(frozen=True, kw_only=True)
class OwnSetting:
    """One setting of the launcher."""

    path: tuple[str, ...]
    """The fields of a RunRequest that lead to it."""
    type: str
    """In words."""
    default: Any
    range: Range | None
    meaning: str
    options: tuple[tuple[str, str], ...]
    """Of an enumeration: each member with its meaning."""

    @property
    def name(self) -> str:
        """As typed: `async_` is `async` there, and own code stands at the root."""
        return ".".join(part for part in self.path if part != "own_code").rstrip("_")


NOT_NODES = (Typed, OwnCode, Found)
"""Parts of a request that are no node of settings."""


def own_nodes() -> dict[str, type]:
    """The launcher's nodes, such as `device`, in the order of a request."""
    hints: dict[str, Any] = get_type_hints(RunRequest)
    classes = {name: kind for name, kind in hints.items() if isinstance(kind, type) and is_dataclass(kind)}
    return {name: kind for name, kind in classes.items() if kind not in NOT_NODES}


def own_settings() -> tuple[OwnSetting, ...]:
    """All of them, node by node, then those at the root."""
    meanings = _docstrings()
    below = [one for name, kind in own_nodes().items() for one in _settings_of(kind(), (name,), meanings)]
    hints = RunRequest.__annotations__
    root = [
        _setting(("RunRequest", hints[name]), (name,), default, None, meanings)
        for name, default in ROOT_DEFAULTS.items()
    ]
    return (*below, *root, *_settings_of(OwnCode(), ("own_code",), meanings))


def section_of(node: str) -> str:
    """What the settings of a node are about, in a sentence."""
    return (inspect.getdoc(own_nodes()[node]) or "").splitlines()[0]


def shown(value: Any) -> str:
    """A default as it is typed; empty for empty text."""
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(str, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value).removesuffix(".0")


def _settings_of(settings: Any, path: tuple[str, ...], meanings: Mapping[tuple[str, str], str]) -> Iterator[OwnSetting]:
    for one in fields(settings):
        value, inner = getattr(settings, one.name), (*path, one.name)
        if is_dataclass(value):
            yield from _settings_of(value, inner, meanings)
        else:
            declaring = (kind for kind in type(settings).__mro__ if one.name in vars(kind).get("__annotations__", {}))
            yield _setting((next(declaring).__name__, str(one.type)), inner, value, range_of(one), meanings)


def _setting(
    owner_and_type: tuple[str, str],
    path: tuple[str, ...],
    default: Any,
    allowed: Range | None,
    meanings: Mapping[tuple[str, str], str],
) -> OwnSetting:
    owner, kind = owner_and_type
    members = list(type(default)) if isinstance(default, Enum) else []
    return OwnSetting(
        path=path,
        type=TYPES.get(kind, ONE_OF_THESE),
        default=default,
        range=allowed,
        meaning=meanings[owner, path[-1]],
        options=tuple((one.name, meanings[kind, one.name]) for one in members),
    )


def _docstrings() -> dict[tuple[str, str], str]:
    """By class and name: the string under each field and each member of an enumeration."""
    found = {}
    for node in ast.parse(inspect.getsource(declared)).body:
        if not isinstance(node, ast.ClassDef):
            continue
        for before, after in zip(node.body, node.body[1:], strict=False):
            target = getattr(before, "target", None) or next(iter(getattr(before, "targets", ())), None)
            text = getattr(getattr(after, "value", None), "value", None)
            if isinstance(target, ast.Name) and isinstance(after, ast.Expr) and isinstance(text, str):
                found[node.name, target.id] = " ".join(text.split())
    return found
