"""`launcher explain`: what a code, the text of an error, a setting or the end of a run means. Probes no machine."""

from __future__ import annotations

import os
import re
import stat
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from launcher.device.causes.catalogue import BY_CODE, CAUSES, GROUPS, group_of
from launcher.device.causes.cause import Cause
from launcher.device.causes.error_text import Match, find_causes, nearest_codes
from launcher.errors import ExitCode, RequestError, printable
from launcher.show.screen import width_between

MAX_OTHERS = 8
MAX_READ = 1_000_000
"""Bytes of a file or pipe: its end, where an error's text is."""
USAGE = """\
usage: launcher explain [WHAT] [--run RUN]

  launcher explain driver.too_old                      a code, or a group of codes
  launcher explain box.corners                         a code of launcher data check
  launcher explain "no kernel image is available"      a piece of an error's text
  launcher explain SOLVER.LR_SCHEDULER_NAME            a setting, or a node such as SOLVER
  launcher explain SOLVER.BASE_LR --run demo/default   and who set it in that run
  launcher explain log.txt                             a file; a pipe works too
  launcher explain demo/default                        how a run ended

Without anything it lists every code."""
LOOKS_LIKE_A_NAME = re.compile(r"\+{0,2}[A-Za-z_][\w.]*(=.*)?")
SETTINGS = "launcher.cli.setting"
RUNS = "launcher.cli.ended"
DATA = "launcher.data.codes"


def run(arguments: Sequence[str]) -> int:
    """Print the explanation.

    Raises:
        RequestError: nothing is known about what was asked.
    """
    if {"-h", "--help"} & set(arguments):
        print(USAGE)
        return ExitCode.finished
    words, run_name = _take_run(arguments)
    text = _piped(sys.stdin) if words == ["-"] or (not words and _is_pipe(sys.stdin)) else " ".join(words)
    print(printable(explanation(text, run_name)))
    return ExitCode.finished


def explanation(asked: str, run_name: str = "") -> str:
    """For a code, a group of codes, the text of an error, a setting, a file, a run, or nothing, which lists all codes.

    Raises:
        RequestError: nothing is known about it.
    """
    asked = asked.strip()
    if run_name:
        return _setting(asked, run_name)
    if not asked:
        return "\n\n".join(_group(name) for name in GROUPS)
    if (code := asked.lower().strip("[]")) in BY_CODE:
        return _full(BY_CODE[code])
    if code in GROUPS:
        return _group(code)
    if (content := _content_of(asked)) is not None:
        return _of_text(content, asked)
    if "." in asked and (text := _setting(asked, "")):
        return text
    if text := _of_data(code):
        return text
    if os.path.isdir(asked):
        return _run(asked)
    if found := find_causes(asked):
        return _matches(found)
    return _setting(asked, "") or _run(asked) or _refuse(asked)


# What was asked


def _take_run(arguments: Sequence[str]) -> tuple[list[str], str]:
    """The words, and the run that `--run` names."""
    words, name = [], ""
    waiting = iter(arguments)
    for word in waiting:
        if word == "--run":
            name = next(waiting, "")
        elif word.startswith("--run="):
            name = word.partition("=")[2]
        else:
            words.append(word)
            continue
        if not name:
            raise RequestError("--run needs a value: launcher explain SOLVER.BASE_LR --run demo/default")
    return words, name


def _is_pipe(stream: IO[str] | None) -> bool:
    """Whether somebody sends text; a terminal, or nothing at all, is not asked."""
    with suppress(OSError, ValueError, AttributeError):
        mode = os.fstat(stream.fileno()).st_mode  # type: ignore[union-attr]
        return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)
    return False


def _piped(stream: Any) -> str:
    text: str = stream.buffer.read().decode(errors="replace")[-MAX_READ:]
    if not text.strip():
        raise RequestError(
            "nothing came through the pipe. Errors go to the other stream: COMMAND 2>&1 | launcher explain"
        )
    return text


def _content_of(asked: str) -> str | None:
    """The end of the file of that name; None where there is none."""
    with suppress(OSError, ValueError):
        file = Path(asked).expanduser()
        if file.is_file():
            with file.open("rb") as stream:
                stream.seek(max(0, os.path.getsize(file) - MAX_READ))
                return stream.read().decode(errors="replace")
    return None


def _of_text(text: str, name: str) -> str:
    if found := find_causes(text):
        return _matches(found)
    lines = text.strip().splitlines()
    raise RequestError(
        f"{name} has no error that is known. Its last line is {_shortened(lines[-1]) if lines else 'empty'!r}. "
        "`launcher explain` lists all codes; `launcher doctor` diagnoses this machine."
    )


def _setting(asked: str, run_name: str) -> str:
    """About a setting; empty where there is none of that name."""
    # Causes are looked up in a hurry, and need nothing of what is behind settings.
    folder = import_module(RUNS).folder_of(run_name) if run_name else None
    text = str(import_module(SETTINGS).setting_explanation(asked, folder)) if LOOKS_LIKE_A_NAME.fullmatch(asked) else ""
    if run_name and not text:
        raise RequestError(
            f"--run tells who set a setting, and {_shortened(asked)!r} is none. {_nearest(asked)}"
            "`launcher list settings` lists them."
        )
    return text


def _run(asked: str) -> str:
    """About the end of the run of that name; empty where there is none."""
    return str(import_module(RUNS).end_explanation(asked, _matches)) if " " not in asked else ""


def _of_data(code: str) -> str:
    """About what `launcher data check` prints that code of; empty where it is none of these."""
    said = import_module(DATA).messages_of(code) if LOOKS_LIKE_A_NAME.fullmatch(code) and "." in code else []
    parts = [line for one in said for line in (*_wrapped("means", one.what), *_wrapped("do", one.fix))]
    return "\n".join([f"{code}: found in a data set", "", *parts]) if said else ""


def _refuse(asked: str) -> str:
    near = nearest_codes(asked)
    raise RequestError(
        f"nothing is known by {_shortened(asked)!r}: no code, no error text, no setting and no run. "
        + (f"The nearest codes are {', '.join(near)}. " if near else _nearest(asked))
        + "`launcher explain` lists all codes; `launcher doctor` diagnoses this machine."
    )


def _nearest(asked: str) -> str:
    near = import_module(SETTINGS).nearest_to(asked) if LOOKS_LIKE_A_NAME.fullmatch(asked) else ()
    return f"The nearest settings are {', '.join(near)}. " if near else ""


# The answer


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
    width = width_between(60, 100)
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
