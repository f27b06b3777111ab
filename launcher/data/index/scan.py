"""Finds where the entries of a COCO file's lists lie in the file. Decodes no entry and judges none."""

from __future__ import annotations

import codecs
import json
import mmap
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from launcher.data.json_file import decode_noting_repeats

_KEY = re.compile(rb'[ \t\r\n]*("(?:[^"\\]|\\.)*")[ \t\r\n]*:[ \t\r\n]*')
_SPACE = re.compile(rb"[ \t\r\n]*")
_COMMA = re.compile(rb"[ \t\r\n]*,[ \t\r\n]*")
_CHUNK = 1 << 24
_LONG = ("images", "annotations")

Content = bytes | mmap.mmap


class NotIndexableError(ValueError):
    """The file is no plain COCO format, so only a JSON reader can say what it holds."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Spans:
    """Where the entries of one list are, in bytes."""

    starts: np.ndarray
    lengths: np.ndarray

    def __len__(self) -> int:
        return len(self.starts)

    def at(self, places: Sequence[int]) -> Spans:
        """Those of some entries."""
        chosen = np.array(places, np.int64)
        return Spans(starts=self.starts[chosen], lengths=self.lengths[chosen])


@dataclass(frozen=True, kw_only=True, eq=False)
class Layout:
    """Where everything is in a COCO file."""

    images: Spans
    annotations: Spans
    categories: list[Any]
    """Decoded: they are few."""


def scan(content: Content) -> Layout:
    """Find every entry.

    Raises:
        NotIndexableError: it is not UTF-8, not strict JSON, repeats a key, or is not COCO format.
    """
    try:
        _check_text(content)
        parts = _members(content)
        images, annotations = (_spans(content, *parts[name]) for name in ("images", "annotations"))
        others = {name: decode_strictly(bytes(whole)) for name, (_, whole) in parts.items() if name not in _LONG}
    except (ValueError, KeyError, RecursionError) as error:
        raise NotIndexableError(f"{type(error).__name__}: {error}") from error
    if not isinstance(others.get("categories"), list):
        raise NotIndexableError("categories is no list")
    return Layout(images=images, annotations=annotations, categories=others["categories"])


def decode_strictly(text: bytes) -> Any:
    """What JSON in UTF-8 holds.

    Raises:
        NotIndexableError: an object has a key twice, with different values.
        ValueError, RecursionError: it is no JSON.
    """
    value, repeated = decode_noting_repeats(text.decode("utf-8"))
    if repeated:
        raise NotIndexableError(f"the key {repeated[0]} occurs twice")
    return value


def _check_text(content: Content) -> None:
    """msgspec looks into the texts of what it decodes, and passes over all others."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(content), _CHUNK):
        chunk = content[start : start + _CHUNK]
        if decoder.getstate()[0] or not chunk.isascii():
            decoder.decode(chunk)
    decoder.decode(b"", True)


def _members(content: Content) -> dict[str, tuple[int, memoryview]]:
    """The members of the outermost object by key: where each begins, and what it holds."""
    begin = _address(memoryview(content))
    parts = {key: memoryview(raw) for key, raw in msgspec.json.decode(content, type=dict[str, msgspec.Raw]).items()}
    found: dict[str, tuple[int, memoryview]] = {}
    place = _end_of(_SPACE, content, 0) + 1  # behind the brace
    while len(found) < len(parts):
        match = _KEY.match(content, place)
        key = json.loads(match[1]) if match else ""
        # Of a key that occurs twice msgspec gives the last.
        if match is None or key not in parts or match.end() != _address(parts[key]) - begin:
            raise NotIndexableError(f"the key {key} occurs twice")
        found[key] = (match.end(), parts[key])
        place = _end_of(_COMMA, content, match.end() + len(parts[key]))
    return found


def _address(view: memoryview) -> int:
    return int(np.frombuffer(view, np.uint8).ctypes.data)


def _end_of(pattern: re.Pattern[bytes], content: Content, place: int) -> int:
    match = pattern.match(content, place)
    return match.end() if match else len(content)


def _spans(content: Content, start: int, whole: memoryview) -> Spans:
    """Entry after entry, with what separates them in between."""
    entries = msgspec.json.decode(whole, type=list[msgspec.Raw])
    lengths = np.fromiter((len(memoryview(entry)) for entry in entries), np.int64, len(entries))
    if not entries:
        return Spans(starts=lengths, lengths=lengths)
    first = _end_of(_SPACE, content, start + 1)
    comma = _COMMA.match(content, first + int(lengths[0]))
    separator = comma[0] if comma else b","
    starts = first + np.concatenate([[0], np.cumsum(lengths[:-1] + len(separator))])
    if not _fit(content, starts, lengths, separator):
        starts = _walk(content, first, lengths)
    return Spans(starts=starts, lengths=lengths)


def _fit(content: Content, starts: np.ndarray, lengths: np.ndarray, separator: bytes) -> bool:
    """Whether the same separator stands between all entries, each of which is an object.

    If one entry ends where it should and the separator, which has the comma, is followed by a brace, then the next
    entry begins there.
    """
    if starts[-1] >= len(content):
        return False
    letters = np.frombuffer(content, np.uint8)
    between = (starts + lengths)[:-1, None] + np.arange(len(separator))
    same = letters[between] == np.frombuffer(separator, np.uint8)
    return bool(same.all() and (letters[starts] == ord("{")).all())


def _walk(content: Content, first: int, lengths: np.ndarray) -> np.ndarray:
    """The starts where entries are separated by this and by that."""
    starts = [first]
    for length in lengths[:-1].tolist():
        starts.append(_end_of(_COMMA, content, starts[-1] + length))
    return np.array(starts, np.int64)
