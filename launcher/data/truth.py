"""Annotations as they are measured against: one part of a file where only that is meant, and none with the id 0."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from launcher.data.portion import Portion, cut


def read_truth(file: Path, portion: Portion | None = None) -> dict[str, Any]:
    """What a COCO file holds, or that part of it, with every annotation numbered as COCO evaluation needs it.

    Raises:
        OSError, ValueError: it cannot be read, or is no JSON.
    """
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    if portion is not None:
        content = cut(content, portion)
    number_zero(content.get("annotations", ()))
    return content


def number_zero(annotations: Sequence[dict[str, Any]]) -> bool:
    """Give an annotation of id 0, which COCO evaluation takes for `not found`, the first number that none has.

    Returns whether there was one.
    """
    zeros = [entry for entry in annotations if entry.get("id") == 0]
    if zeros:
        taken = {entry.get("id") for entry in annotations}
        free = (number for number in itertools.count(1) if number not in taken)
        for entry, number in zip(zeros, free, strict=False):
            entry["id"] = number
    return bool(zeros)
