"""`launcher completion`: the tab key in bash, zsh and fish."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from launcher.errors import ExitCode, RequestError, printable
from launcher.files import write_text

BASH = """\
_launcher() {
    local line="${COMP_LINE:0:$COMP_POINT}" one
    local typed="${line##*[[:space:]]}" begun=""
    # What bash takes for words of their own: it completes only what follows the last of these.
    case "$COMP_WORDBREAKS" in *=*) begun="${typed%"${typed##*=}"}" ;; esac
    COMPREPLY=()
    while IFS= read -r one; do
        COMPREPLY+=("${one#"$begun"}")
        case "$one" in *[=.]) compopt -o nospace ;; esac
    done < <("${COMP_WORDS[0]/#\\~/$HOME}" completion words -- "$line" 2> /dev/null)
}
complete -o bashdefault -o default -F _launcher launcher
"""
ZSH = """\
#compdef launcher
_launcher() {
    local one; local -a found open closed
    found=("${(@f)$("${~words[1]}" completion words -- "${(j: :)words[1,CURRENT-1]} $PREFIX" 2> /dev/null)}")
    for one in $found; do
        case "$one" in *[=.]) open+=("$one") ;; ?*) closed+=("$one") ;; esac
    done
    if (( ! ${#open} && ! ${#closed} )); then
        compset -P '*='
        _files
        return
    fi
    (( ${#open} )) && compadd -S '' -- $open
    (( ${#closed} )) && compadd -- $closed
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
compdef _launcher launcher
"""
FISH = """\
function __launcher_complete
    set -l program (string replace -r '^~' $HOME -- (commandline -opc)[1])
    set -l found ($program completion words -- (commandline -cp | string collect) 2> /dev/null)
    if test (count $found) -gt 0
        string join \\n -- $found
    else
        set -l typed (commandline -ct)
        set -l begun (string match -r '^.*=' -- $typed)
        for file in (__fish_complete_path (string replace -r '^.*=' '' -- $typed))
            echo "$begun$file"
        end
    end
end
complete -c launcher -e
complete -c launcher -f -a '(__launcher_complete)'
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}
MARK = "# completion of launcher"


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where a shell finds its completions."""

    script: Path
    startup: Path | None
    """The file that a shell reads when it starts and that has to name the script; fish looks by itself."""

    @property
    def line(self) -> str:
        return f'[ -r "{self.script}" ] && . "{self.script}"  {MARK}'


def run(arguments: Sequence[str]) -> int:
    """Print the script of a shell, put it in its place or take it away.

    Raises:
        RequestError: no such shell is known, or its files cannot be written.
    """
    if arguments[:2] == ["words", "--"]:
        _print_words(arguments[2] if len(arguments) > 2 else "")
        return ExitCode.finished
    asked = _parser().parse_args(arguments)
    if asked.what in SCRIPTS:
        print(SCRIPTS[asked.what], end="")
        return ExitCode.finished
    shell = asked.shell or _shell_of(os.environ)
    places = places_of(shell, os.environ)
    try:
        message = install(shell, places) if asked.what == "install" else uninstall(shell, places)
    except OSError as error:
        raise RequestError(
            f"{error}. `launcher completion {shell}` prints the script; have your shell read it from another place."
        ) from error
    print(printable(message))
    return ExitCode.finished


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="launcher completion",
        description="The tab key for commands, options, settings and their values, models, runs.",
    )
    parser.add_argument("what", choices=("install", "uninstall", *SCRIPTS), help="a shell's name prints its script")
    parser.add_argument("shell", nargs="?", choices=tuple(SCRIPTS), help="of another shell than $SHELL")
    return parser


def _print_words(line: str) -> None:
    # What knows all that can be typed is imported by the tab key alone.
    commands = tuple(import_module("launcher.cli.main").COMMANDS)
    for one in import_module("launcher.cli.candidates").candidates(line, commands):
        print(one)


def _shell_of(environ: Mapping[str, str]) -> str:
    name = os.path.basename(environ.get("SHELL", ""))
    if name not in SCRIPTS:
        raise RequestError(
            f"SHELL={environ.get('SHELL', '')} is none of {', '.join(SCRIPTS)}. Name yours: launcher completion "
            "install bash"
        )
    return name


def places_of(shell: str, environ: Mapping[str, str]) -> Places:
    """By the rules of that shell."""
    home = Path(environ.get("HOME") or Path.home())
    if shell == "fish":
        config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
        return Places(script=config / "fish/completions/launcher.fish", startup=None)
    data = Path(environ.get("XDG_DATA_HOME") or home / ".local/share")
    startup = home / ".bashrc" if shell == "bash" else Path(environ.get("ZDOTDIR") or home) / ".zshrc"
    return Places(script=data / f"detectron2-launcher/completion.{shell}", startup=startup)


def install(shell: str, places: Places) -> str:
    """Write the script, and the line that has it read; done twice it is there once."""
    write_text(places.script, SCRIPTS[shell])
    if places.startup is None:
        return f"{places.script} is written. New {shell} shells complete launcher."
    before = _lines_of(places.startup)
    if places.line not in before:
        _rewrite(places.startup, [*_without_ours(before), places.line])
    return f"{places.script} is written and {places.startup} reads it. In this shell: . {places.script}"


def uninstall(shell: str, places: Places) -> str:
    """Take both away."""
    places.script.unlink(missing_ok=True)
    if places.startup is not None and (before := _lines_of(places.startup)) != (kept := _without_ours(before)):
        _rewrite(places.startup, kept)
    return f"{shell} no longer completes launcher in new shells."


def _rewrite(startup: Path, lines: Sequence[str]) -> None:
    # Not renamed over: many keep such a file as a link into a repository, with rights of its own.
    with startup.open("w") as file:
        file.write("\n".join([*lines, ""]))


def _lines_of(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def _without_ours(lines: Sequence[str]) -> list[str]:
    return [line for line in lines if not line.endswith(MARK)]
