"""Everything that can be set, the launcher's settings and detectron2's keys alike: what it means and may be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from launcher.config.key_bounds import BOUNDS
from launcher.config.key_meanings import MEANINGS
from launcher.config.keys import Keys
from launcher.config.known_keys import Detectron2Keys
from launcher.config.names import ENUMERATIONS, NORMS, SAMPLERS
from launcher.config.own_settings import OwnSetting, own_settings, shown
from launcher.config.readers import READABLE, SAMPLER, is_below, is_read

DETECTRON2_PAGE = "https://detectron2.readthedocs.io/modules/config.html#yaml-config-references"
OWN_PAGE = "docs/settings.md"


@dataclass(frozen=True, kw_only=True)
class KnownSetting:
    """One thing that can be set, for people who look it up."""

    name: str
    type: str
    default: str
    """As it is typed; empty for empty text."""
    allowed: str
    """A range in words; empty where anything of the type is."""
    options: tuple[tuple[str, str], ...]
    """Every value that it can have, each with what it means, which may be nothing."""
    meaning: str
    needs: tuple[str, ...]
    """What must be chosen for it to have an effect."""
    documented: str

    @property
    def values(self) -> tuple[str, ...]:
        """What can be typed behind the equals sign, where that is a choice."""
        if self.type == "true or false":
            return ("true", "false") if self.name.islower() else ("True", "False")
        return tuple(name for name, _ in self.options)


def known_settings(known: Detectron2Keys) -> tuple[KnownSetting, ...]:
    """The launcher's own first, then detectron2's in detectron2's order."""
    return (*map(_of_ours, own_settings()), *(_of_detectron2(*leaf, known) for leaf in Keys(known.defaults).leaves()))


def find_settings(asked: str, settings: Sequence[KnownSetting]) -> tuple[KnownSetting, ...]:
    """The setting of that name, or those below a node of that name, or the one whose name ends with it."""
    name = asked.strip().partition("=")[0].lstrip("+").rstrip(".").casefold()
    for fits in (
        lambda one: one == name,
        lambda one: one.startswith(f"{name}."),
        lambda one: one.endswith(f".{name}"),
    ):
        if found := tuple(one for one in settings if name and fits(one.name.casefold())):
            return found
    return ()


def nearest_settings(asked: str, settings: Sequence[KnownSetting]) -> tuple[str, ...]:
    """Names that are spelled about like it."""
    folded = {one.name.casefold(): one.name for one in settings}
    name = asked.strip().partition("=")[0].casefold()
    near = get_close_matches(name, folded, n=3, cutoff=0.7)
    by_end = {one.rpartition(".")[2]: full for one, full in folded.items()}
    near_end = get_close_matches(name.rpartition(".")[2], by_end, n=3, cutoff=0.8)
    return tuple(dict.fromkeys([*(folded[one] for one in near), *(by_end[one] for one in near_end)]))[:3]


def models_that_read(name: str, known: Detectron2Keys) -> tuple[str, ...]:
    """The models of the zoo that read a key; all where nothing has to be chosen for it."""
    return tuple(model for model in known.zoo if is_read(name, known.of_model(model)))


def _of_ours(setting: OwnSetting) -> KnownSetting:
    return KnownSetting(
        name=setting.name,
        type=setting.type,
        default=shown(setting.default),
        allowed=setting.range.with_note if setting.range else "",
        options=setting.options,
        meaning=setting.meaning,
        needs=(),
        documented=OWN_PAGE,
    )


def _of_detectron2(name: str, default: Any, known: Detectron2Keys) -> KnownSetting:
    bound = BOUNDS.get(name)
    return KnownSetting(
        name=name,
        type=_type_of(default),
        default=shown_key(default),
        allowed=bound.allowed.with_note if bound else "",
        options=tuple((str(one) or '""', "") for one in _options(name, known)),
        meaning=" ".join(filter(None, (MEANINGS.get(name, ""), known.meanings.get(name, "")))),
        needs=tuple(needs_of(name)),
        documented=DETECTRON2_PAGE,
    )


def needs_of(name: str) -> Iterator[str]:
    """What to type for a key to have an effect; a switch does not need itself."""
    for one in READABLE:
        if is_below(name, one.names) and not one.needs.startswith(f"{name}="):
            yield one.needs


def shown_key(value: Any) -> str:
    """A value of detectron2's as it is typed."""
    if isinstance(value, list):
        return "[" + ",".join(map(shown_key, value)) + "]"
    if isinstance(value, float):
        return f"{value:.10g}"
    return "" if value is None else str(value)


def _type_of(default: Any) -> str:
    if isinstance(default, bool):
        return "true or false"
    names = {int: "whole number", float: "number", str: "text", list: "list", dict: "any keys"}
    return names.get(type(default), "anything")


def _options(name: str, known: Detectron2Keys) -> Sequence[Any]:
    if name in NORMS:
        return ("", *known.names.get("NORM", ()))
    if name == SAMPLER:
        return tuple(SAMPLERS)
    return known.names.get(name, ()) or ENUMERATIONS.get(name, ())
