"""From the text of an error to the causes it is known for. Pure; reads nothing but the catalogue."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from launcher.device.causes.running import BY_CODE, ENTRIES, Entry

ENOUGH_ALIKE = 0.6
"""Share of a symptom's words, the rare ones counting more, that a text must hold to be taken for it."""
# `…` in a symptom stands for anything within a line or two, not for half a log.
ANYTHING = r".{0,200}?"


@dataclass(frozen=True, kw_only=True)
class Match:
    entry: Entry
    symptom: str
    """The piece of text by which it was known."""
    exact: bool
    """The text holds the symptom; else only most of its words."""


def find_causes(text: str) -> tuple[Match, ...]:
    """The causes whose symptoms are in the text, the most telling first; a pasted traceback may have many lines."""
    said = _plain(text)
    lines = {_plain(line) for line in text.splitlines()}
    exact = [
        (_telling(symptom), Match(entry=entry, symptom=symptom, exact=True))
        for entry, symptom in _symptoms()
        if (_plain(symptom) in lines if _is_a_word(symptom) else re.search(_pattern(symptom), said))
        or _is_piece_of(said, symptom)
    ]
    if exact:
        return _best_of_each(exact)
    return _best_of_each(
        (alike, Match(entry=entry, symptom=symptom, exact=False))
        for entry, symptom in _symptoms()
        if (alike := _likeness(symptom, said)) >= ENOUGH_ALIKE
    )


def nearest_codes(text: str) -> tuple[str, ...]:
    """Codes for who mistyped one or brought a text that nobody knows."""
    near = get_close_matches(text.strip().lower(), BY_CODE, n=3, cutoff=0.6)
    said = _plain(text)
    alike = sorted(((_likeness(symptom, said), entry.code) for entry, symptom in _symptoms()), reverse=True)
    return tuple(dict.fromkeys([*near, *(code for score, code in alike if score > 0.25)]))[:3]


def _symptoms() -> Iterable[tuple[Entry, str]]:
    return ((entry, symptom) for entry in ENTRIES for symptom in entry.symptoms)


def _best_of_each(found: Iterable[tuple[float, Match]]) -> tuple[Match, ...]:
    # Stable: of what is equally telling the catalogue's order decides.
    ranked = sorted(found, key=lambda scored: -scored[0])
    first: dict[str, Match] = {}
    for _, match in ranked:
        first.setdefault(match.entry.code, match)
    return tuple(first.values())


def _telling(symptom: str) -> float:
    """Longer pieces say more, however many causes share them."""
    return float(len(symptom))


def _plain(text: str) -> str:
    """Lower-case, one line, one kind of quotation mark: what copying and wrapping change does not count."""
    # A terminal breaks lines anywhere, and loggers put colours in.
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    text = re.sub(r"[`\"\u2018\u2019\u201c\u201d]", "'", text)
    return re.sub(r"\s+", " ", text).strip().lower()


def _is_a_word(symptom: str) -> bool:
    """An ordinary word, which means something only where nothing else is said."""
    return symptom.isalpha() and symptom[1:].islower()


def _pattern(symptom: str) -> str:
    if number := re.fullmatch(r"(cuda )?error (\d+):?", _plain(symptom)):
        # A single digit is the exit status of anything, and servers number their errors too.
        return rf"(?<!http )\b{number[1] or ''}error:? {number[2]}\b"
    return ANYTHING.join(re.escape(piece) for piece in _plain(symptom).split("…"))


def _is_piece_of(said: str, symptom: str) -> bool:
    """Who looks something up types the part that he remembers."""
    return len(_words(said)) >= 2 and said in _plain(symptom)


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z_][a-z0-9_]{2,}|\d{2,}", text)


def _names(words: set[str]) -> set[str]:
    """Those that name a library, a symbol or a number."""
    return {
        word
        for word in words
        if not word.isalpha() or (word.startswith("lib") and word not in ("library", "libraries"))
    }


_IN_HOW_MANY = Counter(word for _, symptom in _symptoms() for word in set(_words(_plain(symptom))))


def _likeness(symptom: str, said: str) -> float:
    words, there = set(_words(_plain(symptom))), set(_words(said))
    # One or two words in common are chance; and of another library or number nearly the same is said.
    if len(words & there) < 3 or not _names(words) <= there:
        return 0.0
    weights = {word: 1 / math.log(2 + _IN_HOW_MANY[word]) for word in words}
    return sum(weights[word] for word in words & there) / sum(weights.values())
