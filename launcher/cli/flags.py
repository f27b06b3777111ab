"""Which words of a command line are settings, and which are flags of our own beside Hydra's."""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Sequence

from launcher.config.arguments import DETACH


def take_flag(arguments: Sequence[str], flag: str) -> tuple[list[str], bool]:
    """The arguments without the flag, and whether it was among them."""
    return [argument for argument in arguments if argument != flag], flag in arguments


def with_detach(arguments: Sequence[str]) -> list[str]:
    """The arguments with the setting that `--detach` is short for."""
    rest, detaches = take_flag(arguments, DETACH)
    return [*rest, "cluster.detach=true"] if detaches else rest


def asks_for_help(arguments: Sequence[str]) -> bool:
    """Whether our help is wanted; Hydra's own is asked for with `--hydra-help`."""
    return bool({"-h", "--help"} & set(arguments))


def without_settings(command: Sequence[str], settings: Collection[str]) -> str:
    """What was typed but for the settings, for a shell: a command line with other settings begins with it."""
    return shlex.join(word for word in command if word not in settings)


def is_setting(word: str) -> bool:
    """Whether a word that could also name a file is one; a file may have any name, and is meant where there is one."""
    return ("=" in word or word.startswith(("+", "~"))) and not os.path.lexists(word) and word[:2] != "~/"
