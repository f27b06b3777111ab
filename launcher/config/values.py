"""Our frozen values as JSON files and back."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from cattrs import BaseValidationError, Converter
from cattrs.preconf.json import make_converter

from launcher.config.keys import Keys
from launcher.files import write_text

T = TypeVar("T")


@cache
def _converter() -> Converter:
    converter = make_converter()
    converter.register_unstructure_hook(Keys, lambda keys: converter.unstructure(keys.nested()))
    converter.register_structure_hook(Keys, lambda nested, _: Keys(nested))
    return converter


def to_plain(value: Any) -> Any:
    """Dataclasses, enums, tuples and paths as what JSON can hold."""
    return _converter().unstructure(value)


def from_plain(kind: type[T], plain: Any) -> T:
    """The inverse of `to_plain` for a dataclass `kind`.

    Raises:
        cattrs.ClassValidationError: the data does not fit.
    """
    return _converter().structure(plain, kind)


def write_json(path: Path, value: Any) -> None:
    """Write beside, sync and rename, so that a reader sees the old file or the whole new one."""
    write_text(path, json.dumps(to_plain(value), indent=2, default=str) + "\n")


def read_json(path: Path, kind: type[T]) -> T:
    """The value that `write_json` wrote."""
    return from_plain(kind, json.loads(path.read_text()))


def read_json_if_valid(path: Path, kind: type[T]) -> T | None:
    """The value that `write_json` wrote; None where there is no such file, or one that holds no such value."""
    try:
        return read_json(path, kind)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError, BaseValidationError):
        return None
