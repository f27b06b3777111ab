"""detectron2's configuration as a value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from launcher.config.adjustment import Adjustment

_MISSING: Any = object()


class Keys:
    """detectron2's keys under their dotted names, such as `SOLVER.MAX_ITER`; never changed once made.

    Holds nested plain data: dicts, lists and scalars. detectron2's tuples come back in the worker.
    """

    __slots__ = ("_nested",)

    def __init__(self, nested: Mapping[str, Any]) -> None:
        self._nested = _copied(nested)

    @classmethod
    def of_leaves(cls, leaves: Iterable[tuple[str, Any]]) -> Keys:
        """The keys of which `leaves` gives these."""
        keys = cls({})
        for name, value in leaves:
            *path, last = name.split(".")
            node = keys._nested
            for part in path:
                node = node.setdefault(part, {})
            node[last] = value
        return keys

    def __getitem__(self, name: str) -> Any:
        """The value of a key, or the keys below a node as a dict.

        Raises:
            KeyError: there is no such key.
        """
        value = self.get(name, _MISSING)
        if value is _MISSING:
            raise KeyError(name)
        return value

    def get(self, name: str, default: Any) -> Any:
        """The value of a key that this detectron2 or model may not have."""
        value: Any = self._nested
        for part in name.split("."):
            if not isinstance(value, Mapping) or part not in value:
                return default
            value = value[part]
        return value

    def __contains__(self, name: str) -> bool:
        return self.get(name, _MISSING) is not _MISSING

    def with_(self, adjustments: Iterable[Adjustment]) -> Keys:
        """These keys with the planned values; what adjusts a setting of the launcher's own changes none of them.

        Raises:
            KeyError: an adjustment names a key that is not here.
        """
        changed = Keys(self._nested)
        for adjustment in adjustments:
            if adjustment.is_of_key:
                changed._put(adjustment.setting, adjustment.planned)
        return changed

    def leaves(self) -> Iterator[tuple[str, Any]]:
        """Every key with its value, depth first, in detectron2's order. An empty node counts as a leaf."""
        return leaves(self._nested)

    def changed_from(self, other: Keys) -> list[tuple[str, Any, Any]]:
        """Name, value there and value here of every key that differs; None stands for a key that is missing."""
        there, here = dict(other.leaves()), dict(self.leaves())
        names = dict.fromkeys((*there, *here))
        return [(name, there.get(name), here.get(name)) for name in names if there.get(name) != here.get(name)]

    def nested(self) -> dict[str, Any]:
        """A copy as nested dicts, as it is written into files."""
        return _copied(self._nested)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Keys) and self._nested == other._nested

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Keys({self._nested!r})"

    def _put(self, name: str, value: Any) -> None:
        path, _, last = name.rpartition(".")
        node = self[path] if path else self._nested
        if last not in node:
            raise KeyError(name)
        node[last] = value


def _copied(nested: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copied(value) if isinstance(value, Mapping) else value for key, value in nested.items()}


def leaves(nested: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The dotted name and value of everything that is no node, depth first. An empty node counts as a leaf."""
    for key, value in nested.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def flat(value: Any) -> Iterator[Any]:
    """What a list holds, also in the lists inside of it; another value alone."""
    if not isinstance(value, list):
        yield value
        return
    for one in value:
        yield from flat(one)
