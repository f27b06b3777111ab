"""The half of `launcher explain` that is about settings, imported when the other half knows no such cause."""

from __future__ import annotations

from pathlib import Path

from launcher.config.known_keys import Detectron2Keys, keys_if_installed
from launcher.config.known_settings import (
    KnownSetting,
    find_settings,
    known_settings,
    models_that_read,
    nearest_settings,
)
from launcher.run.found import called
from launcher.run.origin import origins_in_run, value_in_run
from launcher.show.settings import nodes_text, origins_text, setting_text


def setting_explanation(asked: str, run: Path | None) -> str:
    """About the setting of that name, or those below that node; empty where there is none.

    With a run, also who set it there.
    """
    known = keys_if_installed()
    found = find_settings(asked, known_settings(known))
    if not found:
        return ""
    if len(found) > 1:
        return nodes_text(asked.rstrip("."), found)
    (setting,) = found
    text = setting_text(setting, models_that_read(setting.name, known), len(known.zoo))
    return f"{text}\n\n{_in_run(setting, run, known)}" if run is not None else text


def nearest_to(asked: str) -> tuple[str, ...]:
    """Names of settings that are spelled about like it."""
    return nearest_settings(asked, known_settings(keys_if_installed()))


def _in_run(setting: KnownSetting, run: Path, known: Detectron2Keys) -> str:
    value = value_in_run(run, setting.name)
    return origins_text(called(run), value, setting.default, origins_in_run(run, setting.name, known))
