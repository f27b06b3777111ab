"""A request as the configuration that it was composed to: what `launcher resume` begins with instead of YAML files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from launcher.config.request import RunRequest
from launcher.config.schema import OWN_NODES
from launcher.config.values import to_plain


def as_composed(request: RunRequest) -> dict[str, Any]:
    """The launcher's settings and detectron2's keys at one root, under the names that people type."""
    plain = to_plain(request)
    own = {name: _as_typed(plain[name]) for name in OWN_NODES}
    at_root = {"resume": plain["resume"], "scaling": plain["scaling"], **plain["own_code"]}
    composed: dict[str, Any] = literal({**own, **at_root, **plain["keys"]})
    return composed


def _as_typed(node: Mapping[str, Any]) -> dict[str, Any]:
    """`async` is a word of Python's, so the dataclass has `async_`."""
    return {name.rstrip("_"): value for name, value in node.items()}


def literal(value: Any) -> Any:
    """With `${` in a text, such as a path, kept from being a reference."""
    if isinstance(value, Mapping):
        return {key: literal(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [literal(inner) for inner in value]
    return value.replace("${", r"\${") if isinstance(value, str) else value
