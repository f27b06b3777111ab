"""Counts what is wrong with the entries of a file while it is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

_MAX_EXAMPLES = 3
_MAX_EXAMPLE_LENGTH = 200


@dataclass(frozen=True, kw_only=True)
class Flaw:
    """One kind of thing that is wrong with the entries of a file."""

    code: str
    """For example `annotation.unknown_image`; `messages.py` and `suspicions.py` say what each means."""
    count: int
    examples: tuple[str, ...]
    """The first few."""


@dataclass
class Tally:
    """Counts while a file is read."""

    flaws: dict[str, tuple[int, list[str]]] = field(default_factory=dict)

    def note(self, code: str, example: str) -> None:
        count, examples = self.flaws.setdefault(code, (0, []))
        if len(examples) < _MAX_EXAMPLES:
            examples.append(_shorten(printable(example)))
        self.flaws[code] = (count + 1, examples)

    def replace(self, code: str, examples: Sequence[str], *, count: int) -> None:
        """What is known of a whole file, in place of what was noted of single entries."""
        self.flaws[code] = (count, [_shorten(printable(example)) for example in examples[:_MAX_EXAMPLES]])

    def add(self, flaws: Sequence[Flaw]) -> None:
        """Take over what was counted of the entries behind those counted here."""
        for flaw in flaws:
            count, examples = self.flaws.setdefault(flaw.code, (0, []))
            examples.extend(flaw.examples[: _MAX_EXAMPLES - len(examples)])
            self.flaws[flaw.code] = (count + flaw.count, examples)

    def result(self) -> tuple[Flaw, ...]:
        return tuple(
            Flaw(code=code, count=count, examples=tuple(examples)) for code, (count, examples) in self.flaws.items()
        )


def listed(examples: Sequence[str], count: int, between: str = ", ") -> str:
    """The first few of so many."""
    return between.join(examples) + (f"{between}..." if count > len(examples) else "")


def _shorten(text: str) -> str:
    return text if len(text) <= _MAX_EXAMPLE_LENGTH else text[:_MAX_EXAMPLE_LENGTH] + "..."


def printable(text: str) -> str:
    """The text without what would steer a terminal or could not be encoded."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)
