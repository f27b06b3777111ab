"""What codes in brackets behind messages about data mean, for people who look one up. Takes it from the messages."""

from __future__ import annotations

from collections.abc import Mapping

from launcher.data.messages import ERRORS, EVALUATION_ERRORS, HINTS, MODEL_ERRORS, NOTICES, Message
from launcher.data.suspicions import SUSPICIONS

_OF_ANY = {
    "count": "n",
    "num_images": "m",
    "num_objects": "m",
    "num_headers": "m",
    "images": "<folder>",
    "json": "<file>",
    "split": "<train or val>",
}
"""In place of the numbers and names of one data set."""
_TABLES: tuple[Mapping[str, Message], ...] = (
    ERRORS,
    NOTICES,
    HINTS,
    *({code: message for code, (_, message) in table.items()} for table in (MODEL_ERRORS, EVALUATION_ERRORS)),
    {code: Message(f"n of m {one.of} {one.message}", "") for code, one in SUSPICIONS.items()},
)
CODES = tuple(dict.fromkeys(code for table in _TABLES for code in table))


def messages_of(code: str) -> list[Message]:
    """What is said of such data, and what to do; more than one where it matters in several ways, none if not known."""
    return [_of_any(table[code]) for table in _TABLES if code in table]


def _of_any(message: Message) -> Message:
    return Message(message.without_examples.format(**_OF_ANY), message.fix.format(**_OF_ANY))
