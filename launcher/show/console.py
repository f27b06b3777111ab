"""The console for people."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from launcher.errors import printable
from launcher.show.stream import patient


class PrintableConsole(Console):
    """Spells out what a terminal would obey in whatever is printed: names come from files of other people.

    Rich's own colors and cursor movements are not part of a segment's text, and stay.
    """

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))


def make_console() -> Console:
    """A console on standard output as it is now, later redirections notwithstanding."""
    stream: Any = patient(sys.stdout, on_any_error=True)
    return PrintableConsole(file=stream, soft_wrap=True)
