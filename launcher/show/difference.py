"""Differences of two runs, as a person reads them and as a program does (JSON)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from typing import Any

from launcher.run.difference import Difference, RunDifference
from launcher.show.table import table, wrapped

LONGEST = 48


def difference_text(found: RunDifference, one: str, other: str, *, width: int | None = None) -> str:
    """A table for each kind of difference; what is the same is one line."""
    kinds = {field.name: getattr(found, field.name) for field in fields(found)}
    same = [kind for kind, differences in kinds.items() if not differences]
    parts = [_section(kind, differences, one, other, width) for kind, differences in kinds.items() if differences]
    if same:
        parts.append(wrapped(f"the same in both: {', '.join(same)}", width=width))
    return "\n\n".join(parts)


def difference_json(found: RunDifference) -> str:
    return json.dumps(asdict(found), indent=2, default=str)


def _section(kind: str, differences: Sequence[Difference], one: str, other: str, width: int | None) -> str:
    rows = [[kind, one, other], *([part.name, _text(part.one), _text(part.other)] for part in differences)]
    return table(rows, width=width)


def difference_lines(differences: Sequence[Difference]) -> Iterator[str]:
    """`torch: 2.4 there, 2.5 here`."""
    yield from (f"{part.name}: {_text(part.one)} there, {_text(part.other)} here" for part in differences)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    text = (
        f"{value:.4f}".rstrip("0").rstrip(".") if isinstance(value, float) and 1e-3 < abs(value) < 1e6 else str(value)
    )
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
