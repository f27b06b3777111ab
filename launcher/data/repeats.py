"""Finds annotations that share an id, or repeat an object, by a number for each that is the same for equal ones.

A number takes eight bytes, an id or a box some hundred, and files have millions of them.
"""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from launcher.data.tally import Tally, printable


@dataclass(frozen=True, kw_only=True, eq=False)
class Keys:
    """Of annotations in the order of the file: (place, hash) of what should occur once."""

    ids: np.ndarray
    objects: np.ndarray

    @classmethod
    def of_parts(cls, parts: Sequence[Keys]) -> Keys:
        return cls(
            ids=np.concatenate([part.ids for part in parts]), objects=np.concatenate([part.objects for part in parts])
        )


class KeyCollector:
    """Takes the numbers down."""

    def __init__(self) -> None:
        self._ids = array("q")
        self._objects = array("q")

    def add_id(self, place: int, entry: Mapping[str, Any]) -> None:
        self._ids.extend((place, hash(entry["id"])))

    def add_object(self, place: int, entry: Mapping[str, Any]) -> None:
        self._objects.extend((place, hash(_object(entry))))

    def result(self) -> Keys:
        ids, objects = (np.array(numbers, np.int64).reshape(-1, 2) for numbers in (self._ids, self._objects))
        return Keys(ids=ids, objects=objects)


def label_of(entry: Mapping[str, Any]) -> str:
    """How an annotation is named in messages."""
    return f"annotation {printable(str(entry['id']))}"


def note_repeated(keys: Keys, annotations: Sequence[Any], tally: Tally) -> None:
    """Note what occurs a second time; of `annotations` only such are looked at."""
    for entry, _ in _repeated(keys.ids, annotations, lambda entry: entry["id"]):
        tally.note("annotation.duplicate_id", label_of(entry))
    for entry, first in _repeated(keys.objects, annotations, _object):
        tally.note("annotation.repeated", f"{label_of(entry)} and {first}")


def _object(entry: Mapping[str, Any]) -> Hashable:
    return (entry["image_id"], entry["category_id"], *entry["bbox"])


def _repeated(numbers: np.ndarray, annotations: Sequence[Any], key_of: Any) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Entries, each with the label of the first one of the same key."""
    _, inverse, counts = np.unique(numbers[:, 1], return_inverse=True, return_counts=True)
    first: dict[Hashable, str] = {}
    for place in numbers[counts[inverse] > 1, 0].tolist():
        entry = annotations[place]
        label = label_of(entry)
        if (other := first.setdefault(key_of(entry), label)) is not label:
            yield entry, other
