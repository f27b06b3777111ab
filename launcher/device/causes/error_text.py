"""From the text of an error to the causes it is known by. Pure; reads nothing but the catalogue."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches

from launcher.device.causes.catalogue import BY_CODE, CAUSES
from launcher.device.causes.cause import Cause

# `…` in a symptom stands for anything within a line or two, not for half a log.
ANYTHING = r".{0,200}?"
BRACKETED_CODE = re.compile(r"\[([a-z0-9_.]+)\]")
BARE_CODE = re.compile(r"(?<![\w./-])([a-z][a-z0-9]*\.[a-z_]+)(?![\w/-]|\.\w)")


@dataclass(frozen=True, kw_only=True)
class Match:
    cause: Cause
    known_by: str
    """The piece of text: a code, or one of the cause's symptoms."""


def find_causes(text: str) -> tuple[Match, ...]:
    """The causes in a text, the most telling first; a pasted log may have many lines.

    A code that the launcher printed tells more than any words: `[run.hang]` first, then `run.hang` by itself.
    """
    return _first_of_each((*_by_code(text), *_by_symptom(text)))


def nearest_codes(text: str) -> tuple[str, ...]:
    """For a code that was mistyped."""
    return tuple(get_close_matches(text.strip().lower(), BY_CODE, n=3, cutoff=0.6))


def _by_code(text: str) -> Iterator[Match]:
    for pattern in (BRACKETED_CODE, BARE_CODE):
        for code in pattern.findall(text):
            if code in BY_CODE:
                yield Match(cause=BY_CODE[code], known_by=code)


def _by_symptom(text: str) -> list[Match]:
    """Longer pieces tell more, however many causes share them; of equally long ones the catalogue's order decides."""
    plain = _plain(text)
    lines = {_plain(line) for line in text.splitlines()}
    found = [
        Match(cause=cause, known_by=symptom)
        for cause in CAUSES
        for symptom in cause.symptoms
        if (_plain(symptom) in lines if _is_a_word(symptom) else re.search(_pattern(symptom), plain))
        or _is_piece_of(plain, symptom)
    ]
    return sorted(found, key=lambda match: -len(match.known_by))


def _first_of_each(found: Iterable[Match]) -> tuple[Match, ...]:
    first: dict[str, Match] = {}
    for match in found:
        first.setdefault(match.cause.code, match)
    return tuple(first.values())


def _plain(text: str) -> str:
    """Lower-case, one line, one kind of quotation mark: what copying and wrapping change does not count."""
    # A terminal breaks lines anywhere, and loggers put colours in.
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    text = re.sub(r"[`\"\u2018\u2019\u201c\u201d]", "'", text)
    return re.sub(r"\s+", " ", text).strip().lower()


def _is_a_word(symptom: str) -> bool:
    """An ordinary word, which means something only where nothing else is on the line."""
    return symptom.isalpha() and symptom[1:].islower()


def _pattern(symptom: str) -> str:
    if number := re.fullmatch(r"(cuda )?error (\d+):?", _plain(symptom)):
        # A single digit is the exit status of anything, and servers number their errors too.
        return rf"(?<!http )\b{number[1] or ''}error:? \(?{number[2]}\b"
    return ANYTHING.join(re.escape(piece) for piece in _plain(symptom).split("…"))


def _is_piece_of(plain: str, symptom: str) -> bool:
    """Who looks something up types the part that is remembered."""
    return len(re.findall(r"[a-z_][a-z0-9_]{2,}|\d{2,}", plain)) >= 2 and plain in _plain(symptom)
