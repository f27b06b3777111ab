"""Tables and paragraphs that fit a screen without breaking a word; without a width, as for files, in whole lines."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from rich.cells import cell_len

Row = Sequence[str]
GAP = 2
INDENT = 4
SHORT = 16
"""Columns of that width, such as of durations, stay in one line."""


def table(rows: Sequence[Row], *, width: int | None = None) -> str:
    """Rows below a row of headings, in columns as wide as their widest cell.

    Where that is wider than `width`, long cells wrap between words; where it still is, the first cell of each row gets
    a line of its own, with the others below it.
    """
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    if width is None or _total(widths) <= width:
        return "\n".join(_line(row, widths) for row in rows)
    if (shrunk := _shrunk(widths, rows, width)) is not None:
        return "\n".join(line for row in rows for line in _wrapped_row(row, shrunk))
    return "\n".join(_stacked(rows, width))


def wrapped(text: str, *, width: int | None, indent: int = 2) -> str:
    """One paragraph in lines of that width, all but the first indented; a name with a single word stays beside it."""
    if width is None or cell_len(text) <= width or len(text.split()) <= 2:
        return text
    head = text[: len(text) - len(text.lstrip())]
    lines = _wrap(text.strip(), width - len(head), indent)
    return "\n".join(head + line for line in lines)


def _wrap(text: str, width: int, indent: int = 0) -> list[str]:
    return textwrap.wrap(
        text, max(width, 1), subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
    ) or [""]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def _line(row: Row, widths: Sequence[int]) -> str:
    padded = (cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True))
    return (" " * GAP).join(padded).rstrip()


def _shrunk(widths: Sequence[int], rows: Sequence[Row], width: int) -> list[int] | None:
    """Narrower columns that fit, the widest made narrower first; None where their words do not fit."""
    least = [
        min(widest, max(SHORT, *(cell_len(word) for row in rows for word in row[index].split() or [""])))
        for index, widest in enumerate(widths)
    ]
    if _total(least) > width:
        return None
    shrunk = list(widths)
    while _total(shrunk) > width:
        widest = max(range(len(shrunk)), key=lambda index: (shrunk[index] > least[index], shrunk[index]))
        shrunk[widest] -= 1
    return shrunk


def _wrapped_row(row: Row, widths: Sequence[int]) -> Iterator[str]:
    cells = [_wrap(cell, width) for cell, width in zip(row, widths, strict=True)]
    yield from (_line(line, widths) for line in zip_longest(*cells, fillvalue=""))


def _stacked(rows: Sequence[Row], width: int) -> Iterator[str]:
    """Each row's first cell, and below it the others with their headings."""
    headings, *others = rows
    yield headings[0]
    for name, *cells in others:
        yield name
        named = [f"{heading} {cell}" for heading, cell in zip(headings[1:], cells, strict=True) if cell]
        yield from (" " * INDENT + line for line in flowing(named, width - INDENT))


def flowing(parts: Sequence[str], width: int, *, gap: int = GAP) -> Iterator[str]:
    """As many parts in a line as fit; one that alone does not wraps."""
    line = ""
    for part in parts:
        longer = f"{line}{' ' * gap}{part}" if line else part
        if cell_len(longer) <= width:
            line = longer
            continue
        if line:
            yield line
        *whole, line = _wrap(part, width, GAP)
        yield from whole
    if line:
        yield line
