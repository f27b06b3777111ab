"""Reads a JSON file that anybody may have written, and says why where it cannot. Knows COCO's three lists, no entry."""

from __future__ import annotations

import json
import os
import stat
import zlib
from pathlib import Path
from typing import Any

from launcher.data.tally import printable

_PARTS = ("images", "annotations", "categories")
_KINDS_OF_FILES = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def read_coco_lists(json_file: Path) -> tuple[dict[str, Any], int, str]:
    """The file's content and checksum, or why it is not COCO format."""
    text, checksum, why_not = _read(json_file)
    content, why_not = ({}, why_not) if why_not else _parse(text)
    return content, checksum, why_not


def why_no_file(path: str | Path) -> str:
    """What the path is, such as `a named pipe`, where it is no regular file; empty for one.

    Raises:
        OSError, ValueError: nothing is there, or it may not be looked at.
    """
    mode = os.stat(path).st_mode
    if stat.S_ISREG(mode):
        return ""
    return next((name for is_kind, name in _KINDS_OF_FILES if is_kind(mode)), "no file")


def _read(json_file: Path) -> tuple[str, int, str]:
    """The file's text and checksum, or why there are none."""
    try:
        # Opening a named pipe would wait until somebody writes into it.
        if kind := why_no_file(json_file):
            return "", 0, f"it cannot be read: it is {kind}, not a file"
        content = json_file.read_bytes()
    except FileNotFoundError:
        return "", 0, f"there is no such file{_neighbours(json_file)}"
    except OSError as error:
        return "", 0, f"it cannot be read: {error.strerror}"
    except ValueError as error:
        return "", 0, f"this cannot be a path: {error}"
    try:
        # As text: from bytes json would also read UTF-16 and byte order marks, which pycocotools does not.
        return content.decode("utf-8"), zlib.crc32(content), ""
    except UnicodeDecodeError as error:
        return "", 0, _say_undecodable(content, error.start)


def _say_undecodable(content: bytes, place: int) -> str:
    message = "the file is not text in UTF-8, so it is not JSON that pycocotools can read"
    if not content.lstrip().startswith((b"{", b"[")) or b"\x00" in content[:100]:
        return message
    line = content.count(b"\n", 0, place) + 1
    word = content[max(0, place - 10) : place + 10].decode("latin-1").splitlines()[0]
    return (
        f"{message}: byte {content[place]:#x} in line {line} ({printable(word)}). "
        "If it is Latin-1, convert it: iconv -f LATIN1 -t UTF-8"
    )


def _parse(text: str) -> tuple[dict[str, Any], str]:
    """What the text holds, or why that is not COCO format."""
    try:
        content, repeated = decode_noting_repeats(text)
    except json.JSONDecodeError as error:
        return {}, _say_broken(error)
    except RecursionError:
        return {}, "the JSON is nested too deeply"
    except ValueError:
        return {}, "it has a whole number of more than 4,300 digits, which Python does not read"
    if repeated:
        return {}, (
            f"the key {printable(json.dumps(repeated[0]))} occurs twice in one object, with different values, of which "
            "JSON readers take the last. Keep one"
        )
    return _as_coco(content)


def decode_noting_repeats(text: str) -> tuple[Any, list[str]]:
    """What JSON holds, and the keys that an object of it has twice with different values.

    Raises:
        ValueError, RecursionError: it is no JSON, or none that Python reads.
    """
    repeated: list[str] = []

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        entry = dict(pairs)
        if len(entry) < len(pairs):
            repeated.extend(key for key, value in pairs if not _is_same(value, entry[key]))
        return entry

    return json.loads(text, object_pairs_hook=once), repeated


def _is_same(one: Any, other: Any) -> bool:
    try:
        return bool(one is other or one == other)
    except RecursionError:
        return False


def _say_broken(error: json.JSONDecodeError) -> str:
    if error.doc.strip() == "":
        return "the file is empty"
    if error.doc.startswith("\ufeff"):
        return "the file begins with a byte order mark, which pycocotools cannot read. Save it as UTF-8 without"
    return f"broken JSON at line {error.lineno}, column {error.colno}: {error.msg}"


def _as_coco(content: Any) -> tuple[dict[str, Any], str]:
    if not isinstance(content, dict):
        return {}, f"COCO format is an object with images, annotations and categories; this is a {kind_of(content)}"
    wrong = [
        f"{part} is missing" if part not in content else f"{part} is a {kind_of(content[part])}, not a list"
        for part in _PARTS
        if not isinstance(content.get(part), list)
    ]
    if wrong == ["annotations is missing"]:
        return (
            {},
            "it has no annotations, so there is nothing to train on or to measure against (predicting needs none)",
        )
    return (content, "") if not wrong else ({}, "this is not COCO format: " + ", ".join(wrong))


def kind_of(value: object) -> str:
    """The name of a value's type, as people who write JSON know it."""
    names = {dict: "object", list: "list", str: "text", bool: "true/false", type(None): "null"}
    return names.get(type(value), "number")


def _neighbours(json_file: Path) -> str:
    """What else is there, for a path that is nearly right."""
    folder = json_file.parent
    # Not Path.is_dir: before Python 3.14 it raises where a folder may not be looked into.
    while not os.path.isdir(folder) and folder != folder.parent:
        folder = folder.parent
    if folder != json_file.parent:
        return f", not even its folder; {folder} is the last part that exists"
    try:
        others = sorted(entry.name for entry in os.scandir(folder) if entry.name.endswith(".json"))
    except OSError:
        return ""
    return f"; its folder has {printable(', '.join(others[:5]))}" if others else "; its folder has no .json at all"
