"""Writes docs/settings.md from the settings' own docstrings: python scripts/docs/settings.py"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

from launcher.config.keys import Keys
from launcher.config.known_keys import NO_KEYS
from launcher.config.own_settings import OwnSetting, own_settings, section_of, shown
from launcher.config.request import OwnCode, RunRequest, Typed
from launcher.config.schema import OWN_NODES, make_schema
from launcher.run.changed import Effect, changed_settings
from launcher.run.identity import NOT_IDENTITY, identity_of, is_within, run_folder

PAGE = Path(__file__).parents[2] / "docs/settings.md"
HEAD = """\
# The launcher's settings

<!-- Written by scripts/docs/settings.py from launcher/config/request.py. -->

Every lower-case setting, as it is typed on the command line (`run.retries=5`) or written in a configuration file. The
upper-case ones are [detectron2's](https://detectron2.readthedocs.io/modules/config.html#yaml-config-references);
[configuration.md](configuration.md) says how both are written and grouped. A number out of its range is refused, and so
are NaN and infinity.

**Another run**: whether a changed value makes another run.

| | |
|---|---|
| no | The run resumes with the new value. |
| yes | A run folder belongs to one value. Another is refused there unless `run.allow_changes` names the setting. |
| by name | Typed, it is part of the folder's derived name. With `run.name` the run resumes with the new value. |
| other folder | It says where the run is. |
"""
TITLES = {
    "device": "Devices",
    "dataset": "Data",
    "run": "The run",
    "logging": "Logging",
    "checkpoint": "Checkpoints",
    "ema": "Averaged weights",
    "early_stopping": "Early stopping",
    "evaluation": "Evaluation",
    "cluster": "The job on a cluster",
    "pool": "The devices of a sweep",
    "sweep": "Sweeps",
    "search": "Search",
    "": "Without a section",
}
OTHER = {bool: lambda value: not value, int: lambda value: value + 1, float: lambda value: value + 0.5}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A row of the page."""

    name: str
    type: str
    default: str
    range: str
    another_run: str
    meaning: str
    options: tuple[tuple[str, str], ...]
    """Of an enumeration: each member with its meaning."""


def page() -> str:
    return "\n".join([HEAD, *(line for section in TITLES for line in paragraphs(section))]).rstrip() + "\n"


def paragraphs(section: str) -> Iterator[str]:
    rows = [row for row in settings() if (row.name.partition(".")[0] if "." in row.name else "") == section]
    yield f"## {TITLES[section]}\n"
    if section:
        yield f"{section_of(section)}\n"
    yield "| setting | type | default | range | another run | meaning |"
    yield "|---|---|---|---|---|---|"
    for row in rows:
        cells = (f"`{row.name}`", row.type, row.default, row.range, row.another_run, row.meaning)
        yield f"| {' | '.join(cells)} |"
    yield ""
    for row in rows:
        if row.options:
            yield f"`{row.name}`:\n"
            yield from (f"* `{name}`: {meaning}" for name, meaning in row.options)
            yield ""


def settings() -> list[Setting]:
    """Every lower-case setting, in the order of the page."""
    base = default_request()
    return [
        Setting(
            name=one.name,
            type=one.type,
            default=f"`{shown(one.default)}`" if shown(one.default) else "empty",
            range=str(one.range or "").replace(">=", "≥"),
            another_run=another_run(base, one),
            meaning=one.meaning,
            options=one.options,
        )
        for one in own_settings()
    ]


def default_request() -> RunRequest:
    root = make_schema(NO_KEYS)
    return RunRequest(
        typed=Typed(experiment="any", overrides=(), in_sweep=False, swept=()),
        keys=Keys({}),
        resume=root.resume,
        scaling=root.scaling,
        own_code=OwnCode(),
        **{name: kind() for name, kind in OWN_NODES.items()},
    )


def another_run(base: RunRequest, setting: OwnSetting) -> str:
    """Tried: requests with other values against one with the default."""
    tried = {other: with_setting(base, setting.path, other) for other in others(setting.default)}
    if any(run_folder(request) != run_folder(base) for request in tried.values()):
        return "other folder"
    if is_within(setting.name, NOT_IDENTITY):
        return "no"
    refused = [other for other, request in tried.items() if is_refused(base, request)]
    if len(refused) == len(tried):
        return "yes"
    return "by name" + "".join(f"; `{shown(other)}`: yes" for other in refused)


def is_refused(before: RunRequest, now: RunRequest) -> bool:
    changed = changed_settings(identity_of(before), identity_of(now), ())
    return any(one.effect is Effect.refused for one in changed)


def others(value: Any) -> list[Any]:
    if isinstance(value, Enum):
        return [one for one in type(value) if one is not value]
    return [OTHER[type(value)](value)] if type(value) in OTHER else ["other"]


def with_setting(settings: Any, path: Sequence[str], value: Any) -> Any:
    first, *below = path
    return replace(settings, **{first: with_setting(getattr(settings, first), below, value) if below else value})


if __name__ == "__main__":
    PAGE.write_text(page())
