"""What is written beside a checkpoint: which state of which training it is, and its checksum."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cattrs import BaseValidationError

from launcher.config.values import from_plain, to_plain


@dataclass(frozen=True, kw_only=True)
class Milestone:
    """How far a training is, and with what."""

    iteration: int
    """The last one done, counted from 0."""
    images_seen: int | None = None
    world_size: int = 1
    config_fingerprint: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Manifest:
    milestone: Milestone
    size: int
    """Of the checkpoint file, in bytes."""
    crc32: int
    """Of the complete file."""
    save_s: float | None = None
    """That writing it took; None where nobody measured it."""


def manifest_path(checkpoint: Path) -> Path:
    return checkpoint.with_suffix(".json")


def manifest_text(manifest: Manifest) -> str:
    """The manifest as JSON, with a checksum of its own."""
    plain = to_plain(manifest)
    return json.dumps({**plain, "checksum": _checksum(plain)}, indent=2) + "\n"


def read_manifest(checkpoint: Path) -> Manifest | None:
    """The manifest of a checkpoint; None where there is none, or none that can be relied on."""
    try:
        plain = json.loads(manifest_path(checkpoint).read_bytes())
        checksum = plain.pop("checksum")
        return from_plain(Manifest, plain) if checksum == _checksum(plain) else None
    except (OSError, ValueError, AttributeError, KeyError, TypeError, RecursionError, BaseValidationError):
        return None


def _checksum(plain: object) -> int:
    return zlib.crc32(json.dumps(plain, sort_keys=True).encode())
