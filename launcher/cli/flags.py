"""Flags of our own beside Hydra's."""

from __future__ import annotations

from collections.abc import Sequence


def take_flag(arguments: Sequence[str], flag: str) -> tuple[list[str], bool]:
    """The arguments without the flag, and whether it was among them."""
    return [argument for argument in arguments if argument != flag], flag in arguments


def asks_for_help(arguments: Sequence[str]) -> bool:
    """Whether our help is wanted; Hydra's own is asked for with `--hydra-help`."""
    return bool({"-h", "--help"} & set(arguments))
