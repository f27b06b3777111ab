"""Whether a stream gets colors, and what is said on standard error in them, after uv's fashion."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any

from launcher.errors import printable

RED, YELLOW, CYAN, BOLD, PLAIN = "\x1b[31m", "\x1b[33m", "\x1b[36m", "\x1b[1m", "\x1b[0m"
COLORS = {"error": RED, "warning": YELLOW, "hint": CYAN, "note": CYAN}
_LABEL = re.compile(rf"^({'|'.join(COLORS)}):", re.MULTILINE)


def is_colored(stream: Any, environ: Mapping[str, str]) -> bool:
    """A terminal is, unless NO_COLOR is set or TERM is `dumb`; anything else with FORCE_COLOR or CLICOLOR_FORCE."""
    if environ.get("NO_COLOR"):
        return False
    if any(environ.get(name, "0") not in ("", "0") for name in ("FORCE_COLOR", "CLICOLOR_FORCE")):
        return True
    return is_terminal(stream) and environ.get("TERM", "") != "dumb"


def is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError, OSError):  # no stream, or one that was closed
        return False


def colored_labels(text: str) -> str:
    """The text with `error:`, `warning:`, `hint:` and `note:` in color where a line begins with one."""
    return _LABEL.sub(lambda found: f"{BOLD}{COLORS[found[1]]}{found[1]}{PLAIN}{BOLD}:{PLAIN}", text)


def show_on_stderr(text: str, environ: Mapping[str, str]) -> None:
    """Print lines such as `error: …` and `hint: …`, with nothing in them that a terminal would obey."""
    text = printable(text)
    print(colored_labels(text) if is_colored(sys.stderr, environ) else text, file=sys.stderr)
