"""The width of the screen within bounds, and lines that are cut to fit it. Imports nothing."""

from __future__ import annotations

import shutil


def width_between(narrowest: int, widest: int) -> int:
    """That of the screen, where it is neither narrower nor wider than that."""
    return max(narrowest, min(widest, shutil.get_terminal_size().columns))


def cut(line: str, width: int) -> str:
    """The line, or as much of it as fits."""
    return line if len(line) <= width else f"{line[: width - 1].rstrip()}…"
