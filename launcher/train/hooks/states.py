"""The states of hooks in a checkpoint, in detectron2's format, and of several hooks of one class each its own."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from detectron2.engine import HookBase

logger = logging.getLogger(__name__)


def states_of(hooks: Iterable[HookBase]) -> dict[str, Any]:
    """The states of those that have one, by name."""
    states = {name: hook.state_dict() for name, hook in _named(hooks).items()}
    return {name: state for name, state in states.items() if state}


def load_states(hooks: Iterable[HookBase], states: Mapping[str, Any]) -> None:
    named = _named(hooks)
    for name, state in states.items():
        if name in named:
            named[name].load_state_dict(state)
        else:
            logger.warning("The checkpoint has the state of a hook %s, which this training does not have", name)


def _named(hooks: Iterable[HookBase]) -> dict[str, Any]:
    """By class, as detectron2 does it; it loses the states of further hooks of a class, which get a number here."""
    named: dict[str, Any] = {}
    numbers: dict[str, int] = {}
    for hook in hooks:
        name = type(hook).__qualname__
        numbers[name] = numbers.get(name, 0) + 1
        named[name if numbers[name] == 1 else f"{name}#{numbers[name]}"] = hook
    return named
