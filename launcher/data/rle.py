"""Reads run-length encoded masks as pycocotools does, without making a bitmap of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import accumulate

_COMPRESSED = re.compile(r"(?:[P-o]{0,6}[0-O])*")
"""Numbers of up to seven letters, five bits in each; the last letter of a number is one of 0 to O.

pycocotools reads and writes beyond its memory where the last letter of all is another one.
"""


def is_compressed(counts: str) -> bool:
    return _COMPRESSED.fullmatch(counts) is not None


def run_lengths(counts: str) -> list[int]:
    """The lengths of background and foreground in turn; those of a damaged RLE may be negative."""
    lengths: list[int] = []
    number = shift = 0
    for letter in counts.encode():
        bits = letter - 48
        number |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            number -= 1 << shift
        # From the fourth on, the difference to the one before the last is stored.
        lengths.append(number + lengths[-2] if len(lengths) > 2 else number)
        number = shift = 0
    return lengths


def edges_of(lengths: Sequence[int], height: int) -> tuple[int, int, int, int] | None:
    """Left, top, right and bottom of the foreground of a mask of that height; None where all is background."""
    ends = list(accumulate(lengths))
    runs = [(start, end - 1) for start, end in zip(ends[::2], ends[1::2], strict=False) if end > start]
    if not runs:
        return None
    left, right = runs[0][0] // height, runs[-1][1] // height
    if any(start // height != last // height for start, last in runs):  # into the next column
        return left, 0, right + 1, height
    return left, min(start % height for start, _ in runs), right + 1, max(last % height for _, last in runs) + 1
