"""Writes docs/causes.md from the catalogue: python scripts/docs/causes.py"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from launcher.device.causes.running import ENTRIES, GROUPS, Entry, group_of

PAGE = Path(__file__).parents[2] / "docs/causes.md"
HEAD = """\
# Causes, by code and by error text

<!-- Written by scripts/docs/causes.py from launcher/device/causes/running.py. -->

Search this page for a code that `launcher doctor` shows, or for a piece of the error text that you saw. The same on the
command line: `launcher explain driver.too_old`, `launcher explain "no kernel image is available"`.
Codes that begin with `run.` show only while something runs; all others are found before a training starts.
A `…` in a text stands for anything.
"""


def page() -> str:
    return "\n".join([HEAD, *(part for group in GROUPS for part in section(group))]).rstrip() + "\n"


def section(group: str) -> Iterator[str]:
    yield f"## {GROUPS[group]}\n"
    for entry in ENTRIES:
        if group_of(entry.code) == group:
            yield from paragraph(entry)


def paragraph(entry: Entry) -> Iterator[str]:
    yield f"### `{entry.code}`: {entry.title}\n"
    yield f"{entry.meaning}\n"
    yield f"**What to do.** {escaped(entry.todo)}\n"
    if entry.symptoms:
        yield "Texts:\n"
        yield from (f"* `{symptom}`" if "`" not in symptom else f"* `` {symptom} ``" for symptom in entry.symptoms)
        yield ""


def escaped(text: str) -> str:
    """Angle brackets outside of code would be taken for HTML."""
    parts = text.split("`")
    return "`".join(part.replace("<", "\\<") if position % 2 == 0 else part for position, part in enumerate(parts))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
