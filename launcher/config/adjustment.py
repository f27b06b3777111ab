"""A setting the run gets otherwise than asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Adjustment:
    """A setting the run gets otherwise than asked, and why."""

    setting: str
    """Dotted key as people type it, for example `SOLVER.AMP.ENABLED`."""
    asked: Any
    planned: Any
    reason: str


def look_up(keys: Mapping[str, Any], setting: str) -> Any:
    """The value at a dotted key of a nested mapping.

    Raises:
        KeyError: there is no such key.
    """
    value: Any = keys
    for part in setting.split("."):
        value = value[part]
    return value


def adjusted(keys: Mapping[str, Any], adjustments: Iterable[Adjustment]) -> dict[str, Any]:
    """A copy of the nested `keys` with the planned values of those adjustments that name one of its keys."""
    copy = {key: adjusted(value, ()) if isinstance(value, Mapping) else value for key, value in keys.items()}
    for adjustment in adjustments:
        *path, last = adjustment.setting.split(".")
        node: Any = copy
        for part in path:
            node = node.get(part) if isinstance(node, dict) else None
        if isinstance(node, dict) and last in node:
            node[last] = adjustment.planned
    return copy
