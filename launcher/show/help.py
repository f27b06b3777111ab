"""The help of commands that take settings: groups, the launcher's settings, options. Composes nothing."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping

from launcher.config.own_settings import own_nodes, own_settings, section_of, shown
from launcher.config.presets import config_folders, groups, presets
from launcher.show.screen import cut, width_between

EXAMPLES: Mapping[str, str] = {
    "train": """\
usage: launcher train [GROUP=OPTION...] [SETTING=VALUE...] [OPTION...]

  launcher train experiment=demo                  start or resume a training
  launcher train experiment=coco SOLVER.BASE_LR=0.01 device.count=2
  launcher train experiment=coco --cfg job        show the whole configuration
  launcher train -m experiment=demo SOLVER.BASE_LR=0.01,0.02""",
    "plan": """\
usage: launcher plan [GROUP=OPTION...] [SETTING=VALUE...] [OPTION...]

  launcher plan experiment=coco device=cpu        show what train would do
  launcher plan experiment=coco --json            the same as JSON""",
}
OPTIONS = """\
Options:
  -m, --multirun       one run for each combination of the values given
  --cfg job            print the composed configuration and stop; -p NODE a part
  --config-dir DIR     your own experiment/, model/, dataset/ files
  --info defaults      which files were composed, in which order
  --hydra-help         all options of Hydra"""
OF_COMMAND: Mapping[str, str] = {
    "train": (
        "  --in-place           in the launcher's own process, for debuggers\n"
        "  --detach             with hydra/launcher=slurm_array: submit, do not follow"
    ),
    "plan": "  --json               the plan as JSON",
}
FIND = """\
Find things:
  launcher list models|datasets|experiments|settings [WORD...]
  launcher explain NAME                           one setting in full
Upper-case settings are detectron2's keys: launcher list settings SOLVER"""
NARROWEST, WIDEST = 80, 120


def training_help(command: str) -> str:
    """What `launcher train --help` prints, or `launcher plan --help`."""
    return "\n\n".join([EXAMPLES[command], _groups(), *_settings(), f"{OPTIONS}\n{OF_COMMAND[command]}", FIND])


def _groups() -> str:
    folders = config_folders(None)
    lines = (
        f"  {group + '=':12} {', '.join(one.name for one in presets(group, folders))}" for group in groups(folders)
    )
    return "\n".join(["Groups:", *map(_fitted, lines), "  model=       launcher list models"])


def _settings() -> Iterator[str]:
    """A paragraph for each node, the settings at the root last."""
    settings = own_settings()
    rows = {one.name: f"{one.name}={shown(one.default)}" for one in settings}
    for node in own_nodes():
        below = [one for one in settings if one.name.startswith(f"{node}.")]
        yield "\n".join(
            [*textwrap.wrap(section_of(node), NARROWEST), *(_row(rows[one.name], one.meaning) for one in below)]
        )
    at_root = [one for one in settings if "." not in one.name]
    yield "\n".join(["Settings of no group.", *(_row(rows[one.name], one.meaning) for one in at_root)])


def _row(setting: str, meaning: str) -> str:
    return _fitted(f"  {setting:33} {meaning}")


def _fitted(line: str) -> str:
    return cut(line, width_between(NARROWEST, WIDEST))
