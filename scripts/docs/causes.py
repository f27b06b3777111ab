"""Writes docs/causes.md from the causes: python scripts/docs/causes.py"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from launcher.device.causes.catalogue import CAUSES, GROUPS, group_of
from launcher.device.causes.cause import Cause

PAGE = Path(__file__).parents[2] / "docs/causes.md"
HEAD = """\
# Causes, by code and by error text

<!-- Written by scripts/docs/causes.py from launcher/device/causes/. -->

Search this page for a code that `launcher doctor` or a failed run shows, or for a piece of the error text that you saw.
The same on the command line: `launcher explain driver.too_old`, `launcher explain "no kernel image is available"`.
Codes that begin with `run.` show only while something runs; all others are found before a training starts, and the
doctor's advice may then be more exact than here, because it knows the machine.
A `…` in a text stands for anything.
"""


def page() -> str:
    return "\n".join([HEAD, *(part for group in GROUPS for part in section(group))]).rstrip() + "\n"


def section(group: str) -> Iterator[str]:
    yield f"## {GROUPS[group]}\n"
    for cause in CAUSES:
        if group_of(cause.code) == group:
            yield from paragraph(cause)


def paragraph(cause: Cause) -> Iterator[str]:
    yield f"### `{cause.code}`: {escaped(cause.title)}\n"
    yield f"{escaped(cause.meaning)}\n"
    yield f"**What to do:** {escaped(cause.fix)}.\n"
    if cause.symptoms:
        yield "Texts:\n"
        yield from (f"* `{symptom}`" if "`" not in symptom else f"* `` {symptom} ``" for symptom in cause.symptoms)
        yield ""


def escaped(text: str) -> str:
    """Angle brackets outside of code would be taken for HTML."""
    parts = text.split("`")
    return "`".join(part.replace("<", "\\<") if position % 2 == 0 else part for position, part in enumerate(parts))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
