"""The commands and files that README.md and docs/ show, taken out of the pages as they stand there.

An invisible note above a block says what a test cannot do:

    <!-- not run: slurm -->                  the block needs what no test has; the reasons are NOT_RUN's
    <!-- not run: network: model=COCO -->    only those of its lines that have this text in them
    <!-- ends with: 2 -->                    its commands end with this exit code
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
PAGES = ("README.md", *sorted(f"docs/{page.name}" for page in (REPOSITORY / "docs").glob("*.md")))
NOT_RUN = {
    "gpu": "needs an NVIDIA GPU",
    "network": "downloads something",
    "slurm": "needs a scheduler",
    "minutes": "takes minutes, or installs gigabytes",
    "stays": "runs until it is stopped",
    "elsewhere": "a test of its own runs it, with what else it takes",
}
PROGRAMS = ("launcher", "make", "python", "python3", "pip", "uv", "uvx", "git", "source", "sh", "bash", "export", "cat")
"""A line of a block that begins with one of these is a command, and all others are what it prints."""
FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
NOTE = re.compile(r"<!-- (?P<kind>not run|ends with): (?P<value>\w+)(?:: (?P<only>.+?))? -->")
NAMED_FILE = re.compile(
    r"\A(?:#.*\n)*?# (?P<name>[\w./-]+\.(?:py|yaml|sh))\b:?[ ]*(?P<command>launcher .*)?$", re.MULTILINE
)
"""Among the comments that a block begins with; the first may be Hydra's."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command line of a page."""

    page: str
    line: int
    text: str
    """On one line, without the comment behind it."""
    not_run: str
    """Why no test runs it; empty where one does."""
    ends_with: int
    """Its exit code."""

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What a page shows: its commands in order, and the files and programs in its blocks."""

    page: str
    commands: tuple[Command, ...]
    files: dict[str, str]
    """By name, of blocks whose first line names a file."""
    programs: tuple[tuple[int, str], ...]
    """Python that has no name, each with its line."""


def shown_in(page: str, text: str | None = None) -> Shown:
    """Everything on a page, or on a page of that text."""
    text = (REPOSITORY / page).read_text() if text is None else text
    commands: list[Command] = []
    files, programs = {}, []
    for block in FENCE.finditer(text):
        line = text.count("\n", 0, block.start()) + 2
        notes = _notes_above(text[: block.start()])
        content, language = block["text"], block["language"]
        named = NAMED_FILE.match(content)
        if named:
            files[named["name"]] = content
            if named["command"]:
                commands.append(_command(page, line, named["command"], notes))
        elif language == "python":
            programs.append((line, content))
        elif language != "yaml":
            commands += (_command(page, line + at, one, notes) for at, one in command_lines(content))
    return Shown(page=page, commands=tuple(commands), files=files, programs=tuple(programs))


def command_lines(block: str) -> Iterator[tuple[int, str]]:
    """The commands of a block with their places in it; lines that end with a backslash are one."""
    begun, at = "", 0
    for number, line in enumerate(block.splitlines()):
        text = (begun + line.strip()) if begun else without_prompt(line)
        if not begun:
            at = number
            if not text or text[0].isspace() or text.split()[0] not in PROGRAMS:
                continue
        if text.endswith("\\"):
            begun = text[:-1].rstrip() + " "
            continue
        begun = ""
        yield at, without_comment(text)


def without_prompt(line: str) -> str:
    return line.removeprefix("$ ")


def without_comment(line: str) -> str:
    """As a shell reads it: a number sign after a space, and not in quotes."""
    quoted = ""
    for place, character in enumerate(line):
        if character in "'\"" and quoted in ("", character):
            quoted = "" if quoted else character
        elif character == "#" and not quoted and line[place - 1 : place].isspace():
            return line[:place].rstrip()
    return line.rstrip()


def inline_commands(page: str) -> Iterator[tuple[int, str]]:
    """What stands in a sentence, `launcher eval RUN`, with its line."""
    text = FENCE.sub(lambda block: "\n" * block[0].count("\n"), (REPOSITORY / page).read_text())
    for number, line in enumerate(text.splitlines(), start=1):
        for found in re.findall(r"(?<!`)`(launcher [^`]+)`(?!`)", line):
            yield number, found


def _notes_above(text: str) -> list[re.Match[str]]:
    """Those that stand right above a block."""
    above = re.search(r"(?:^<!-- .* -->\n)*\Z", text, re.MULTILINE)
    return list(NOTE.finditer(above[0])) if above else []


def _command(page: str, line: int, text: str, notes: list[re.Match[str]]) -> Command:
    of_it = [note for note in notes if not note["only"] or note["only"] in text]
    not_run = next((note["value"] for note in of_it if note["kind"] == "not run"), "")
    ends_with = next((int(note["value"]) for note in of_it if note["kind"] == "ends with"), 0)
    return Command(page=page, line=line, text=text, not_run=not_run, ends_with=ends_with)
