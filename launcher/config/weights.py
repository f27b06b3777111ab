"""What MODEL.WEIGHTS may be: a path, or an address that detectron2 can fetch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import unquote, urlsplit

from launcher.config.places import shortened
from launcher.config.request import OwnCode, RunRequest

SCHEMES = ("http", "https", "ftp", "detectron2", "catalog")
"""For which detectron2 registers a handler; `catalog` are weights of Caffe2 and Detectron by name."""


def problems_with_weights(request: RunRequest) -> Iterator[str]:
    """An address that nothing here can fetch. Code of the user's own may register a handler for any other."""
    weights = str(request.keys.get("MODEL.WEIGHTS", ""))
    match = re.match(r"([A-Za-z][\w+.-]*)://", weights)
    if match is None and weights and Path(weights).is_dir():
        yield _folder_of_weights(weights)
    if match is None or match[1] in SCHEMES:
        return
    typed = f"MODEL.WEIGHTS={shortened(weights)}"
    if match[1].lower() == "file":
        yield f"{typed}: detectron2 reads no file:// address. Give the path itself: {_as_path(weights)}."
    elif request.own_code == OwnCode():
        near = get_close_matches(match[1].lower(), SCHEMES, n=1)
        guess = f"Did you mean {near[0]}://? " if near else ""
        known = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        yield (
            f"{typed}: nothing here can fetch {match[1]}://. {guess}Known are {known}; "
            "for others, fetch the file yourself and give its path, MODEL.WEIGHTS=PATH."
        )


def _folder_of_weights(folder: str) -> str:
    inside = [file for pattern in ("*.pth", "checkpoints/*.pth", "*.pkl") for file in Path(folder).glob(pattern)]
    last = max(inside, key=lambda file: (file.stem == "model_final", file.name), default=None)
    example = _typed(str(last)) if last else "MODEL.WEIGHTS=FILE"
    there = "Name a file in it" if last else "It holds no .pth or .pkl file. Name a file of weights"
    return f"MODEL.WEIGHTS={shortened(folder)} is a folder. {there}: {example}."


def _typed(path: str) -> str:
    plain = re.fullmatch(r"[\w./-]+", path)
    return f"MODEL.WEIGHTS={path}" if plain else f"'MODEL.WEIGHTS=\"{shortened(path)}\"'"


def _as_path(address: str) -> str:
    """The setting to type instead of a `file://` address."""
    parts = urlsplit(address)
    path = unquote(parts.path) if parts.netloc in ("", "localhost") else unquote(parts.netloc + parts.path)
    return _typed(f"{path}?{parts.query}" if parts.query else path)
