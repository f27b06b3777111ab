"""The console for people."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from launcher.errors import printable
from launcher.show.colors import is_colored, is_terminal
from launcher.show.stream import patient


class PrintableConsole(Console):
    """Spells out what a terminal would obey in whatever is printed: names come from files of other people.

    Rich's own colors and cursor movements are not part of a segment's text, and stay.
    """

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))


def screen_width() -> int | None:
    """Columns of the terminal on standard output; None where that is none: files and pipes get whole lines."""
    return shutil.get_terminal_size().columns if is_terminal(sys.stdout) else None


def width_of(console: Console) -> int | None:
    """The same of a console."""
    return console.width if console.is_terminal else None


def make_console(*, quiet: bool = False, soft_wrap: bool = True) -> Console:
    """A console on standard output as it is now, later redirections notwithstanding; a `quiet` one prints nothing."""
    stream: Any = patient(sys.stdout, on_any_error=True)
    is_screen, has_colors = is_terminal(stream), is_colored(stream, os.environ)
    # Rich would take FORCE_COLOR for a terminal, and draw progress bars into a file.
    return PrintableConsole(
        file=stream,
        soft_wrap=soft_wrap,
        quiet=quiet,
        force_terminal=is_screen,
        no_color=not has_colors,
        color_system="auto" if is_screen else "standard" if has_colors else None,
    )
