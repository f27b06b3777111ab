"""`launcher explain`: what a code or the text of an error means. Looks at no machine."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from launcher.device.causes.error_text import Match, find_causes, nearest_codes
from launcher.device.causes.running import BY_CODE, ENTRIES, GROUPS, Entry, group_of
from launcher.errors import ExitCode, RequestError

MAX_OTHERS = 8


def run(arguments: Sequence[str]) -> int:
    """Print the explanation.

    Raises:
        RequestError: nothing is known about what was asked.
    """
    if {"-h", "--help"} & set(arguments):
        print('usage: launcher explain [CODE | GROUP | "TEXT OF AN ERROR"]; alone it lists every code')
    else:
        print(explanation(" ".join(arguments)))
    return ExitCode.finished


def explanation(asked: str) -> str:
    """For a code, a group of codes, the text of an error, or nothing, which lists all codes.

    Raises:
        RequestError: nothing is known about it.
    """
    asked = asked.strip()
    if not asked:
        return "\n\n".join(_group(name) for name in GROUPS)
    if (code := asked.lower()) in BY_CODE:
        return _full(BY_CODE[code])
    if code in GROUPS:
        return _group(code)
    if found := find_causes(asked):
        return _matches(found)
    near = nearest_codes(asked)
    raise RequestError(
        f"no cause is known by {_shortened(asked)!r}. "
        + (f"The nearest codes are {', '.join(near)}. " if near else "")
        + "`launcher explain` lists all codes; `launcher doctor` looks at this machine."
    )


def _matches(found: tuple[Match, ...]) -> str:
    best, *others = found
    lines = [
        f"known by: {best.symptom}" if best.exact else f"not known word for word; nearest to: {best.symptom}",
        "",
        _full(best.entry),
    ]
    if others:
        lines += ["", "This text can also mean:"]
        lines += [_line(match.entry) for match in others[:MAX_OTHERS]]
        if best.entry.code.startswith("run."):
            lines += ["", "`launcher explain CODE` says more about each."]
        else:
            lines += ["", "`launcher doctor` says which of them holds here; `launcher explain CODE` says more."]
    return "\n".join(lines)


def _full(entry: Entry) -> str:
    parts = [f"{entry.code}: {entry.title}", "", *_wrapped("means", entry.meaning), *_wrapped("do", entry.todo)]
    for position, symptom in enumerate(entry.symptoms):
        parts += _wrapped("signs" if position == 0 else "", symptom)
    return "\n".join(parts)


def _wrapped(label: str, text: str) -> Iterable[str]:
    width = max(60, min(100, shutil.get_terminal_size().columns))
    return textwrap.wrap(
        text, width, initial_indent=f"  {label:7}", subsequent_indent=" " * 9,
        break_on_hyphens=False, break_long_words=False,
    )  # fmt: skip


def _group(name: str) -> str:
    return "\n".join((GROUPS[name], *(_line(entry) for entry in _entries_of(name))))


def _entries_of(name: str) -> Iterator[Entry]:
    return (entry for entry in ENTRIES if group_of(entry.code) == name)


def _line(entry: Entry) -> str:
    return f"  {entry.code:28} {entry.title}"


def _shortened(text: str) -> str:
    return textwrap.shorten(text, 80, placeholder=" ...")
