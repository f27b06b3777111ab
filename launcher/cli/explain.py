"""`launcher explain`: what a code or the text of an error means. Probes no machine."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from launcher.device.causes.catalogue import BY_CODE, CAUSES, GROUPS, group_of
from launcher.device.causes.cause import Cause
from launcher.device.causes.error_text import Match, find_causes, nearest_codes
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
    if (code := asked.lower().strip("[]")) in BY_CODE:
        return _full(BY_CODE[code])
    if code in GROUPS:
        return _group(code)
    if found := find_causes(asked):
        return _matches(found)
    near = nearest_codes(asked)
    raise RequestError(
        f"no cause is known by {_shortened(asked)!r}. "
        + (f"The nearest codes are {', '.join(near)}. " if near else "")
        + "`launcher explain` lists all codes; `launcher doctor` diagnoses this machine."
    )


def _matches(found: tuple[Match, ...]) -> str:
    best, *others = found
    lines = [f"known by: {best.known_by}", "", _full(best.cause)]
    if others:
        lines += ["", "This text can also mean:"]
        lines += [_line(match.cause) for match in others[:MAX_OTHERS]]
        if best.cause.code.startswith("run."):
            lines += ["", "`launcher explain CODE` has more about each."]
        else:
            lines += ["", "`launcher doctor` finds out which of them applies here; `launcher explain CODE` has more."]
    return "\n".join(lines)


def _full(cause: Cause) -> str:
    parts = [f"{cause.code}: {cause.title}", "", *_wrapped("means", cause.meaning), *_wrapped("do", cause.fix)]
    for position, symptom in enumerate(cause.symptoms):
        parts += _wrapped("signs" if position == 0 else "", symptom)
    return "\n".join(parts)


def _wrapped(label: str, text: str) -> Iterable[str]:
    width = max(60, min(100, shutil.get_terminal_size().columns))
    return textwrap.wrap(
        text, width, initial_indent=f"  {label:7}", subsequent_indent=" " * 9,
        break_on_hyphens=False, break_long_words=False,
    )  # fmt: skip


def _group(name: str) -> str:
    return "\n".join((GROUPS[name], *(_line(cause) for cause in _causes_of(name))))


def _causes_of(name: str) -> Iterator[Cause]:
    return (cause for cause in CAUSES if group_of(cause.code) == name)


def _line(cause: Cause) -> str:
    return f"  {cause.code:28} {cause.title}"


def _shortened(text: str) -> str:
    return textwrap.shorten(text, 80, placeholder=" ...")
