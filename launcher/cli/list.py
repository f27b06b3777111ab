"""`launcher list`: what there is to choose from. Imports neither torch nor Hydra."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from launcher.config.known_keys import NO_KEYS, Detectron2Keys, read_keys
from launcher.config.offers import OFFERS, Offer, Places
from launcher.config.presets import config_folders
from launcher.config.request import DatasetRequest
from launcher.device.causes.catalogue import CAUSES
from launcher.errors import ExitCode, RequestError, printable
from launcher.show.listing import listing_text

CAUSES_KIND = "causes"
KINDS = (*OFFERS, CAUSES_KIND)
NEXT = {
    "models": "model=NAME chooses one; `launcher explain KEY` tells which models read a key.",
    "datasets": "dataset=NAME or DATASETS.TRAIN=[NAME]; your own files: dataset=coco_json.",
    "experiments": "experiment=NAME chooses one; `launcher plan experiment=NAME` shows what it does.",
    "settings": "`launcher explain NAME` has more about one.",
    CAUSES_KIND: "`launcher explain CODE` has more about one.",
}


def run(arguments: Sequence[str]) -> int:
    """Print the list, as JSON with `--json`.

    Raises:
        RequestError: nothing fits the pattern, or detectron2 is missing and was asked about.
    """
    asked = _parser().parse_args(arguments)
    offers = _offers(asked.kind, asked.config_dir)
    shown = [one for one in offers if _fits(one, asked.pattern)]
    if not shown:
        raise RequestError(
            f"launcher list {asked.kind} {' '.join(asked.pattern)}: none of {len(offers)} fits. Every word must be in "
            f"a line. All of them: launcher list {asked.kind}"
        )
    if asked.json:
        print(json.dumps([{"name": one.name, **one.facts} for one in shown], indent=2))
    else:
        print(printable(f"{listing_text(shown)}\n\n{NEXT[asked.kind]}"))
    return ExitCode.finished


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="launcher list",
        description="What there is to choose from.",
        epilog="launcher list models mask R_50 · launcher list settings 'SOLVER.*' · launcher list causes nccl",
    )
    parser.add_argument("kind", choices=KINDS, metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("pattern", nargs="*", metavar="PATTERN", help="words of a line, or a name with * and ?")
    parser.add_argument("--config-dir", metavar="DIR", help="a folder of your own experiments, models and data sets")
    parser.add_argument("--json", action="store_true", help="the same as JSON")
    return parser


def _offers(kind: str, config_dir: str | None) -> list[Offer]:
    if kind == CAUSES_KIND:
        return [Offer(name=cause.code, facts={"about": cause.title}) for cause in CAUSES]
    if config_dir is not None and not Path(config_dir).expanduser().is_dir():
        raise RequestError(f"--config-dir names {config_dir}, but there is no such folder in {Path.cwd()}.")
    root = os.environ.get("DETECTRON2_DATASETS") or DatasetRequest().root
    places = Places(folders=config_folders(config_dir), datasets=Path(root).expanduser())
    return list(OFFERS[kind](_keys(kind), places))


def _keys(kind: str) -> Detectron2Keys:
    """detectron2's; what does not come from it is listed without it too."""
    if kind in ("datasets", "experiments"):
        return NO_KEYS
    return read_keys()


def _fits(offer: Offer, pattern: Sequence[str]) -> bool:
    line = " ".join((offer.name, *offer.facts.values())).casefold()
    return all(_has(offer.name.casefold(), line, word.casefold()) for word in pattern)


def _has(name: str, line: str, word: str) -> bool:
    return fnmatchcase(name, word) if set(word) & {"*", "?"} else word in line
