"""A setting as a person reads it: what it means, may be and needs, and who set it in a run."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from launcher.config.known_settings import KnownSetting, shown_key
from launcher.run.origin import Origin
from launcher.show.screen import cut, width_between

SHOWN_MODELS = 3
NARROWEST, WIDEST = 60, 100


def labelled(label: str, text: str) -> list[str]:
    """A paragraph behind a label, indented below it."""
    return textwrap.wrap(
        text, width_between(NARROWEST, WIDEST), initial_indent=f"  {label:10} ", subsequent_indent=" " * 13,
        break_on_hyphens=False, break_long_words=False,
    )  # fmt: skip


def setting_text(setting: KnownSetting, read_by: Sequence[str], num_models: int) -> str:
    """Everything that is known of one setting; `read_by` are the models of the zoo that read it."""
    return "\n".join([
        setting.name,
        "",
        *labelled("means", setting.meaning or "(nothing is written about it)"),
        *labelled("default", f"{setting.default or 'empty'} ({setting.type})"),
        *(labelled("allowed", setting.allowed) if setting.allowed else ()),
        *_options(setting),
        *(labelled("needs", "; ".join(setting.needs)) if setting.needs else ()),
        *_readers(setting, read_by, num_models),
        *labelled("documented", setting.documented),
    ])  # fmt: skip


def origins_text(run: str, value: object, default: str, origins: Sequence[Origin]) -> str:
    """Who set it in a run: the default, and whoever set it after that; the last one counts."""
    steps = [f"default: {default or 'empty'}", *(f"{one.place}: {_shown(one.value)}" for one in origins)]
    return "\n".join([f"in {run}: {_shown(value)}", *(f"  {step}" for step in steps)])


def nodes_text(node: str, settings: Sequence[KnownSetting]) -> str:
    """The settings below a node, a line each."""
    widest = max(len(one.name) for one in settings)
    width = width_between(NARROWEST, WIDEST)
    shown = (cut(f"  {one.name:{widest}}  {one.meaning}", width) for one in settings)
    return "\n".join(
        [f"{node} has {len(settings)} settings:", *shown, "", "`launcher explain NAME` has more about one."]
    )


def _shown(value: object) -> str:
    return shown_key(value) or "empty"


def _options(setting: KnownSetting) -> list[str]:
    if any(meaning for _, meaning in setting.options):
        return [line for name, meaning in setting.options for line in labelled("", f"{name}: {meaning}")]
    return labelled("values", ", ".join(name for name, _ in setting.options)) if setting.options else []


def _readers(setting: KnownSetting, read_by: Sequence[str], num_models: int) -> list[str]:
    if setting.name.islower() or not num_models:
        return []
    if len(read_by) == num_models:
        return labelled("read by", "every model of detectron2's zoo")
    some = f", such as {', '.join(read_by[-SHOWN_MODELS:])}" if read_by else ""
    return labelled("read by", f"{len(read_by)} of the {num_models} models of detectron2's zoo{some}")
