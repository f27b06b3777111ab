"""What detectron2's own comments say of its keys, read from the source of the installed version."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

from detectron2.config import defaults

ASSIGNMENT = re.compile(r"^_C\.([\w.]+) = (.*)$")
RULER = re.compile(r"^#\s*-{10,}")


def key_meanings() -> dict[str, str]:
    """By key, the comment above it and the one behind it; keys without any are left out."""
    return meanings_in(inspect.getsource(defaults))


def meanings_in(source: str) -> dict[str, str]:
    """The comments of a module that assigns keys one by one, as `_C.SOLVER.GAMMA = 0.1`."""
    found: dict[str, str] = {}
    above: list[str] = []
    for line in source.splitlines():
        if line.startswith("#"):
            above.append(line)
            continue
        if match := ASSIGNMENT.match(line):
            text = " ".join([*_words(above), *_behind(match[2])])
            found |= {match[1]: text} if text else {}
        above = []
    return found


def _words(comments: list[str]) -> Iterator[str]:
    """What they say; the title of a section, which stands between rulers, is about no key."""
    if any(RULER.match(line) for line in comments):
        return
    yield from (text for line in comments if (text := line.lstrip("# ").strip()))


def _behind(code: str) -> Iterator[str]:
    if (match := re.search(r"""^[^'"#]*(?:(?:'[^']*'|"[^"]*")[^'"#]*)*#\s*(.+)$""", code)) is not None:
        yield match[1].strip()
